import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import repetition
from massivetext.errors import InputError

from . import reference


def measure(text: str) -> dict[str, float]:
    signals = repetition.signals(*reference.batch([text]))
    return {name: values[0] for name, values in signals.items()}


@given(reference.texts())
@settings(max_examples=800, deadline=None)
def test_kernel_agrees_with_reference(text):
    assert measure(text) == reference.repetition(text)


@given(st.lists(st.integers(0, 5), max_size=300), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_few_words_agree_with_reference(numbers, scale):
    text = " ".join("x" * (scale * number + 1) for number in numbers)
    assert measure(text) == reference.repetition(text)


@given(st.lists(reference.texts(), max_size=6))
@settings(deadline=None)
def test_documents_of_a_batch_do_not_touch(texts):
    whole = repetition.signals(*reference.batch(texts))
    for row, text in enumerate(texts):
        assert {name: values[row] for name, values in whole.items()} == measure(text)


@given(reference.texts())
@settings(deadline=None)
def test_every_signal_is_a_fraction(text):
    assert all(0 <= value <= 1 for value in measure(text).values())


@given(reference.texts())
@settings(deadline=None)
def test_longer_duplicates_cover_no_more(text):
    covered = [measure(text)[f"duplicate_{n}gram"] for n in range(5, 11)]
    assert covered == sorted(covered, reverse=True)


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "a", "\0", "one line of words", "This is a test."]
)
def test_nothing_repeats(text):
    assert set(measure(text).values()) == {0}


@pytest.mark.parametrize(
    ("text", "signal", "value"),
    [
        # Every copy counts, the first included; lines are stripped, empty ones ignored.
        ("a\n  a \n\nb\nc\n", "duplicate_lines", 2 / 4),
        ("a b\na  b\n", "duplicate_lines", 0),
        ("I am your father.\n" * 4, "duplicate_lines", 1),
        ("aa a\nbbbb\naa a\n", "duplicate_line_characters", 6 / 10),
        # A line of white space alone ends a paragraph; one line feed does not.
        ("a\nb\n \t\na\nb\n\n\nc", "duplicate_paragraphs", 2 / 3),
        ("a\nb\na\nb", "duplicate_paragraphs", 0),
        ("aa\nb\n\nccccccc\n\n  aa\nb\n", "duplicate_paragraph_characters", 6 / 13),
        ("é日\né日\nabcd", "duplicate_line_characters", 4 / 8),
        # Overlapping occurrences of the most frequent n-gram cover a word once.
        ("a a a bb", "top_2gram", 3 / 5),
        # Two bigrams occur twice: that with more characters wins, though it comes later.
        ("a b x a b y long word z long word", "top_2gram", 16 / 23),
        ("a b c d e f", "top_2gram", 0),
        ("a b c x a b c", "top_3gram", 6 / 7),
        ("a b c d x a b c d", "top_4gram", 8 / 9),
        ("a b c d e x a b c d e y", "duplicate_5gram", 10 / 12),
        ("a b c d e f x a b c d e f y", "duplicate_5gram", 12 / 14),
        ("a b c d e x a b c d e y", "duplicate_6gram", 0),
        # 'ab c' and 'a bc' are different, whatever joins their words.
        ("ab c a bc", "top_2gram", 0),
    ],
)
def test_values(text, signal, value):
    assert measure(text)[signal] == value


def test_white_space_changes_no_ngram():
    flat = "a bb a bb ccc a bb"
    spread = "a   bb\n\na\tbb\u3000ccc a \r\n bb"
    for name in ("top_2gram", "top_3gram", "duplicate_5gram"):
        assert measure(flat)[name] == measure(spread)[name]


def test_one_word_a_million_times():
    measured = measure("word " * 1_000_000)
    lines = {name for name in measured if "line" in name or "paragraph" in name}
    assert {measured[name] for name in lines} == {0}
    assert {measured[name] for name in measured if name not in lines} == {1}


def test_a_million_distinct_words():
    words = " ".join(map(str, range(1_000_000)))
    assert set(measure(words).values()) == {0}
    repeated = measure(words + " " + words)
    assert repeated["duplicate_10gram"] == 1
    assert repeated["top_2gram"] == pytest.approx(4 * 6 / len((words + words).replace(" ", "")))


def test_a_million_lines():
    distinct = "\n".join(map(str, range(1_000_000)))
    assert measure(distinct)["duplicate_lines"] == 0
    assert measure("\n\n".join([distinct, "x", "x"]))["duplicate_paragraphs"] == 2 / 3


def test_ten_megabytes_without_white_space():
    assert set(measure("x" * 10_000_000).values()) == {0}


def test_every_code_point():
    points = (point for point in range(0x110000) if not 0xD800 <= point < 0xE000)
    text = reference.agreed("".join(map(chr, points)))
    for candidate in (text, text + text):
        assert measure(candidate) == reference.repetition(candidate)


def test_a_document_too_long_is_an_error():
    offsets = np.array([0, repetition.MAX_BYTES + 1], np.int64)
    with pytest.raises(InputError, match="split it"):
        repetition.signals(np.zeros(0, np.uint8), offsets)
