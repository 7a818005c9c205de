import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import fineweb
from massivetext.config import FineWeb

from . import reference, reference_datatrove

_PIECES = (
    "a ",
    "b",
    ".",
    "?",
    "!",
    '"',
    "…",
    "。",
    "៖",
    "\u17d6",
    "\n",
    "\r",
    " ",
    "\u3000",
    "\x85",
)


def measure(text: str) -> dict[str, float]:
    signals = fineweb.signals(*reference.batch([text]))
    return {name: values[0] for name, values in signals.items()}


@given(reference.texts())
@settings(max_examples=800, deadline=None)
def test_kernel_agrees_with_reference(text):
    assert measure(text) == reference_datatrove.fineweb(text)


@given(st.lists(st.sampled_from(_PIECES), max_size=100).map("".join))
@settings(max_examples=400, deadline=None)
def test_short_lines_agree_with_reference(text):
    assert measure(text) == reference_datatrove.fineweb(text)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(28, 33)), max_size=12))
@settings(max_examples=200, deadline=None)
def test_long_lines_agree_with_reference(lines):
    text = "\n".join("aé😀"[kind] * length for kind, length in lines)
    assert measure(text) == reference_datatrove.fineweb(text)


@given(st.lists(reference.texts(), max_size=6))
@settings(deadline=None)
def test_documents_of_a_batch_do_not_touch(texts):
    whole = fineweb.signals(*reference.batch(texts))
    for row, text in enumerate(texts):
        assert {name: values[row] for name, values in whole.items()} == measure(text)


def test_slice_of_a_larger_buffer():
    data, offsets = reference.batch(["a.\n", "b\nb.", "c"])
    part = fineweb.signals(data, offsets[1:])
    assert part["punctuated_lines"].tolist() == [1 / 2, 0]
    assert all(values.dtype == np.float64 for values in part.values())


@pytest.mark.parametrize("text", ["", " ", "\n", "\n \n\t\n"])
def test_no_words(text):
    assert set(measure(text).values()) == {0}


@pytest.mark.parametrize(
    ("text", "signal", "value"),
    [
        ("a.\nb?\nc!\nd。\ne", "punctuated_lines", 4 / 5),
        # Lines of white space do not count, but lines are not stripped.
        ("a.\n \n\n\u3000\nb", "punctuated_lines", 1 / 2),
        ("a. \nb.\r\nc.", "punctuated_lines", 1 / 3),
        ('"a."\n(a.)\na.', "punctuated_lines", 1 / 3),
        ("a:\nb;\nc,\nd…\ne", "punctuated_lines", 0),
        ("\u17d4\n\u17d5\n\u17d6\n\u17d7\n\u17d9", "punctuated_lines", 4 / 5),
        ("x" * 30 + "\n" + "x" * 31, "short_lines", 1 / 2),
        ("é" * 30 + "\n" + "😀" * 31, "short_lines", 1 / 2),
        (" " * 30 + "x\nx", "short_lines", 1 / 2),
        ("aa\naa\nb\naa", "repeated_line_characters", 4 / 7),
        ("aa\n aa\naa ", "repeated_line_characters", 0),
        ("aa\n  \naa\n  \n", "repeated_line_characters", 2 / 8),
        ("a b\n\n\nc d\n", "newlines", 4 / 4),
        ("a b c d", "newlines", 0),
        ("a\rb", "newlines", 0),
    ],
)
def test_values(text, signal, value):
    assert measure(text)[signal] == value


def test_every_terminal_mark():
    marks = [chr(m) for first, last in fineweb.TERMINAL_RANGES for m in range(first, last + 1)]
    assert len(marks) == len(set(marks)) == 159
    assert list(fineweb.TERMINAL_RANGES) == sorted(fineweb.TERMINAL_RANGES)
    assert measure("\n".join("x" + mark for mark in marks))["punctuated_lines"] == 1
    after = [chr(last + 1) for _, last in fineweb.TERMINAL_RANGES]
    before = [chr(first - 1) for first, _ in fineweb.TERMINAL_RANGES]
    others = sorted(set(after + before) - set(marks))
    assert measure("\n".join("x" + other for other in others))["punctuated_lines"] == 0


@pytest.mark.parametrize(
    ("lines", "signal", "limit", "passes"),
    [
        (["x."] * 12 + ["x"] * 88, "punctuated_lines", "min_punctuated_lines", True),
        (["x."] * 11 + ["x"] * 89, "punctuated_lines", "min_punctuated_lines", False),
        (["x" * 30] * 67 + ["x" * 31] * 33, "short_lines", "max_short_lines", True),
        (["x" * 30] * 68 + ["x" * 31] * 32, "short_lines", "max_short_lines", False),
        (["a", "a", "x" * 98], "repeated_line_characters", "max_repeated_line_characters", True),
        (["a", "a", "x" * 97], "repeated_line_characters", "max_repeated_line_characters", False),
        (["x", "x", "x", "x" + " x" * 6], "newlines", "max_newlines", True),
        (["x", "x", "x", "x" + " x" * 5], "newlines", "max_newlines", False),
    ],
)
def test_both_sides_of_every_threshold(lines, signal, limit, passes):
    value = measure("\n".join(lines))[signal]
    threshold = getattr(FineWeb(), limit)
    assert (value >= threshold if limit.startswith("min") else value <= threshold) == passes


def test_a_million_lines():
    lines = "\n".join(map(str, range(1_000_000)))
    assert measure(lines)["repeated_line_characters"] == 0
    assert measure(lines + "\n" + lines)["repeated_line_characters"] == 1 / 2


def test_ten_megabytes_without_white_space():
    assert measure("x" * 10_000_000 + ".")["punctuated_lines"] == 1
