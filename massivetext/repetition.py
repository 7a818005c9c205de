"""Gopher's repetition signals (Rae et al. 2021, A.1.1, 'Repetition Removal', Table A1).

`rules` holds them against the thresholds of `config.Repetition`.

Every copy of a duplicate counts, the first included, as 'contained within all duplicate n-grams'
reads. n-grams are compared as sequences of words; the characters of an n-gram are those of its
words, and where n-grams overlap each is counted once. White space is in no numerator and in no
denominator, so reflowing a text or indenting it does not change its scores.

Bigrams, lines and paragraphs are told apart by hashes of 64 bits, longer n-grams by the bigrams
they consist of: the odds that any two of ten million are taken for the same are 3 in a million.
"""

from typing import NamedTuple

import numba
import numpy as np

from . import repeats
from .errors import InputError
from .quality import ratio, readonly
from .repeats import repeated
from .scan import BLOCK, between, lowest, ones, padded, white_space, word_bounds
from .unicode import classes
from .words import combine, skip_space, word_hash

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)

# Words and characters are counted in 32 bits.
MAX_BYTES = 2**32 - 2

# Columns of the kernel's counts; those of the n-grams follow from `_NGRAMS` on.
_CHARACTERS = 0
_LINES, _DUPLICATE_LINES, _LINE_CHARACTERS = 1, 2, 3
_PARAGRAPHS, _DUPLICATE_PARAGRAPHS, _PARAGRAPH_CHARACTERS = 4, 5, 6
_NGRAMS = 7
_MIN_N, _MAX_TOP_N, _MAX_N = TOP[0], TOP[-1], DUPLICATE[-1]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_HALF = np.uint64(32)
_LOW_HALF = np.uint64(2**32 - 1)
_BLANK = 32
_ROOT_3 = np.uint64(0xBB67AE8584CAA73B)


class _Scratch(NamedTuple):
    """What the kernel writes about one document; the beginnings of the arrays are in use.

    Attributes:
      keys, starts: of each n-gram, a uint64 that tells it from others, and its first word.
      reached: number of characters in the words before each word, and before the end.
      line_keys, line_lengths: of each line, its hash and its number of characters in words.
      paragraph_keys, paragraph_lengths: of each paragraph, likewise.
      repeats: what tells repeated ones.
    """

    keys: np.ndarray
    starts: np.ndarray
    reached: np.ndarray
    line_keys: np.ndarray
    line_lengths: np.ndarray
    paragraph_keys: np.ndarray
    paragraph_lengths: np.ndarray
    repeats: repeats.Scratch


def _scratch(capacity: int) -> _Scratch:
    """Return scratch for documents of up to `capacity` words.

    The system maps a page of it only when that is touched, and NumPy asks for large pages.
    """

    def pair() -> tuple[np.ndarray, np.ndarray]:
        return np.empty(capacity, np.uint64), np.empty(capacity, np.uint32)

    reached = np.empty(capacity + 1, np.uint32)
    return _Scratch(*pair(), reached, *pair(), *pair(), repeats.scratch(capacity))


