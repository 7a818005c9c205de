"""Cutting spans out of texts, and the white space that goes with them.

A line of which nothing stays goes with its line feed, and with the blank lines after it unless a
line stays right above it, so that paragraphs stay one blank line apart. Within a line, a sentence
goes with the white space after it, the last with that before it. A text whose end goes is stripped
there.
"""

from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

from .document import text_buffers
from .quality import readonly
from .spans import Units

_LINE_FEED = 10


class Cuts(NamedTuple):
    """What goes of n documents, one entry per segment that does, in order and without overlap.

    Attributes:
      segment: int64 [c]; the segment.
      document: int64 [c]; its document, from 0 to n - 1.
      start, stop: int64 [c]; the bytes of the document's text that go, white space included.
      emptied: bool [n]; whether the document had segments and keeps none.
    """

    segment: np.ndarray
    document: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    emptied: np.ndarray


def find_cuts(column: pa.Array, units: Units, by: np.ndarray) -> Cuts:
    """Return the cuts in n texts.

    Args:
      column: the texts of `units`.
      by: int64 [segments], negative where the segment stays.
    """
    data, offsets = text_buffers(column)
    segment = np.flatnonzero(by >= 0)
    start, stop = np.empty(len(segment), np.int64), np.empty(len(segment), np.int64)
    emptied = np.zeros(len(column), np.bool_)
    gone = by >= 0
    _cut(
        *(readonly(data), readonly(offsets), units.first, units.start, units.stop, units.leads),
        *(gone, start, stop, emptied),
    )
    document = np.searchsorted(units.first, segment, side="right") - 1
    begin = offsets[document]
    return Cuts(segment, document, start - begin, stop - begin, emptied)


@numba.njit(cache=True, nogil=True)
def _line_start(data, begin, i):  # type: ignore[no-untyped-def]
    while i > begin and data[i - 1] != _LINE_FEED:
        i -= 1
    return i


@numba.njit(cache=True, nogil=True)
def _cut(  # type: ignore[no-untyped-def]
    data, offsets, first, starts, stops, leads, gone, cut_start, cut_stop, emptied
):
    n = 0
    for row in range(len(offsets) - 1):
        begin, text_stop = offsets[row], offsets[row + 1]
        # From `tail` on nothing stays.
        tail = first[row + 1]
        while tail > first[row] and gone[tail - 1]:
            tail -= 1
        emptied[row] = tail == first[row] and tail < first[row + 1]
        # Line feeds between what stays above and here; a text begins as after a blank line.
        feeds = 2
        k = first[row]
        while k < tail:
            # The line or paragraph [k, end); what follows it begins with `end`, if only to go.
            end = k + 1
            stays = not gone[k]
            while end < tail and not leads[end]:
                stays |= not gone[end]
                end += 1
            gap = 0
            if end < tail:
                after = stops[end - 1]
                while data[after] != _LINE_FEED:
                    after += 1
                after += 1
                gap = 1
                for i in range(after, starts[end]):
                    gap += data[i] == _LINE_FEED
            if stays:
                feeds = gap
                n = _cut_sentences(k, end, starts, stops, gone, n, cut_start, cut_stop)
            else:
                if feeds >= 2:
                    after = _line_start(data, begin, starts[end])
                else:
                    feeds += gap - 1
                cut_start[n] = _line_start(data, begin, starts[k])
                for j in range(k + 1, end):
                    cut_stop[n] = starts[j]
                    n += 1
                    cut_start[n] = starts[j]
                cut_stop[n] = after
                n += 1
            k = end
        for j in range(tail, first[row + 1]):
            cut_start[n] = starts[j]
            if j == tail:
                cut_start[n] = stops[j - 1] if j > first[row] else begin
            cut_stop[n] = starts[j + 1] if j + 1 < first[row + 1] else text_stop
            n += 1


@numba.njit(cache=True, nogil=True)
def _cut_sentences(k, end, starts, stops, gone, n, cut_start, cut_stop):  # type: ignore[no-untyped-def]
    """Cut the segments that go of a line `[k, end)` of which some stay; return the next `n`."""
    last = end
    while gone[last - 1]:
        last -= 1
    for j in range(k, end):
        if gone[j]:
            cut_start[n] = stops[j - 1] if j == last else starts[j]
            cut_stop[n] = starts[j + 1] if j + 1 < end else stops[j]
            n += 1
    return n


def apply_cuts(
    column: pa.Array, document: np.ndarray, start: np.ndarray, stop: np.ndarray
) -> pa.Array:
    """Return n texts as a `large_string` array, without what is cut out of them.

    Args:
      column: `large_string` (or `string`) array of n texts without nulls.
      document, start, stop: int64 [c], as in `Cuts`.
    """
    data, offsets = text_buffers(column)
    cut = np.zeros(len(column), np.int64)
    np.add.at(cut, document, stop - start)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(offsets) - cut)])
    out = np.empty(int(ends[-1]), np.uint8)
    begin = offsets[document]
    _copy(readonly(data), int(offsets[0]), int(offsets[-1]), begin + start, begin + stop, out)
    return pa.LargeStringArray.from_buffers(len(column), pa.py_buffer(ends), pa.py_buffer(out))


@numba.njit(cache=True, nogil=True)
def _copy(data, i, end, start, stop, out):  # type: ignore[no-untyped-def]
    """Copy `data[i:end]` without the ranges to `out`."""
    n = 0
    for cut in range(len(start)):
        out[n : n + start[cut] - i] = data[i : start[cut]]
        n += start[cut] - i
        i = stop[cut]
    out[n : n + end - i] = data[i:end]
