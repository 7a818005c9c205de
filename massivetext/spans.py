"""Spans of text that are compared across documents: lines, paragraphs, three-sentence windows.

A text consists of segments: its lines, paragraphs or sentences that are not empty. A unit is what
is compared: a segment, or a window of `WINDOW` sentences that follow each other in a document
(C4 'discarded all but one of any three-sentence span', Raffel et al. 2020, section 2.2). Units are
equal when their words are, case and punctuation included; for windows, those of each sentence.

Lines end at a line feed; paragraphs are separated by lines of white space; sentences end as
`sentences` says, so none goes over the end of a line.
"""

from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

from .config import Spans
from .document import text_buffers
from .hashing import finish, fold, start_state
from .quality import readonly
from .scan import BLOCK, between, load, lowest, padded, white_space, word_bounds
from .sentences import ends_sentence
from .unicode import classes
from .words import combine, mix

WINDOW = 3

_LINES, _PARAGRAPHS, _SENTENCES = 0, 1, 2
_MODES = {Spans.LINES: _LINES, Spans.PARAGRAPHS: _PARAGRAPHS, Spans.SENTENCES: _SENTENCES}
_LINE_FEED = 10

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_ALL = np.uint64(2**64 - 1)
_BLANK = np.uint64(32)

# The bytes that a word which ends a sentence may end in: a mark, or what closes after one.
_MAY_END = np.zeros(256, np.bool_)
_MAY_END[list(b".?!\"')]}")] = True
_MAY_END[[0x99, 0x9D]] = True


class Units(NamedTuple):
    """The segments of n documents, m in all, and the unit that begins with each.

    Attributes:
      first: int64 [n + 1]; document i has the segments `first[i]` up to `first[i + 1]`.
      start, stop: int64 [m]; each segment's bytes, from its first word to its last.
      leads: bool [m]; whether it is the first in its line.
      counts: bool [m]; whether a unit begins with it, and has words enough.
      hash0, hash1: uint64 [m]; 128 bits that identify the unit.
      width: how many segments a unit has.
    """

    first: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    leads: np.ndarray
    counts: np.ndarray
    hash0: np.ndarray
    hash1: np.ndarray
    width: int


def find_units(column: pa.Array, spans: Spans, min_words: int) -> Units:
    """Return the units of n texts; time and memory are linear in their bytes.

    Args:
      column: `large_string` (or `string`) array of n texts without nulls.
      min_words: units of fewer words are not compared.
    """
    data, offsets = text_buffers(column)
    data, offsets, mode = readonly(padded(data)), readonly(offsets), _MODES[spans]
    most = _most_segments(data, offsets, mode == _SENTENCES)
    first = np.zeros(len(offsets), np.int64)
    start, stop, words = (np.empty(most, np.int64) for _ in range(3))
    leads = np.empty(most, np.bool_)
    hash0, hash1 = np.empty(most, np.uint64), np.empty(most, np.uint64)
    found = _segment(data, offsets, classes(), mode, first, start, stop, words, leads, hash0, hash1)
    words, hash0, hash1 = words[:found], hash0[:found], hash1[:found]
    width = WINDOW if mode == _SENTENCES else 1
    if width > 1:
        _windows(first, words, hash0, hash1)
    counts = words >= max(min_words, 1)
    return Units(first, start[:found], stop[:found], leads[:found], counts, hash0, hash1, width)


@numba.njit(cache=True, nogil=True)
def _most_segments(data, offsets, sentences):  # type: ignore[no-untyped-def]
    """Return a number of segments that the texts do not exceed."""
    ends = 0
    for i in range(offsets[0], offsets[-1]):
        byte = data[i]
        mark = (byte == 46) | (byte == 63) | (byte == 33)  # . ? !
        ends += (byte == _LINE_FEED) | (sentences & mark)
    return ends + len(offsets) - 1


@numba.njit(cache=True, nogil=True)
def _segment(  # type: ignore[no-untyped-def]
    data, offsets, classes, mode, first, start, stop, words, leads, hash0, hash1
):
    """Fill the arrays from `first` on with the segments and their hashes; return how many."""
    m = 0
    for row in range(len(offsets) - 1):
        begin, text_stop = offsets[row], offsets[row + 1]
        inside = spill = _ZERO
        word_start = begin
        count = line_words = 0
        h0 = h1 = _ZERO
        for i in range(begin, text_stop + 1, BLOCK):
            spaces, spill = white_space(data, i, text_stop, classes, spill)
            started_inside = inside
            firsts, ends, inside = word_bounds(spaces, inside)
            if started_inside == _ZERO:
                word_start = i + lowest(firsts)
                firsts &= firsts - _ONE
            feeds = between(data, i, _LINE_FEED, _LINE_FEED)
            if text_stop - i < BLOCK:
                feeds &= ~(_ALL << np.uint64(text_stop - i))
            events = ends | feeds
            while events != _ZERO:
                event = events & (_ZERO - events)
                events ^= event
                at = i + lowest(event)
                closes = False
                if ends & event:
                    if count == 0:
                        start[m] = word_start
                        leads[m] = line_words == 0
                        h0 = start_state(_ZERO)
                        h1 = _ZERO
                    h0, h1 = _add_word(data, word_start, at, h0, h1)
                    count += 1
                    line_words += 1
                    stop[m] = at
                    closes = (
                        mode == _SENTENCES
                        and _MAY_END[data[at - 1]]
                        and ends_sentence(data, word_start, at, classes)
                    )
                    word_start = i + lowest(firsts)
                    firsts &= firsts - _ONE
                if feeds & event:
                    # Of a paragraph only the lines end, until one has no words.
                    closes |= mode != _PARAGRAPHS or line_words == 0
                    line_words = 0
                if closes and count > 0:
                    words[m] = count
                    hash0[m] = finish(h0, count)
                    hash1[m] = mix(h1 + np.uint64(count))
                    m += 1
                    count = 0
        if count > 0:
            words[m] = count
            hash0[m] = finish(h0, count)
            hash1[m] = mix(h1 + np.uint64(count))
            m += 1
        first[row + 1] = m
    return m


