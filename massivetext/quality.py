"""Gopher's quality signals (Rae et al. 2021, A.1.1, 'Quality Filtering'), measured per document.

`rules` holds them against the thresholds of `config.Quality`.
"""

from typing import Any

import numba
import numpy as np

from .unicode import ALPHABETIC, PUNCTUATION, SPACE, classes, decode
from .words import skip_space

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

# These begin a bulleted line whatever follows them; a dash or an asterisk only when white space
# or the line's end follows, since '-5 °C', '*emphasis*' and '—said he' are no list items.
BULLETS = "•‣⁃▪▫◦●○■□∙·"
DASHES = "-*–—"

_BULLETS = np.array(sorted(map(ord, BULLETS)), np.int64)
_DASHES = np.array(sorted(map(ord, DASHES)), np.int64)
# A leading 1 keeps the length: NUL bytes are characters like any other.
_STOP_WORDS = np.array([int.from_bytes(b"\1" + w.encode(), "big") for w in STOP_WORDS], np.int64)
_MAX_STOP_WORD = max(map(len, STOP_WORDS))

_BEYOND_ASCII = np.uint8(255)
_DOT, _HASH, _ELLIPSIS, _ASCII_CASE = ord("."), ord("#"), ord("…"), 0x20

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
    _count(readonly(data), readonly(offsets), classes(), counts)
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
def _stop_word(data, i, stop):  # type: ignore[no-untyped-def]
    """Return the bit of the stop word `data[i:stop]`, or 0."""
    length = stop - i
    bit = 0
    if 0 < length <= _MAX_STOP_WORD:
        packed: Any = 1
        for k in range(i, stop):
            byte = np.int64(data[k])
            if 65 <= byte <= 90:
                byte |= _ASCII_CASE
            packed = (packed << 8) | byte
        for k in range(len(_STOP_WORDS)):
            if _STOP_WORDS[k] == packed:
                bit = 1 << k
    return bit


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, classes, counts):  # type: ignore[no-untyped-def]
    for row in range(len(offsets) - 1):
        i = offsets[row]
        stop = offsets[row + 1]
        out = counts[row]
        words = characters = hashes = ellipses = alphabetic_words = stop_words = 0
        lines = bullet_lines = ellipsis_lines = 0
        ends_in_ellipsis = False
        while True:
            i, line_feeds, _ = skip_space(data, i, stop, classes)
            if i == stop:
                break
            begin = i
            if words == 0 or line_feeds > 0:
                lines += 1
                ellipsis_lines += ends_in_ellipsis
                point, width = decode(data, i, stop)
                if classes[point] & PUNCTUATION:
                    if _holds(_BULLETS, point):
                        bullet_lines += 1
                    elif _holds(_DASHES, point):
                        after = i + width
                        if after == stop:
                            bullet_lines += 1
                        else:
                            following, _ = decode(data, after, stop)
                            bullet_lines += classes[following] == SPACE
            words += 1

            flags_seen = np.uint8(0)
            dots = 0
            last = 0
            # The word without the punctuation at its ends is data[core:core_stop].
            core = core_stop = begin
            while i < stop:
                point = np.int64(data[i])
                flags = _BEYOND_ASCII
                if point < 0x80:
                    flags = classes[point]
                if flags == ALPHABETIC:
                    run = i
                    i += 1
                    while i < stop and data[i] < 0x80 and classes[data[i]] == ALPHABETIC:
                        i += 1
                    if core_stop == begin:
                        core = run
                    core_stop = i
                    characters += i - run
                    flags_seen |= np.uint8(ALPHABETIC)
                    if dots > 0:
                        ellipses += dots // 3
                        dots = 0
                    last = 0
                    continue
                width = 1
                if flags == _BEYOND_ASCII:
                    point, width = decode(data, i, stop)
                    flags = classes[point]
                if flags == SPACE:
                    break
                last = point
                characters += 1
                if point == _DOT:
                    dots += 1
                else:
                    if dots > 0:
                        ellipses += dots // 3
                        dots = 0
                    if flags != PUNCTUATION:
                        flags_seen |= flags
                        if core_stop == begin:
                            core = i
                        core_stop = i + width
                    elif point == _HASH:
                        hashes += 1
                    elif point == _ELLIPSIS:
                        ellipses += 1
                i += width
            if dots > 0:
                ellipses += dots // 3
            ends_in_ellipsis = dots >= 3 or last == _ELLIPSIS
            alphabetic_words += (flags_seen & ALPHABETIC) != 0
            stop_words |= _stop_word(data, core, core_stop)
        ellipsis_lines += ends_in_ellipsis
        out[_WORDS] = words
        out[_CHARACTERS] = characters
        out[_HASHES] = hashes
        out[_ELLIPSES] = ellipses
        out[_ALPHABETIC] = alphabetic_words
        out[_STOP] = stop_words
        out[_LINES] = lines
        out[_BULLET_LINES] = bullet_lines
        out[_ELLIPSIS_LINES] = ellipsis_lines
