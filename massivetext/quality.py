"""Gopher's quality signals (Rae et al. 2021, A.1.1, 'Quality Filtering'), measured per document.

`rules` holds them against the thresholds of `config.Quality`.
"""

import numba
import numpy as np

from .scan import (
    BLOCK,
    between,
    carry_through,
    character_bits,
    highest,
    load,
    lowest,
    ones,
    padded,
    white_space,
    word_bounds,
)
from .unicode import ALPHABETIC, PUNCTUATION, SPACE, classes, decode

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

# These begin a bulleted line whatever follows them; a dash or an asterisk only when white space
# or the line's end follows, since '-5 °C', '*emphasis*' and '—said he' are no list items.
BULLETS = "•‣⁃▪▫◦●○■□∙·"
DASHES = "-*–—"

_BULLETS = np.array(sorted(map(ord, BULLETS)), np.int64)
_DASHES = np.array(sorted(map(ord, DASHES)), np.int64)
# Each has two to four letters, none is the beginning of another.
_STOP_WORDS = np.array([int.from_bytes(w.encode(), "little") for w in STOP_WORDS], np.uint64)
_STOP_WORD_LENGTHS = np.array([len(w) for w in STOP_WORDS], np.int64)
_STOP_WORD_MASKS = np.array([(1 << 8 * len(w)) - 1 for w in STOP_WORDS], np.uint64)
_ALL_STOP_WORDS = (1 << len(STOP_WORDS)) - 1
# This bit makes letters lower case; it makes letters of nothing else.
_LOWER_CASE = np.uint64(0x2020202020202020)

# The bits of the stop words that begin with two letters, by five bits of each letter.
_BY_INITIALS = np.zeros(1 << 10, np.uint8)
for _k, _word in enumerate(STOP_WORDS):
    _BY_INITIALS[(ord(_word[1]) & 31) << 5 | (ord(_word[0]) & 31)] |= np.uint8(1 << _k)

_DOT, _HASH, _LINE_FEED = ord("."), ord("#"), ord("\n")
_ELLIPSIS_POINT, _ELLIPSIS = ord("…"), tuple("…".encode())

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TWO = np.uint64(2)
_THREE = np.uint64(3)
_FOUR = np.uint64(4)

# Columns of the kernel's counts.
_WORDS, _CHARACTERS, _HASHES, _ELLIPSES, _ALPHABETIC, _STOP = 0, 1, 2, 3, 4, 5
_LINES, _BULLET_LINES, _ELLIPSIS_LINES = 6, 7, 8


