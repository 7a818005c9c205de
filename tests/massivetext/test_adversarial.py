"""Texts made to break the kernels: the largest, the most repetitive, the oddest; exact values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import quality, repetition, unicode

from . import reference

NGRAMS = {name: 0.0 for name in reference.repetition("") if "gram" in name}
LINES = {name: 0.0 for name in reference.repetition("") if "gram" not in name}


def measure(text: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the quality and the repetition signals of one document."""
    return measure_rows(*reference.batch([text]))[0]


def measure_rows(
    data: np.ndarray, offsets: np.ndarray
) -> list[tuple[dict[str, float], dict[str, float]]]:
    groups = [kernel.signals(data, offsets) for kernel in (quality, repetition)]
    return [
        tuple({name: values[row] for name, values in group.items()} for group in groups)
        for row in range(len(offsets) - 1)
    ]


def expected(text: str) -> tuple[dict[str, float], dict[str, float]]:
    return reference.quality(text), reference.repetition(text)


def of_quality(words: int, **others: float) -> dict[str, float]:
    """Return the signals of a text of one line without anything that a rule watches."""
    nothing = dict.fromkeys(reference.quality(""), 0.0)
    return {**nothing, "words": words, "alphabetic_words": 1.0, **others}


def test_one_word_a_million_times():
    assert measure("word " * 1_000_000) == (
        of_quality(1_000_000, mean_word_length=4),
        LINES | dict.fromkeys(NGRAMS, 1),
    )


def test_one_line_a_hundred_thousand_times():
    n = 100_000
    assert measure("The end...\n" * n) == (
        of_quality(
            2 * n, mean_word_length=9 / 2, stop_words=1, ellipsis_ratio=0.5, ellipsis_lines=1
        ),
        {
            **LINES,
            "duplicate_lines": 1,
            "duplicate_line_characters": 1,
            **dict.fromkeys(NGRAMS, 1),
            # 'end... The end...' is longer than 'The end... The', and covers all but one 'The'.
            "top_3gram": (9 * n - 3) / (9 * n),
        },
    )


def test_a_million_distinct_words():
    n = 1_000_000
    text = " ".join(map(str, range(n)))
    characters = 10 + 90 * 2 + 900 * 3 + 9_000 * 4 + 90_000 * 5 + 900_000 * 6
    plain = of_quality(n, mean_word_length=characters / n, alphabetic_words=0)
    assert measure(text) == (plain, LINES | NGRAMS)

    # Every n-gram occurs twice; of those with most characters the first is the top one.
    tops = {f"top_{k}gram": 2 * 6 * k / (2 * characters) for k in (2, 3, 4)}
    assert measure(text + "\n" + text) == (
        {**plain, "words": 2 * n},
        {
            **LINES,
            "duplicate_lines": 1,
            "duplicate_line_characters": 1,
            **dict.fromkeys(NGRAMS, 1),
            **tops,
        },
    )


def test_a_document_of_one_ngram():
    n = 200_000
    ngrams = dict.fromkeys(NGRAMS, 1.0)
    # 'bb ccc' and 'a bb' occur n times, 'ccc a' once less; the first has more characters.
    ngrams["top_2gram"] = 5 / 6
    # Three occur n - 1 times; 'ccc a bb ccc' has most characters, and covers all but the start.
    ngrams["top_4gram"] = (6 * n - 3) / (6 * n)
    assert measure("a bb ccc " * n) == (of_quality(3 * n, mean_word_length=2), LINES | ngrams)


def test_a_million_paragraphs():
    n = 1_000_000
    distinct = "\n\n".join(map(str, range(n)))
    assert measure(distinct)[1] == LINES | NGRAMS
    repeated = measure(distinct + "\n\n" + distinct)[1]
    assert {repeated[name] for name in LINES} == {1}


def test_combining_characters():
    n = 100_000
    # A mark is a code point of its own, and no letter: alone it makes no alphabetic word.
    assert measure("e\u0301 \u0301 " * n) == (
        of_quality(2 * n, mean_word_length=3 / 2, alphabetic_words=1 / 2),
        LINES | dict.fromkeys(NGRAMS, 1) | {"top_3gram": (3 * n - 1) / (3 * n)},
    )
    assert measure("z" + "\u0301" * 1_000_000)[0] == of_quality(1, mean_word_length=1_000_001)


def test_right_to_left_text():
    n = 100_000
    assert measure("\u200fשלום, עולם! " * n) == (
        of_quality(2 * n, mean_word_length=11 / 2),
        LINES | dict.fromkeys(NGRAMS, 1) | {"top_3gram": (11 * n - 5) / (11 * n)},
    )
    lines = measure("• مرحبا…\n" * n)
    assert lines[0] == of_quality(
        2 * n,
        mean_word_length=7 / 2,
        alphabetic_words=1 / 2,
        bullet_lines=1,
        ellipsis_lines=1,
        ellipsis_ratio=1 / 2,
    )


