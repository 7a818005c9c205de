"""Work shared among threads: every item once, few at a time, and the first error out."""

import threading
import time

import pytest

from massivetext.threads import cores, for_each


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_item_is_worked_on_once(threads):
    done = []
    for_each(iter(range(100)), done.append, threads)
    assert sorted(done) == list(range(100))
    for_each([], done.append, threads)
    assert len(done) == 100


def test_items_are_taken_when_a_thread_is_free():
    taken, finished, ahead = [], [], []

    def items():
        for number in range(30):
            taken.append(number)
            yield number

    def work(number):
        ahead.append(len(taken) - len(finished))
        time.sleep(0.001)
        finished.append(number)

    for_each(items(), work, 3)
    assert max(ahead) <= 3
    assert len(finished) == 30


def test_an_error_ends_all():
    done = []

    def work(number):
        if number == 4:
            raise ValueError("four")
        done.append(number)

    with pytest.raises(ValueError, match="four"):
        for_each(range(10**9), work, 1)
    assert done == [0, 1, 2, 3]
    # One thread's error ends the others, which would go on for long.
    first = threading.Event()

    def fail(number):
        if number == 0:
            first.wait(5)
            raise ValueError("nought")
        first.set()

    with pytest.raises(ValueError, match="nought"):
        for_each(range(10**9), fail, 2)


def test_an_error_of_the_items_is_raised():
    def items():
        yield 1
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        for_each(items(), lambda item: None, 2)


def test_there_is_a_core():
    assert cores() >= 1
