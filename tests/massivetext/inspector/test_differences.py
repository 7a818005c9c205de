"""The operations that turn one list of words into another."""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from massivetext.inspector.differences import operations

WORDS = st.lists(st.sampled_from("a b c d e".split()), max_size=40)


def check(left, right):
    found = operations(left, right)
    made, a, b = [], 0, 0
    for op, a0, a1, b0, b1 in found:
        assert (a0, b0) == (a, b)
        assert (a1 > a0, b1 > b0) == {
            "equal": (True, True), "replace": (True, True),
            "delete": (True, False), "insert": (False, True),
        }[op]  # fmt: skip
        if op == "equal":
            assert left[a0:a1] == right[b0:b1]
        made += right[b0:b1]
        a, b = a1, b1
    assert (made, a, b) == (right, len(left), len(right))
    # Neighbours that could be one operation are one.
    assert all(x[0] != y[0] for x, y in pairwise(found))
    return found


def test_exact_operations():
    assert check("a b c d".split(), "a x c d e".split()) == [
        ("equal", 0, 1, 0, 1),
        ("replace", 1, 2, 1, 2),
        ("equal", 2, 4, 2, 4),
        ("insert", 4, 4, 4, 5),
    ]
    assert check([], []) == []
    assert check(["a"], []) == [("delete", 0, 1, 0, 0)]
    assert check("a b".split(), "a b".split()) == [("equal", 0, 2, 0, 2)]


@given(WORDS, WORDS)
def test_they_turn_one_into_the_other(left, right):
    check(left, right)


@given(st.lists(st.integers(0, 30).map(str), max_size=60), st.data())
def test_an_edit_of_a_long_text_is_found(words, data):
    at = data.draw(st.integers(0, len(words)))
    found = check(words, [*words[:at], "new", *words[at:]])
    assert sum(a1 - a0 for op, a0, a1, _, _ in found if op == "equal") == len(words)


def test_texts_of_repeats_and_texts_without_anything_in_common_end():
    check(["a"] * 20_000, ["a"] * 10_000 + ["b"] + ["a"] * 9_000)
    check([str(i) for i in range(30_000)], [str(-i - 1) for i in range(30_000)])
    rng = random.Random(1)
    check(rng.choices("abcdefgh", k=30_000), rng.choices("abcdefgh", k=30_000))