def test_every_code_point_as_a_word():
    classes = unicode.classes()
    points = [point for point in range(unicode.CODE_POINTS) if not 0xD800 <= point < 0xE000]
    words = int(sum(classes[points] != unicode.SPACE))
    letters = int(sum(classes[points] == unicode.ALPHABETIC))
    assert measure(" ".join(map(chr, points))) == (
        of_quality(
            words,
            mean_word_length=1,
            alphabetic_words=letters / words,
            hash_ratio=1 / words,
            ellipsis_ratio=1 / words,
        ),
        LINES | NGRAMS,
    )


@pytest.mark.parametrize(
    ("character", "signals"),
    [
        ("x", {}),
        ("日", {}),
        ("#", {"hash_ratio": 10_000_000, "alphabetic_words": 0}),
        (".", {"ellipsis_ratio": 3_333_333, "ellipsis_lines": 1, "alphabetic_words": 0}),
        ("\0", {"alphabetic_words": 0}),
    ],
)
def test_ten_million_characters_without_white_space(character, signals):
    assert measure(character * 10_000_000) == (
        of_quality(1, mean_word_length=10_000_000, **signals),
        LINES | NGRAMS,
    )


@pytest.mark.parametrize("space", [" ", "\n", "\u3000", "\t \u2028"])
def test_ten_million_spaces(space):
    quality_signals, repetition_signals = measure(space * 10_000_000)
    assert set(quality_signals.values()) == set(repetition_signals.values()) == {0}
    around = measure(space * 1_000_000 + "word" + space * 1_000_000)
    assert around == (of_quality(1, mean_word_length=4), LINES | NGRAMS)


# Bytes that change the signals of a text to which they belong, and halves of characters.
NEIGHBOURS = (b"the", b"...", b" ", b"\n", b"#", b"\xa6", b"\xe2\x80", b"\xe3", b"\xff")
TEXTS = (
    "to be… and the “that”, of\u00a0it...\n\n• have - with\u3000the #1",
    "abcdefgh ijklmnopq the. abcdefgh ijklmnopq the. abcdefgh ijk",
    "é日本\u2028…the\x85е\u0301— шло שלום\n- be\n- be\n– \n",
)


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
@pytest.mark.parametrize("text", TEXTS)
def test_bytes_around_a_document_are_not_read(text, neighbour):
    # Every length and every place in a word of eight bytes, between hostile neighbours.
    data, offsets, texts = b"", [0], []
    for length in range(41):
        for alignment in range(8):
            padding = (neighbour * 8)[: 8 + (alignment - len(data)) % 8]
            encoded = text[:length].encode()
            data += padding + encoded
            offsets += [len(data) - len(encoded), len(data)]
            texts.append(text[:length])
    rows = measure_rows(np.frombuffer(data + neighbour, np.uint8), np.array(offsets))
    expectations = {text: expected(text) for text in texts}
    assert rows[1::2] == [expectations[text] for text in texts]


@pytest.mark.parametrize("text", TEXTS)
def test_a_document_ends_where_the_buffer_ends(text):
    for begin in range(len(text)):
        for stop in range(begin, len(text) + 1):
            if (stop - begin) % 3 == begin % 3:
                part = text[begin:stop]
                assert measure(part) == expected(part)
    before = 100 * b"the... "
    for stop in range(len(text) + 1):
        encoded = text[:stop].encode()
        data = np.frombuffer(before + encoded, np.uint8)
        offsets = np.array([len(before), len(data)])
        assert measure_rows(data, offsets) == [expected(text[:stop])]


@pytest.mark.parametrize(
    "piece",
    [
        *(
            " ",
            "\n",
            "\n\n",
            "\u3000",
            "\x85",
            "\n \u2028\n",
            " the ",
            "(To) ",
            "«be»",
            " oF\u3000",
        ),
        *("...", "..", "…", "…\n", "...\n", "\n• ", "\n-\u3000", "\n*", "#", "é", "e\u0301", "𝔘"),
        *(" .", " 1 ", " that", "that,that ", " b b b b ", "\na\nb\na\nb\n", " ......the "),
    ],
)
def test_pieces_across_blocks(piece):
    for before in range(56, 70):
        for text in ("x" * before + piece, "x" * before + piece + "y" * 70 + piece + "z"):
            assert measure(text) == expected(text)


@given(st.integers(0, 140), reference.texts(), st.sampled_from(NEIGHBOURS), st.integers(0, 70))
@settings(max_examples=500, deadline=None)
def test_kernels_agree_with_the_reference_anywhere(shift, text, neighbour, filler):
    text = "x" * filler + text
    before, encoded = (neighbour * 140)[:shift], text.encode()
    data = np.frombuffer(before + encoded + neighbour * 40, np.uint8)
    offsets = np.array([len(before), len(before) + len(encoded)])
    assert measure_rows(data, offsets) == [expected(text)]