def signals(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    """Measure n documents; time is linear in their bytes, memory constant.

    Words are maximal runs of non-white-space; lines end at `\\n`, are stripped of white space, and
    do not count when empty. A document without words scores 0 in everything.

    Args:
      data: uint8 UTF-8 bytes.
      offsets: n + 1 int64 offsets into `data`, as from `document.text_buffers`.

    Returns:
      Arrays of n values each:
      `words` (int64);
      `mean_word_length` (float64): code points per word, punctuation included;
      `hash_ratio`: number of `#` characters / words;
      `ellipsis_ratio`: number of `...` (not overlapping) and of `…` / words;
      `bullet_lines`: share of lines that start with one of `BULLETS`, or with one of `DASHES`
      before white space or the line's end;
      `ellipsis_lines`: share of lines that end with `...` or `…`;
      `alphabetic_words`: share of words with an alphabetic character (any script);
      `stop_words` (int64): how many different ones of `STOP_WORDS` occur, in any case, after
      stripping punctuation and symbols from both ends of each word.
    """
    counts = np.zeros((len(offsets) - 1, 9), np.int64)
    _count(readonly(padded(data)), readonly(offsets), classes(), counts)
    words = counts[:, _WORDS]
    lines = counts[:, _LINES]
    return {
        "words": words.copy(),
        "mean_word_length": ratio(counts[:, _CHARACTERS], words),
        "hash_ratio": ratio(counts[:, _HASHES], words),
        "ellipsis_ratio": ratio(counts[:, _ELLIPSES], words),
        "bullet_lines": ratio(counts[:, _BULLET_LINES], lines),
        "ellipsis_lines": ratio(counts[:, _ELLIPSIS_LINES], lines),
        "alphabetic_words": ratio(counts[:, _ALPHABETIC], words),
        "stop_words": np.bitwise_count(counts[:, _STOP]).astype(np.int64),
    }


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    signals(np.zeros(0, np.uint8), np.zeros(1, np.int64))


def readonly(array: np.ndarray) -> np.ndarray:
    """Return a read-only contiguous view: kernels compile for one type of array, as Arrow's are."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the float64 quotient, 0 where the denominator is 0.

    One correctly rounded division: 9 of 90 is the same float64 as the threshold 0.1.
    """
    out = np.zeros(len(numerator), np.float64)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


@numba.njit(cache=True, nogil=True, inline="always")
def _holds(array, value):  # type: ignore[no-untyped-def]
    found = False
    for item in array:
        found |= item == value
    return found


@numba.njit(cache=True, nogil=True, inline="always")
def _bulleted(data, i, stop, classes):  # type: ignore[no-untyped-def]
    """Return 1 if the line that starts at `i` is an item of a list, else 0."""
    point, width = decode(data, i, stop)
    if classes[point] & PUNCTUATION:
        if _holds(_BULLETS, point):
            return 1
        if _holds(_DASHES, point):
            if i + width == stop:
                return 1
            following, _ = decode(data, i + width, stop)
            return int(classes[following] == SPACE)
    return 0


@numba.njit(cache=True, nogil=True, inline="always")
def _ends_in_ellipsis(data, begin, end):  # type: ignore[no-untyped-def]
    """Return 1 if the line of which the last word ends at `end` ends in an ellipsis, else 0."""
    if end - begin < 3:
        return 0
    a, b, c = data[end - 3], data[end - 2], data[end - 1]
    dots = a == _DOT and b == _DOT and c == _DOT
    return int(dots or (a == _ELLIPSIS[0] and b == _ELLIPSIS[1] and c == _ELLIPSIS[2]))


@numba.njit(cache=True, nogil=True, inline="always")
def _triple_dots(dots, run):  # type: ignore[no-untyped-def]
    """Return `(count, run)`: the `...` in the mask `dots`, after and before a run of dots.

    Those of the run that is at the block's end are counted with the next block.
    """
    count = 0
    left = BLOCK
    while dots != _ZERO:
        gap = lowest(dots)
        if gap > 0:
            count += run // 3
            run = 0
        dots >>= np.uint64(gap)
        left -= gap
        length = lowest(~dots)
        run += length
        left -= length
        if left == 0:
            return count, run
        dots >>= np.uint64(length)
    return count + run // 3, 0


@numba.njit(cache=True, nogil=True, inline="always")
def _stop_word(data, i, stop, classes, found):  # type: ignore[no-untyped-def]
    """Return the bit of the stop word that starts at `i` and ends its word, or 0.

    Punctuation may follow it. Those already `found` need not be told.
    """
    start = load(data, i, stop) | _LOWER_CASE
    initials = ((start >> _THREE) & np.uint64(31 << 5)) | (start & np.uint64(31))
    maybe = np.int64(_BY_INITIALS[initials]) & ~found
    while maybe != 0:
        k = lowest(np.uint64(maybe))
        maybe &= maybe - 1
        if start & _STOP_WORD_MASKS[k] == _STOP_WORDS[k]:
            i += _STOP_WORD_LENGTHS[k]
            while i < stop:
                point, width = decode(data, i, stop)
                if classes[point] != PUNCTUATION:
                    return (1 << k) if classes[point] == SPACE else 0
                i += width
            return 1 << k
    return 0


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, classes, counts):  # type: ignore[no-untyped-def]
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        stop = offsets[row + 1]
        out = counts[row]
        words = characters = hashes = ellipses = alphabetic_words = stop_words = 0
        lines = bullet_lines = ellipsis_lines = 0
        dots_run = 0
        last_end = begin
        # What one block leaves to the next. A document begins like a line, after a line feed.
        inside = space_spill = punctuation_spill = alphabetic_carry = core_carry = _ZERO
        line_carry = _ONE
        for i in range(begin, stop + 1, BLOCK):
            spaces, space_spill = white_space(data, i, stop, classes, space_spill)
            starts, ends, inside = word_bounds(spaces, inside)
            solid = ~spaces
            beyond_ascii = between(data, i, 0x80, 0xFF) & solid
            leads = between(data, i, 0xC0, 0xFF) & solid
            letters = (between(data, i, 65, 90) | between(data, i, 97, 122)) & solid
            dots = between(data, i, _DOT, _DOT) & solid
            punctuation = punctuation_spill | (
                solid
                & (
                    between(data, i, 33, 47)
                    | between(data, i, 58, 64)
                    | between(data, i, 91, 96)
                    | between(data, i, 123, 126)
                )
            )
            words += ones(ends)
            characters += ones((solid & ~beyond_ascii) | leads)
            hashes += ones(between(data, i, _HASH, _HASH) & solid)

            # Characters that are part of a word without the punctuation at its ends.
            core = solid & ~(beyond_ascii | punctuation)
            punctuation_spill = _ZERO
            while leads != _ZERO:
                k = lowest(leads)
                lead = leads & (_ZERO - leads)
                leads ^= lead
                point, width = decode(data, i + k, stop)
                flags = classes[point]
                if flags == PUNCTUATION:
                    bits, over = character_bits(k, width)
                    punctuation |= bits
                    punctuation_spill |= over
                    ellipses += point == _ELLIPSIS_POINT
                else:
                    core |= lead
                    if flags == ALPHABETIC:
                        letters |= lead

            found, alphabetic_carry = carry_through(solid, letters, alphabetic_carry)
            alphabetic_words += ones(found & ends)

            if (dots | np.uint64(dots_run)) != _ZERO:
                count, dots_run = _triple_dots(dots, dots_run)
                ellipses += count

            if stop_words != _ALL_STOP_WORDS:
                after, core_carry = carry_through(punctuation, punctuation & starts, core_carry)
                # Of words with two to four letters or, at the block's end, perhaps so many.
                maybe = (
                    core
                    & (starts | after)
                    & letters
                    & ~((letters >> _TWO) & (letters >> _THREE) & (letters >> _FOUR))
                )
                while maybe != _ZERO:
                    k = lowest(maybe)
                    maybe &= maybe - _ONE
                    stop_words |= _stop_word(data, i + k, stop, classes, stop_words)

            feeds = between(data, i, _LINE_FEED, _LINE_FEED) & spaces
            after, line_carry = carry_through(spaces, feeds, line_carry)
            line_starts = starts & after
            while line_starts != _ZERO:
                k = lowest(line_starts)
                start = line_starts & (_ZERO - line_starts)
                line_starts ^= start
                end = highest(ends & (start - _ONE))
                ellipsis_lines += _ends_in_ellipsis(data, begin, i + end if end >= 0 else last_end)
                lines += 1
                bullet_lines += _bulleted(data, i + k, stop, classes)
            if ends != _ZERO:
                last_end = i + highest(ends)
        ellipsis_lines += _ends_in_ellipsis(data, begin, last_end)
        out[_WORDS] = words
        out[_CHARACTERS] = characters
        out[_HASHES] = hashes
        out[_ELLIPSES] = ellipses
        out[_ALPHABETIC] = alphabetic_words
        out[_STOP] = stop_words
        out[_LINES] = lines
        out[_BULLET_LINES] = bullet_lines
        out[_ELLIPSIS_LINES] = ellipsis_lines
