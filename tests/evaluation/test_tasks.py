"""Items read from JSON Lines, examples drawn for them, and the figures made of likelihoods."""

import gzip
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.errors import ConfigError, InputError
from massivetext.evaluation import tasks
from massivetext.evaluation.likelihood import Likelihood, Request
from massivetext.evaluation.tasks import (
    Completions,
    Item,
    MultipleChoice,
    draw,
    evaluate_task,
    prompt,
    read_items,
)

from .test_likelihood import slow
from .trained_model import CONTEXT, trained


def write(folder, *records, name="task.jsonl"):
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    (folder / name).write_bytes(b"\n".join(lines) + b"\n")
    return folder / name


def read(folder, *records):
    return read_items(write(folder, *records))


CHOICE = {"question": "Which?", "choices": ["a", "bé"], "answer": 1}


def test_completions_are_the_last_word_or_the_target_as_it_stands(tmp_path):
    found = read(
        tmp_path,
        {"text": "one two\n three\n"},
        b"",
        {"context": "one ", "target": "two three"},
        {"text": "a b", "other": 1},
    )
    assert [(x.context, x.continuations, x.answer) for x in found] == [
        ("one two", ("\n three",), 0),
        ("one ", ("two three",), 0),
        ("a", (" b",), 0),
    ]
    assert [x.where[-2:] for x in found] == [":1", ":3", ":4"]


def test_choices_follow_a_space_unless_there_is_white_space(tmp_path):
    found = read(
        tmp_path,
        CHOICE,
        {"context": "The end", "choices": ["a", " b", "\nc"], "answer": 0},
        {"context": "The end\n", "choices": ["a", "b"], "answer": 0},
    )
    assert found[0] == Item(
        "Question: Which?\nAnswer:", (" a", " bé"), (1, 3), 1, f"{tmp_path / 'task.jsonl'}:1"
    )
    assert found[1].continuations == (" a", " b", "\nc")
    assert found[1].sizes == (1, 2, 2)
    assert found[2].continuations == ("a", "b")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", r":2: invalid JSON"),
        (b'{"text": "\xff x"}', r":2: invalid UTF-8 at byte 10"),
        ([1], ":2: not an item; it needs text; context and target; question or"),
        ({"context": "a"}, ":2: not an item"),
        ({"text": 5}, ":2: text must be a text, and not empty"),
        ({"text": "word"}, ":2: text must have two words or more"),
        ({"text": " word "}, ":2: text must have two words or more"),
        ({"context": "a", "target": " "}, ":2: target must be a text, and not empty"),
        (b'{"context": "\\ud800", "target": "b"}', ":2: context: a string holds a lone surrogate"),
        ({**CHOICE, "context": "x"}, ":2: not an item"),
        ({**CHOICE, "choices": ["a"]}, ":2: choices must be a list of two or more"),
        ({**CHOICE, "choices": "ab"}, ":2: choices must be a list of two or more"),
        ({**CHOICE, "choices": ["a", ""]}, ":2: a choice must be a text, and not empty"),
        ({**CHOICE, "answer": 2}, ":2: answer is 2; it must be the number of a choice, 0 to 1"),
        ({**CHOICE, "answer": -1}, ":2: answer is -1"),
        ({**CHOICE, "answer": "1"}, ":2: answer is '1'"),
        ({**CHOICE, "answer": True}, ":2: answer is True"),
        (CHOICE, ":2: an item with choices, unlike those before it; use one file"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    with pytest.raises(InputError, match=f"task.jsonl{message}"):
        read(tmp_path, {"text": "one two"}, line)


def test_kinds_do_not_mix_the_other_way_round(tmp_path):
    with pytest.raises(InputError, match=":2: an item without choices, unlike those before it"):
        read(tmp_path, CHOICE, {"text": "one two"})


def test_files_that_hold_nothing_or_are_damaged(tmp_path):
    with pytest.raises(InputError, match="has no items"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"cannot open .*none"):
        read_items(tmp_path / "none")
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b'{"text": "one two"}\n' * 50)[:-12])
    with pytest.raises(InputError, match=r"cut.jsonl.gz: gzip data is cut short"):
        read_items(cut)


@given(st.integers(1, 5), st.integers(0, 60), st.integers(0, 2**32), st.data())
def test_examples_are_others_different_and_decided_by_the_seed(shots, more, seed, data):
    items = shots + 1 + more
    number = data.draw(st.integers(0, items - 1))
    found = draw(items, number, shots, seed)
    assert len(set(found)) == shots
    assert number not in found
    assert all(0 <= other < items for other in found)
    assert draw(items, number, shots, seed) == found
    assert draw(items, number, shots - 1, seed) == found[:-1]


