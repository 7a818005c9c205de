"""Where sentences end: a rule, compiled into the kernels that count sentences.

The end of a line ends a sentence. So does a word before another one if it ends in `.`, `?` or `!`,
closing quotation marks and brackets aside, unless that is the period of an abbreviation: one of
`ABBREVIATIONS`, a single letter, or parts of one or two letters with periods between them (`e.g`,
`U.S`, `Ph.D`), with no other letter or digit before it. Abbreviations are English, and ASCII's.
"""

import numba
import numpy as np

from .unicode import ALPHABETIC, decode

ABBREVIATIONS = tuple(
    "mr mrs ms dr prof rev st mt sr jr gen col lt sgt capt gov sen rep inc ltd corp co vs jan feb "
    "aug sept oct nov dec".split()
)

_PERIOD = ord(".")
_QUESTION, _EXCLAMATION = ord("?"), ord("!")
_CLOSING = np.zeros(256, np.bool_)
_CLOSING[list(b"\"')]}")] = True


def rows(words: tuple[str, ...]) -> np.ndarray:
    """Return ASCII words as the rows of a uint8 array, each after its length, zeros after it."""
    out = np.zeros((len(words), 1 + max(map(len, words))), np.uint8)
    for row, word in zip(out, words, strict=True):
        row[0] = len(word)
        row[1 : 1 + len(word)] = list(word.encode())
    return out


_ABBREVIATIONS = rows(ABBREVIATIONS)


@numba.njit(cache=True, nogil=True, inline="always")
def lower(byte):  # type: ignore[no-untyped-def]
    """Return an ASCII byte in lower case, and any other as it is."""
    return byte | 0x20 if 65 <= byte <= 90 else byte


@numba.njit(cache=True, nogil=True)
def matches(text, i, stop, word):  # type: ignore[no-untyped-def]
    """Return whether `text[i:stop]` starts, in any case, with `word`: lower case, one of `rows`."""
    width = np.int64(word[0])
    if i + width > stop:
        return False
    k = 0
    while k < width and lower(text[i + k]) == word[1 + k]:
        k += 1
    return k == width


@numba.njit(cache=True, nogil=True, inline="always")
def closing_quote(text, i, last):  # type: ignore[no-untyped-def]
    """Return whether the bytes before `i` >= 3 are ’ (`last` 0x99) or ” (`last` 0x9D)."""
    return text[i - 1] == last and text[i - 2] == 0x80 and text[i - 3] == 0xE2


@numba.njit(cache=True, nogil=True)
def ends_sentence(text, begin, i, classes):  # type: ignore[no-untyped-def]
    """Return whether the word `text[begin:i]` would end a sentence before another word."""
    while i > begin:
        if _CLOSING[text[i - 1]]:
            i -= 1
        elif i - 3 >= begin and (closing_quote(text, i, 0x99) or closing_quote(text, i, 0x9D)):
            i -= 3
        else:
            break
    if i == begin:
        return False
    if text[i - 1] == _PERIOD:
        return not _abbreviated(text, begin, i - 1, classes)
    return text[i - 1] == _QUESTION or text[i - 1] == _EXCLAMATION


@numba.njit(cache=True, nogil=True)
def _abbreviated(text, begin, period, classes):  # type: ignore[no-untyped-def]
    """Return whether the word `text[begin:period]` is, or ends in, an abbreviation."""
    first = period
    parts = 1
    part = longest = 0
    empty = False
    while first > begin:
        byte = text[first - 1]
        if byte == _PERIOD:
            parts += 1
            empty |= part == 0
            part = 0
        elif 97 <= (byte | 0x20) <= 122:
            part += 1
            longest = max(longest, part)
        else:
            break
        first -= 1
    if empty or part == 0:
        return False
    if first > begin:
        before = first - 1
        while before > begin and (text[before] & 0xC0) == 0x80:
            before -= 1
        point, _ = decode(text, before, first)
        if classes[point] & ALPHABETIC or 48 <= point <= 57:
            return False
    if longest <= (2 if parts > 1 else 1):
        return True
    for row in range(len(_ABBREVIATIONS)):
        if _ABBREVIATIONS[row, 0] == period - first and matches(
            text, first, period, _ABBREVIATIONS[row]
        ):
            return True
    return False