@numba.njit(cache=True, nogil=True, inline="always")
def _add_word(data, i, stop, h0, h1):  # type: ignore[no-untyped-def]
    """Return the two hash states after the word `data[i:stop]`.

    It goes in by eight bytes, a blank after its last and zeros after that: no word holds a blank,
    so no two sequences of words are the same sequence of such blocks.
    """
    while stop - i >= 8:
        block = load(data, i, stop)
        h0 = fold(h0, block)
        h1 = combine(h1, mix(block))
        i += 8
    block = _BLANK << np.uint64(8 * (stop - i))
    if i < stop:
        block |= load(data, i, stop)
    return fold(h0, block), combine(h1, mix(block))


@numba.njit(cache=True, nogil=True)
def _windows(first, words, hash0, hash1):  # type: ignore[no-untyped-def]
    """Put in place of each sentence the window that begins with it, of no words if none does."""
    for row in range(len(first) - 1):
        last = first[row + 1] - WINDOW
        for k in range(first[row], first[row + 1]):
            if k > last:
                words[k] = 0
                continue
            h0 = start_state(_ZERO)
            h1 = _ZERO
            count = 0
            for j in range(k, k + WINDOW):
                h0 = fold(h0, hash0[j])
                h1 = combine(h1, mix(hash1[j]))
                count += words[j]
            words[k] = count
            hash0[k] = finish(h0, WINDOW)
            hash1[k] = mix(h1 + np.uint64(WINDOW))


def first_copies(
    hash0: np.ndarray, hash1: np.ndarray, priority: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return one of every group of equal units, and whether the group has others.

    Args:
      hash0, hash1, priority: uint64 [n], of units in the order of their documents and in these.

    Returns:
      `(rows, repeated)`: int64 indices, each of the unit of least priority of its group, of several
      the first; and bool, of the same length.
    """
    slots = np.full(_slots(len(hash0)), -1, np.int64)
    repeated = np.zeros(len(slots), np.bool_)
    _group(hash0, hash1, priority, slots, repeated)
    used = slots >= 0
    return slots[used], repeated[used]


def _slots(count: int) -> int:
    return 1 << max(4, (2 * count).bit_length())


@numba.njit(cache=True, nogil=True)
def _group(hash0, hash1, priority, slots, repeated):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(slots) - 1)
    for row in range(len(hash0)):
        slot = hash0[row] & mask
        while slots[slot] >= 0 and (
            hash0[slots[slot]] != hash0[row] or hash1[slots[slot]] != hash1[row]
        ):
            slot = (slot + _ONE) & mask
        if slots[slot] < 0:
            slots[slot] = row
        else:
            repeated[slot] = True
            if priority[row] < priority[slots[slot]]:
                slots[slot] = row


class Kept:
    """Of each of k units that occur repeatedly, where the copy is that stays.

    Args:
      hash0, hash1: uint64 [k], the units, each once.
      survivor: uint32 [k], the number of the document with that copy.
      index: uint32 [k], the segment of that document with which it begins.
    """

    def __init__(
        self, hash0: np.ndarray, hash1: np.ndarray, survivor: np.ndarray, index: np.ndarray
    ):
        self.hash0, self.hash1, self.survivor, self.index = hash0, hash1, survivor, index
        self._table = np.full(_slots(len(hash0)), -1, np.int64)
        _group(hash0, hash1, hash0, self._table, np.zeros(len(self._table), np.bool_))

    def removed(self, units: Units, number: np.ndarray) -> tuple[np.ndarray, int]:
        """Return which segments go: those of every unit that is a copy of one that stays.

        Args:
          units: of n documents; number: uint32 [n], their numbers.

        Returns:
          `(by, count)`: int64 [segments], the row (of k) of the first unit that takes the segment
          with it, -1 where it stays; and how many units go.
        """
        by = np.full(len(units.start), -1, np.int64)
        count = _remove(
            *(units.first, units.counts, units.hash0, units.hash1, units.width, number),
            *(self._table, self.hash0, self.hash1, self.survivor, self.index, by),
        )
        return by, count


@numba.njit(cache=True, nogil=True)
def _remove(  # type: ignore[no-untyped-def]
    first, counts, hash0, hash1, width, number, slots, known0, known1, survivor, index, by
):
    mask = np.uint64(len(slots) - 1)
    removed = 0
    for row in range(len(number)):
        for k in range(first[row], first[row + 1]):
            if not counts[k]:
                continue
            slot = hash0[k] & mask
            while slots[slot] >= 0 and (
                known0[slots[slot]] != hash0[k] or known1[slots[slot]] != hash1[k]
            ):
                slot = (slot + _ONE) & mask
            found = slots[slot]
            if found < 0 or (survivor[found] == number[row] and index[found] == k - first[row]):
                continue
            removed += 1
            for j in range(k, k + width):
                if by[j] < 0:
                    by[j] = found
    return removed