def test_examples_never_change_from_one_release_to_the_next():
    assert draw(1000, 0, 3, 0) == [968, 641, 299]
    assert draw(1000, 1, 3, 0) == [381, 908, 372]
    assert draw(1000, 0, 3, 1) != [968, 641, 299]


def test_examples_come_with_their_answers(tmp_path):
    items = read(
        tmp_path,
        *({"question": f"{n}?", "choices": ["no", f"yes{n}"], "answer": 1} for n in range(4)),
    )
    first, second = draw(4, 2, 2, 7)
    assert prompt(items, 2, 2, 7) == (
        f"Question: {first}?\nAnswer: yes{first}\n\n"
        f"Question: {second}?\nAnswer: yes{second}\n\n"
        "Question: 2?\nAnswer:"
    )
    assert prompt(items, 2, 0, 7) == "Question: 2?\nAnswer:"


def test_choices_are_judged_raw_and_by_byte(tmp_path, monkeypatch):
    nats = iter([4.0, 6.0, 5.0, 5.0])

    def rigged(model, requests):
        return [Likelihood(next(nats), False, i == 0) for i, _ in enumerate(requests)]

    monkeypatch.setattr(tasks, "likelihoods", rigged)
    # Raw 4 < 6: the first; by byte 4/1 > 6/3: the second. Then 5 = 5: the first; 5/1 > 5/2.
    path = write(tmp_path, CHOICE, {"question": "?", "choices": ["x", "yz"], "answer": 0})
    assert evaluate_task(trained(), path) == MultipleChoice(
        items=2, accuracy=0.5, accuracy_per_byte=0.5, chance=0.5, truncated=1
    )


def test_completions_are_judged_by_greedy_choice_and_likelihood(tmp_path, monkeypatch):
    found = [Likelihood(2.0, True, False), Likelihood(4.0, False, True)]
    monkeypatch.setattr(tasks, "likelihoods", lambda model, requests: found)
    path = write(tmp_path, {"text": "a b"}, {"text": "c d"})
    assert evaluate_task(trained(), path) == Completions(
        items=2, accuracy=0.5, log_probability=-3.0, perplexity=math.exp(3), truncated=1
    )


def test_a_whole_task_is_that_of_the_full_forward_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "BLOCK", 2)
    model = trained()
    choices = ["four", "two", "nine ten"]
    rows = [
        {"context": f"one two {word}", "choices": choices, "answer": answer}
        for word, answer in (("three", 0), ("seven eight", 2), ("five", 1))
    ]
    path = write(tmp_path, *rows)
    items, right, right_per_byte, truncated = read_items(path), 0, 0, 0
    for number, item in enumerate(items):
        before = model.tokenizer.encode(prompt(items, number, 2, 5)).tolist()
        judged = [
            slow(model, [1, *before], model.tokenizer.encode(text).tolist())
            for text in item.continuations
        ]
        nats = np.array([each[0] for each in judged])
        right += nats.argmin() == item.answer
        right_per_byte += (nats / item.sizes).argmin() == item.answer
        truncated += any(each[2] for each in judged)
    assert evaluate_task(model, path, shots=2, seed=5) == MultipleChoice(
        3, right / 3, right_per_byte / 3, pytest.approx(1 / 3), truncated
    )
    zero = evaluate_task(model, write(tmp_path, {"text": "one two three four"}, {"text": "a b"}))
    assert (zero.items, zero.accuracy, zero.truncated) == (2, 0.5, 0)
    nats = [slow(model, *pair)[0] for pair in map(_pair, ("one two three| four", "a| b"))]
    assert zero.log_probability == pytest.approx(-sum(nats) / 2, abs=1e-4)


def _pair(text):
    context, target = text.split("|")
    encode = trained().tokenizer.encode
    return Request([1, *encode(context).tolist()], encode(target).tolist())


def test_shots_out_of_range_or_too_few_items(tmp_path):
    path = write(tmp_path, {"text": "a b"}, {"text": "c d"})
    for shots in (-1, 6):
        with pytest.raises(ConfigError, match=f"shots is {shots}; it must be between 0 and 5"):
            evaluate_task(trained(), path, shots)
    with pytest.raises(ConfigError, match="has 2 items; 2 shots need 3"):
        evaluate_task(trained(), path, 2)
    assert evaluate_task(trained(), path, 1).items == 2


def test_a_target_longer_than_the_context_is_named(tmp_path):
    path = write(tmp_path, {"text": "a b"}, {"context": "a", "target": "x" * (CONTEXT + 1)})
    with pytest.raises(InputError, match=r"task.jsonl:2: a target of 33 tokens; .* the 32 of"):
        evaluate_task(trained(), path)
