import numpy as np
import pytest
from hypothesis import given, settings

from massivetext import quality

from . import reference


def measure(text: str) -> dict[str, float]:
    return {name: values[0] for name, values in quality.signals(*reference.batch([text])).items()}


@given(reference.texts())
@settings(max_examples=600, deadline=None)
def test_kernel_agrees_with_reference(text):
    assert measure(text) == reference.quality(text)


@given(reference.texts(), reference.texts(), reference.texts())
@settings(deadline=None)
def test_documents_of_a_batch_do_not_touch(a, b, c):
    data, offsets = reference.batch([a, b, c])
    whole = quality.signals(data, offsets)
    for row, text in enumerate((a, b, c)):
        assert {name: values[row] for name, values in whole.items()} == measure(text)
    # A slice of an Arrow array has offsets that do not begin at 0.
    for name, values in quality.signals(data, offsets[1:]).items():
        assert np.array_equal(values, whole[name][1:])


def test_every_code_point():
    points = (point for point in range(0x110000) if not 0xD800 <= point < 0xE000)
    text = reference.agreed("".join(map(chr, points)))
    assert measure(text) == reference.quality(text)
    spread = " ".join(text)
    assert measure(spread) == reference.quality(spread)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\u3000\t\x85\u2028"])
def test_no_words_score_zero(text):
    assert set(measure(text).values()) == {0}


def test_types():
    signals = quality.signals(*reference.batch(["a", "b c"]))
    kinds = {name: values.dtype for name, values in signals.items()}
    assert kinds.pop("words") == kinds.pop("stop_words") == np.int64
    assert set(kinds.values()) == {np.dtype(np.float64)}
    assert all(len(values) == 2 for values in signals.values())


def test_empty_batch():
    assert all(len(v) == 0 for v in quality.signals(*reference.batch([])).values())


@pytest.mark.parametrize(
    ("text", "signal", "value"),
    [
        ("\0 a\0b", "words", 2),
        ("naïve 日本語", "mean_word_length", 8 / 2),
        ("e\u0301 e\u0301", "mean_word_length", 2),
        ("שלום עולם", "alphabetic_words", 1),
        ("a## b", "hash_ratio", 2 / 2),
        ("a.... b...... c..", "ellipsis_ratio", 3 / 3),
        ("…a… .. .", "ellipsis_ratio", 2 / 3),
        ("- a\n-b\n-\n  * c\n*d*\n•e\n— f\n—g", "bullet_lines", 5 / 8),
        ("\u2022\u3000a\n-\u3000b\n\n \n", "bullet_lines", 1),
        ("a...\nb…  \nc.... \nd..\ne... f", "ellipsis_lines", 3 / 5),
        ("a1 1 ½ é . 日", "alphabetic_words", 3 / 6),
        ('"The, THE the (with) HAVE.', "stop_words", 3),
        ("other then thee b.e to-be", "stop_words", 0),
        ("…to… $be$ of\u00a0and", "stop_words", 4),
    ],
)
def test_values(text, signal, value):
    assert measure(text)[signal] == value


def test_million_words():
    measured = measure("the " * 1_000_000)
    assert (measured["words"], measured["mean_word_length"]) == (1_000_000, 3)


def test_ten_megabytes_without_white_space():
    measured = measure("x" * 10_000_000)
    assert (measured["words"], measured["mean_word_length"]) == (1, 10_000_000)
