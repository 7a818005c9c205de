import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import repetition, repetition_datatrove
from massivetext.config import Repetition

from . import reference, reference_datatrove


def measure(text: str) -> dict[str, float]:
    signals = repetition_datatrove.signals(*reference.batch([text]))
    return {name: values[0] for name, values in signals.items()}


@given(reference.texts())
@settings(max_examples=800, deadline=None)
def test_kernel_agrees_with_reference(text):
    assert measure(text) == reference_datatrove.repetition(text)


@given(st.lists(st.integers(0, 5), max_size=200), st.integers(1, 11))
@settings(max_examples=300, deadline=None)
def test_few_words_agree_with_reference(numbers, scale):
    text = " ".join("x" * (scale * number + 1) for number in numbers)
    assert measure(text) == reference_datatrove.repetition(text)


@given(st.lists(st.sampled_from(("a", "aa", "b", "ab", "\n", " ", "é日")), max_size=300))
@settings(max_examples=300, deadline=None)
def test_texts_of_few_pieces_agree_with_reference(pieces):
    text = "".join(pieces)
    assert measure(text) == reference_datatrove.repetition(text)


@given(st.lists(reference.texts(), max_size=6))
@settings(deadline=None)
def test_documents_of_a_batch_do_not_touch(texts):
    whole = repetition_datatrove.signals(*reference.batch(texts))
    for row, text in enumerate(texts):
        assert {name: values[row] for name, values in whole.items()} == measure(text)


def test_slice_of_a_larger_buffer():
    data, offsets = reference.batch(["a\na\n", "b c b c", "a b"])
    part = repetition_datatrove.signals(data, offsets[1:])
    assert part["top_2gram"].tolist() == [6 / 7, 1]


def test_signals_are_those_of_repetition():
    data, offsets = reference.batch(["a"])
    ours = repetition_datatrove.signals(data, offsets)
    theirs = repetition.signals(data, offsets)
    assert list(ours) == list(theirs)
    assert all(values.dtype == np.float64 for values in ours.values())


@pytest.mark.parametrize("text", ["", " ", "\t\u3000", "a", "\0"])
def test_nothing_repeats(text):
    assert set(measure(text).values()) == {0}


@pytest.mark.parametrize(
    ("text", "signal", "value"),
    [
        # Later copies only; nothing is stripped.
        ("aa\nb\naa\nb\naa", "duplicate_lines", 3 / 5),
        ("aa\nb\naa\nb\naa", "duplicate_line_characters", 5 / 12),
        ("aa\n aa\naa ", "duplicate_lines", 0),
        # The last line of four is followed by an empty one; only with one before it is it a copy.
        ("I am your father.\n" * 4, "duplicate_lines", 3 / 5),
        ("\na\n", "duplicate_lines", 1 / 3),
        ("\na\n", "duplicate_line_characters", 0),
        # Empty lines in between are no lines, but a line of white space is.
        ("a\n\n\n\nb", "duplicate_lines", 0),
        ("a\n \nb\n \nc", "duplicate_lines", 1 / 5),
        # Only line feeds separate paragraphs, of which only the ends of the text are stripped.
        ("\n\n a\nb\n\na\nb\n\n\nc\n\n", "duplicate_paragraphs", 1 / 3),
        ("a\n \na", "duplicate_paragraphs", 0),
        ("a\n\n a\n\na", "duplicate_paragraphs", 1 / 3),
        ("a\nb\n\na\nb", "duplicate_paragraph_characters", 3 / 8),
        # The top n-gram counts though it occurs once, then the first.
        ("aa b c", "top_2gram", 4 / 6),
        ("aa\tb \u3000 c", "top_2gram", 4 / 8),
        ("a b c ddd eee ddd eee", "top_2gram", 14 / 21),
        ("a b a b ccc ddd ccc ddd", "top_2gram", 6 / 23),
        ("a b c d", "top_4gram", 1),
        ("a b c", "top_4gram", 0),
        # Overlapping copies count twice.
        ("a a a a", "top_2gram", 9 / 7),
        ("a a a a", "top_3gram", 10 / 7),
        # In a top n-gram words stay apart; in a duplicate one they run together.
        ("ab c ab d", "top_2gram", 4 / 9),
        ("ab c a bc x ab ca b c xa", "duplicate_5gram", 0),
        ("ab c d e f x a bc d e f", "duplicate_5gram", 6 / 23),
        ("a b c d e x a b c d e", "duplicate_5gram", 5 / 21),
        ("a b c d e x a b c d e", "duplicate_6gram", 0),
        # After a copy the search goes on behind it.
        ("a " * 10 + "a", "duplicate_5gram", 10 / 21),
        ("a " * 9 + "a", "duplicate_5gram", 5 / 19),
        ("é 日 é 日", "top_2gram", 6 / 7),
    ],
)
def test_values(text, signal, value):
    assert measure(text)[signal] == value


def test_longer_duplicates_can_score_more():
    # The copy of 'b c d e f g h' hides the start of the second copy of twelve words from the search
    # for seven, which finds five words less; that for nine meets it whole.
    text = "b c d e f . a b c d e f g h i j k l - a b c d e f g h i j k l"
    measured = measure(text)
    assert measured["duplicate_7gram"] == 7 / len(text)
    assert measured["duplicate_9gram"] == 9 / len(text)


@pytest.mark.parametrize("copies", [30, 31])
def test_both_sides_of_a_threshold(copies):
    # Of a hundred lines 30 are copies: exactly the threshold, and kept; 31 are above it.
    text = "\n".join(str(max(0, number - copies)) for number in range(100))
    measured = measure(text)["duplicate_lines"]
    assert measured == copies / 100
    assert (measured > Repetition().max_duplicate_lines) == (copies == 31)


def test_a_million_distinct_words():
    words = " ".join(map(str, range(1_000_000)))
    measured = measure(words)
    assert measured["duplicate_10gram"] == 0
    assert measured["top_2gram"] == len("0 1") / len(words)
    repeated = measure(words + " " + words)
    distinct = len(words.replace(" ", ""))
    assert repeated["duplicate_10gram"] == distinct / (2 * len(words) + 1)


def test_one_word_a_million_times():
    measured = measure("word " * 1_000_000)
    # The first n-gram and the n - 1 after it are no copies; the last ones are cut off.
    assert measured["duplicate_5gram"] == 4 * 5 * ((1_000_000 - 1) // 5) / 5_000_000
    assert measured["top_2gram"] == 999_999 * 9 / 5_000_000


def test_ten_megabytes_without_white_space():
    assert set(measure("x" * 10_000_000).values()) == {0}


def test_ten_megabytes_of_line_feeds():
    # One empty line before, one after.
    measured = measure("\n" * 10_000_000)
    assert measured["duplicate_lines"] == 1 / 2
    assert measured["duplicate_paragraphs"] == 0
