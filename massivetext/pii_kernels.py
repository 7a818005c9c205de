"""Compiled kernels that find personal data, for `pii`, which says what counts: what they share, and
e-mail addresses."""

import numba
import numpy as np

_AT, _DOT, _HYPHEN = ord("@"), ord("."), ord("-")

# Flags of bytes.
DIGIT, LETTER, HEX, _NAME = 1, 2, 4, 8


def _byte_flags() -> np.ndarray:
    flags = np.zeros(256, np.uint8)
    for byte in range(128):
        character = chr(byte)
        flags[byte] = (
            DIGIT * character.isdigit()
            + LETTER * character.isalpha()
            + HEX * (character in "0123456789abcdefABCDEF")
            + _NAME * (character.isalnum() or character in "._%+-")
        )
    return flags


FLAGS = _byte_flags()


@numba.njit(cache=True, nogil=True)
def splice(  # type: ignore[no-untyped-def]
    data, offsets, counts, spans, kinds, texts, starts, out, out_offsets
):
    """Copy rows to `out` with match k, of which row i has `counts[i]`, replaced by the text of
    `kinds[k]`: `texts[starts[kind]:starts[kind + 1]]`."""
    o = 0
    k = 0
    for row in range(len(counts)):
        out_offsets[row] = o
        i = offsets[row]
        for _ in range(counts[row]):
            size = spans[k, 0] - i
            out[o : o + size] = data[i : i + size]
            o += size
            text = texts[starts[kinds[k]] : starts[kinds[k] + 1]]
            out[o : o + len(text)] = text
            o += len(text)
            i = spans[k, 1]
            k += 1
        size = offsets[row + 1] - i
        out[o : o + size] = data[i : i + size]
        o += size
    out_offsets[len(counts)] = o


@numba.njit(cache=True, nogil=True)
def larger(spans, kinds):  # type: ignore[no-untyped-def]
    """Return the arrays with room for twice as many matches."""
    n = len(kinds)
    more = np.empty((2 * n, 2), np.int64)
    more[:n] = spans
    more_kinds = np.empty(2 * n, np.uint8)
    more_kinds[:n] = kinds
    return more, more_kinds


@numba.njit(cache=True, nogil=True)
def next_of(data, i, stop, one, other):  # type: ignore[no-untyped-def]
    """Return where one of two bytes is next, or `stop`."""
    while i < stop and data[i] != one and data[i] != other:
        i += 1
    return i


@numba.njit(cache=True, nogil=True)
def find_emails(data, offsets, counts):  # type: ignore[no-untyped-def]
    """Count the e-mail addresses of each row; return their ranges, int64 [m, 2], and m zeros."""
    spans = np.empty((64, 2), np.int64)
    kinds = np.empty(64, np.uint8)
    n = 0
    for row in range(len(counts)):
        free = i = offsets[row]
        stop = offsets[row + 1]
        while True:
            i = next_of(data, i, stop, _AT, _AT)
            if i == stop:
                break
            start = _name_start(data, free, i)
            end = _domain_end(data, i + 1, stop) if start < i else -1
            i += 1
            if end > i:
                if n == len(kinds):
                    spans, kinds = larger(spans, kinds)
                spans[n, 0] = start
                spans[n, 1] = end
                kinds[n] = 0
                n += 1
                counts[row] += 1
                # What is masked is no part of another address.
                free = i = end
    return spans[:n], kinds[:n]


@numba.njit(cache=True, nogil=True)
def _name_start(data, start, at):  # type: ignore[no-untyped-def]
    """Return where the name before `data[at]` starts, or `at` if there is none."""
    if at == start or data[at - 1] == _DOT:
        return at
    i = at
    while i > start and FLAGS[data[i - 1]] & _NAME:
        if data[i - 1] == _DOT and data[i] == _DOT:
            break
        i -= 1
    while i < at and not FLAGS[data[i]] & (LETTER | DIGIT):
        i += 1
    return i


@numba.njit(cache=True, nogil=True)
def _domain_end(data, i, stop):  # type: ignore[no-untyped-def]
    """Return where the longest domain from `i` ends, or -1 if there is none."""
    found = -1
    labels = 0
    while i < stop and FLAGS[data[i]] & (LETTER | DIGIT):
        begin = i
        while i < stop and FLAGS[data[i]] & LETTER:
            i += 1
        ends = i == stop or not FLAGS[data[i]] & DIGIT
        if labels and ends and i - begin >= 2:
            found = i
        while i < stop and (FLAGS[data[i]] & (LETTER | DIGIT) or data[i] == _HYPHEN):
            i += 1
        if data[i - 1] == _HYPHEN or i == stop or data[i] != _DOT:
            break
        labels += 1
        i += 1
    return found