def signals(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    """Measure n documents in time linear in their bytes.

    Scratch memory depends on the longest one: 16 bytes per word, 24 if it has more than some
    million, and 12 per line and per paragraph. For 100 MB of prose that is about 0.4 GB, at worst
    (a word every other byte) 1.2 GB.

    Lines end at `\\n`; paragraphs are separated by lines of white space. Both are compared after
    stripping, and empty ones do not count. A document without words scores 0 in everything.

    Args:
      data: uint8 UTF-8 bytes.
      offsets: n + 1 int64 offsets into `data`, as from `document.text_buffers`.

    Returns:
      float64 arrays of n values each, all fractions:
      `duplicate_lines`, `duplicate_paragraphs`: of the lines or paragraphs, those that occur more
      than once;
      `duplicate_line_characters`, `duplicate_paragraph_characters`: of the characters, those in
      such lines or paragraphs;
      `top_2gram` to `top_4gram`: of the characters, those in words covered by the n-gram that
      occurs most often, of several the one with most characters, of those the first in the text;
      0 when it occurs once;
      `duplicate_5gram` to `duplicate_10gram`: of the characters, those in words covered by any
      n-gram that occurs more than once.

    Raises:
      InputError: a document is longer than `MAX_BYTES`.
    """
    longest = int(np.diff(offsets).max(initial=0))
    if longest > MAX_BYTES:
        raise InputError(f"a document has {longest} bytes; split it to at most {MAX_BYTES}")
    counts = np.zeros((len(offsets) - 1, _NGRAMS + _MAX_N - _MIN_N + 1), np.int64)
    _count(readonly(padded(data)), readonly(offsets), classes(), _scratch(longest // 2 + 1), counts)
    characters = counts[:, _CHARACTERS]
    out = {
        "duplicate_lines": ratio(counts[:, _DUPLICATE_LINES], counts[:, _LINES]),
        "duplicate_paragraphs": ratio(counts[:, _DUPLICATE_PARAGRAPHS], counts[:, _PARAGRAPHS]),
        "duplicate_line_characters": ratio(counts[:, _LINE_CHARACTERS], characters),
        "duplicate_paragraph_characters": ratio(counts[:, _PARAGRAPH_CHARACTERS], characters),
    }
    for n in TOP + DUPLICATE:
        name = f"top_{n}gram" if n in TOP else f"duplicate_{n}gram"
        out[name] = ratio(counts[:, _NGRAMS + n - _MIN_N], characters)
    return out


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    signals(np.zeros(0, np.uint8), np.zeros(1, np.int64))


@numba.njit(cache=True, nogil=True)
def _scan(data, begin, stop, classes, scratch):  # type: ignore[no-untyped-def]
    """Fill `scratch` with the bigrams, lines and paragraphs of `data[begin:stop]`.

    Returns:
      `(words, lines, paragraphs)`: how many there are.
    """
    keys, starts, reached = scratch.keys, scratch.starts, scratch.reached
    words = lines = paragraphs = characters = 0
    # Lines and paragraphs are hashed as their words and the white space between, save a blank.
    line = paragraph = previous = _ZERO
    line_from = paragraph_from = 0
    inside = spill = _ZERO
    word_start = last_end = begin
    reached[0] = 0
    for i in range(begin, stop + 1, BLOCK):
        spaces, spill = white_space(data, i, stop, classes, spill)
        starts_inside = inside
        firsts, ends, inside = word_bounds(spaces, inside)
        leads = ~(spaces | between(data, i, 0x80, 0xBF))
        if starts_inside == _ZERO:
            word_start = i + lowest(firsts)
            firsts &= firsts - _ONE
        while ends != _ZERO:
            end = ends & (_ZERO - ends)
            ends ^= end
            word_end = i + lowest(end)
            word = word_hash(data, word_start, word_end)
            if words > 0:
                if word_start - last_end > 1 or data[last_end] != _BLANK:
                    _, line_feeds, gap = skip_space(data, last_end, word_start, classes)
                    if line_feeds == 0:
                        line = combine(line, gap)
                    else:
                        characters_before = np.int64(reached[words])
                        scratch.line_keys[lines] = line
                        scratch.line_lengths[lines] = characters_before - line_from
                        lines += 1
                        line_from = characters_before
                        paragraph = combine(paragraph, line)
                        line = _ZERO
                        if line_feeds == 1:
                            paragraph = combine(paragraph, gap)
                        else:
                            scratch.paragraph_keys[paragraphs] = paragraph
                            scratch.paragraph_lengths[paragraphs] = (
                                characters_before - paragraph_from
                            )
                            paragraphs += 1
                            paragraph_from = characters_before
                            paragraph = _ZERO
                keys[words - 1] = previous * _ROOT_3 + word
                starts[words - 1] = words - 1
            line = combine(line, word)
            previous = word
            words += 1
            reached[words] = characters + ones(leads & (end - _ONE))
            last_end = word_end
            word_start = i + lowest(firsts)
            firsts &= firsts - _ONE
        characters += ones(leads)
    if words > 0:
        scratch.line_keys[lines] = line
        scratch.line_lengths[lines] = characters - line_from
        lines += 1
        scratch.paragraph_keys[paragraphs] = combine(paragraph, line)
        scratch.paragraph_lengths[paragraphs] = characters - paragraph_from
        paragraphs += 1
    return words, lines, paragraphs


@numba.njit(cache=True, nogil=True, inline="always")
def _duplicates(keys, lengths, n, scratch):  # type: ignore[no-untyped-def]
    """Return how many of n items, and of their characters, are of items that occur repeatedly."""
    items, _ = repeated(keys, lengths, n, scratch.repeats)
    characters = 0
    for k in range(items):
        characters += np.int64(lengths[k])
    return items, characters


@numba.njit(cache=True, nogil=True)
def _top(keys, starts, left, most, n, reached):  # type: ignore[no-untyped-def]
    """Return the key of the n-gram that occurs `most` often, of several the one with most
    characters, of those the first in the text.
    """
    top = keys[0]
    longest = 0
    for a in range(left):
        if np.int64(keys[a] & _LOW_HALF) == most:
            start = np.int64(starts[a])
            length = np.int64(reached[start + n]) - np.int64(reached[start])
            if length > longest:
                longest = length
                top = keys[a]
    return top


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, classes, scratch, counts):  # type: ignore[no-untyped-def]
    keys, starts, reached = scratch.keys, scratch.starts, scratch.reached
    for row in range(len(offsets) - 1):
        out = counts[row]
        words, lines, paragraphs = _scan(data, offsets[row], offsets[row + 1], classes, scratch)
        out[_CHARACTERS] = reached[words]
        out[_LINES] = lines
        out[_PARAGRAPHS] = paragraphs
        out[_DUPLICATE_LINES], out[_LINE_CHARACTERS] = _duplicates(
            scratch.line_keys, scratch.line_lengths, lines, scratch
        )
        out[_DUPLICATE_PARAGRAPHS], out[_PARAGRAPH_CHARACTERS] = _duplicates(
            scratch.paragraph_keys, scratch.paragraph_lengths, paragraphs, scratch
        )

        # Entry a is the n-gram that starts at word starts[a]. Only an n-gram that occurs twice can
        # begin a longer one that does; a longer one is the pair of shorter ones it consists of.
        left = words - 1
        for n in range(_MIN_N, _MAX_N + 1):
            left, most = repeated(keys, starts, left, scratch.repeats)
            if left == 0:
                break
            any_will_do = n > _MAX_TOP_N
            top = _ZERO
            if not any_will_do:
                top = _top(keys, starts, left, most, n, reached)
            covered = 0
            covered_stop = 0
            for a in range(left):
                if any_will_do or keys[a] == top:
                    start = np.int64(starts[a])
                    covered += np.int64(reached[start + n])
                    covered -= np.int64(reached[max(start, covered_stop)])
                    covered_stop = start + n
            out[_NGRAMS + n - _MIN_N] = covered

            pairs = 0
            for a in range(left - 1):
                start = np.int64(starts[a])
                keys[pairs] = (keys[a] & ~_LOW_HALF) | (keys[a + 1] >> _HALF)
                starts[pairs] = start
                pairs += np.int64(starts[a + 1]) == start + 1
            left = pairs
