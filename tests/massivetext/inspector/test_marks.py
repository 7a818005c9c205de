"""Which words, lines and passages are marked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.inspector.marks import MOST, as_json, repeats

from ..reference import repetition, texts


def marked(text: str, *failed: str) -> list[str]:
    return [text[m["start"] : m["stop"]] for m in as_json(repeats(text, failed))]


def test_nothing_is_marked_for_rules_that_passed():
    assert repeats("a\na\na", []) == []


def test_duplicate_lines_are_marked_without_the_space_around_them():
    assert marked("one\n  two \nthree\ntwo\n\n\n", "max_duplicate_lines") == ["two", "two"]


def test_duplicate_paragraphs_are_marked_whole():
    text = "a b\nc\n\nother\n \n a b\nc"
    assert marked(text, "max_duplicate_paragraphs") == ["a b\nc", "a b\nc"]


def test_the_longer_of_equally_frequent_top_grams_is_marked():
    text = "of a of a long words, long words,"
    [first, second] = as_json(repeats(text, ["max_top_2gram"]))
    assert text[first["start"] : first["stop"]] == "long words,"
    assert first["kind"] == second["kind"] == "ngram"
    assert first["label"] == "top 2-gram, 2 times: long words,"


def test_overlapping_repeats_are_one_run():
    text = "x 1 2 3 4 5 6 y 1 2 3 4 5 6 z"
    assert marked(text, "max_duplicate_5gram", "max_duplicate_6gram") == ["1 2 3 4 5 6"] * 2


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("max_hash_ratio", ["#", "#"]), ("max_ellipsis_ratio", ["...", "…"])],
)
def test_symbols(rule, expected):
    assert marked("# a ... b … #", rule) == expected


def test_places_are_code_points():
    assert as_json(repeats("😀😀 #", ["max_hash_ratio"]))[0]["start"] == 3


def test_marks_are_bounded():
    assert len(as_json(repeats("#" * 2 * MOST, ["max_hash_ratio"]))) == MOST


@given(texts())
def test_what_is_marked_is_what_the_rules_measure(text):
    total = sum(map(len, text.split()))
    measured = repetition(text)
    for name in (*(f"top_{n}gram" for n in (2, 3, 4)), *(f"duplicate_{n}gram" for n in (5, 10))):
        characters = sum(len("".join(run.split())) for run in marked(text, f"max_{name}"))
        assert (characters / total if total else 0) == measured[name]


@given(st.text(st.sampled_from("ab \n"), max_size=40))
def test_marks_are_in_order_and_inside(text):
    rules = ["max_duplicate_lines", "max_duplicate_paragraphs", "max_top_2gram"]
    found = as_json(repeats(text, rules))
    assert all(0 <= m["start"] < m["stop"] <= len(text) for m in found)
    assert [m["start"] for m in found] == sorted(m["start"] for m in found)
