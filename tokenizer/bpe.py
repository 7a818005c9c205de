"""BPE as SentencePiece does it, in compiled code: tables made of a model, and the merges of a text.

SentencePiece starts from characters and joins the two neighbours whose concatenation is the piece
of the highest score, the leftmost first, until no two neighbours make a piece (Sennrich et al.
2016, with scores for the order of merges). Two characters that stand side by side in no piece are
never joined, so a text falls apart there into segments that are encoded one by one.

Inside these tables a space is a space; SentencePiece writes it U+2581.
"""

import numpy as np
from numba import njit

from massivetext.hashing import avalanche

from .bpe_tables import NONE, bit_of, character

_8, _32 = np.uint64(8), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@njit(inline="always")
def candidates(data, start, stop, may_end, out):
    """Fill `out` with the places in [start, stop) where a segment may end; return their number.

    Such a place stands between two ASCII characters that no piece joins, or beside another
    character, where `ends_at` decides. `start` must not be the beginning of the row. Without a
    branch to mispredict: every place is written and most are written over.
    """
    n = np.uint64(0)
    last = np.uint64(data[np.uint64(start - 1)])
    for i in range(np.uint64(start), np.uint64(stop)):
        byte = np.uint64(data[i])
        out[n] = i
        n += np.uint64(may_end[last << _8 | byte])
        last = byte
    return np.int64(n)


@njit
def ends_at(data, i, joined):
    """Whether no piece joins the characters before and at byte `i`; one of them is not ASCII."""
    k = i - 1
    while data[k] & 0xC0 == 0x80:
        k -= 1
    word, bit = bit_of(character(data, k)[0], character(data, i)[0])
    return joined[word] & bit == np.uint64(0)


@njit(inline="always")
def _lookup(pairs, left, right):
    """Rank and id of the piece that two ids make, or `NONE`."""
    if left < 0 or right < 0:
        return NONE
    mask = np.uint64(len(pairs) // 2 - 1)
    key = np.uint64(left) << _32 | np.uint64(right)
    slot = avalanche(key) & mask
    while True:
        found = pairs[np.uint64(2) * slot]
        if found == key:
            return pairs[np.uint64(2) * slot + np.uint64(1)]
        if found == NONE:
            return NONE
        slot = (slot + np.uint64(1)) & mask


@njit(inline="always")
def _write(symbol, byte_ids, out, count):
    """Append a symbol: an id, or -1 less the code point of a character that is no piece."""
    if symbol >= 0:
        out[count] = symbol
        return count + 1
    point = -1 - symbol
    if point < 0x80:
        out[count] = byte_ids[point]
        return count + 1
    if point < 0x800:
        out[count] = byte_ids[0xC0 | point >> 6]
        count += 1
    else:
        if point < 0x10000:
            out[count] = byte_ids[0xE0 | point >> 12]
            count += 1
        else:
            out[count] = byte_ids[0xF0 | point >> 18]
            out[count + 1] = byte_ids[0x80 | point >> 12 & 0x3F]
            count += 2
        out[count] = byte_ids[0x80 | point >> 6 & 0x3F]
        count += 1
    out[count] = byte_ids[0x80 | point & 0x3F]
    return count + 1


@njit(cache=True, nogil=True)
def merge_short(data, start, stop, tables, symbols, values, out, count):
    """Append the tokens of a short segment to `out` from `count` on; return their end.

    Looks at all pairs for each merge. `symbols` (int64) and `values` (uint64) are room for a symbol
    of each character.
    """
    n = 0
    i = start
    while i < stop:
        point, size = character(data, i)
        found = np.int64(tables.characters[point])
        symbols[n] = found if found >= 0 else -1 - point
        n += 1
        i += size
    for k in range(n - 1):
        values[k] = _lookup(tables.pairs, symbols[k], symbols[k + 1])
    while n > 1:
        best, at = NONE, 0
        for k in range(n - 1):
            if values[k] >> _32 < best >> _32:
                best, at = values[k], k
        if best == NONE:
            break
        symbols[at] = np.int64(best & _LOW)
        n -= 1
        for k in range(at + 1, n):
            symbols[k] = symbols[k + 1]
            values[k - 1] = values[k]
        if at > 0:
            values[at - 1] = _lookup(tables.pairs, symbols[at - 1], symbols[at])
        if at < n - 1:
            values[at] = _lookup(tables.pairs, symbols[at], symbols[at + 1])
    for k in range(n):
        count = _write(symbols[k], tables.byte_ids, out, count)
    return count


@njit(cache=True)
def _sift_down(heap, size):
    """Let the root of a binary heap sink to where it belongs."""
    top = heap[0]
    at = 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= top:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = top


@njit(cache=True)
def _push(heap, size, value):
    at = size
    while at > 0 and heap[(at - 1) // 2] > value:
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = value
    return size + 1


@njit(cache=True, nogil=True)
def merge_long(data, start, stop, tables, out, count):
    """As `merge_short`, by a heap of pairs: n log n for n characters, 40 bytes of memory each."""
    n = 0
    for i in range(start, stop):
        n += data[i] & 0xC0 != 0x80
    symbols = np.empty(n, np.int64)
    values = np.full(n, NONE, np.uint64)
    left = np.arange(-1, n - 1, dtype=np.int32)
    right = np.arange(1, n + 1, dtype=np.int32)
    i = start
    for k in range(n):
        point, size = character(data, i)
        found = np.int64(tables.characters[point])
        symbols[k] = found if found >= 0 else -1 - point
        i += size
    # A pair waits as (rank, left symbol). It is stale when that symbol's pair has another rank
    # by now. Each merge takes one out and puts two in at most.
    heap = np.empty(2 * n, np.uint64)
    waiting = 0
    for k in range(n - 1):
        values[k] = _lookup(tables.pairs, symbols[k], symbols[k + 1])
        if values[k] != NONE:
            waiting = _push(heap, waiting, values[k] & ~_LOW | np.uint64(k))
    while waiting > 0:
        top = heap[0]
        waiting -= 1
        heap[0] = heap[waiting]
        _sift_down(heap, waiting)
        at = np.int64(top & _LOW)
        if values[at] == NONE or values[at] >> _32 != top >> _32:
            continue
        symbols[at] = np.int64(values[at] & _LOW)
        gone = right[at]
        values[gone] = NONE
        after = right[gone]
        right[at] = after
        values[at] = NONE
        if after < n:
            left[after] = at
            values[at] = _lookup(tables.pairs, symbols[at], symbols[after])
            if values[at] != NONE:
                waiting = _push(heap, waiting, values[at] & ~_LOW | np.uint64(at))
        before = left[at]
        if before >= 0:
            values[before] = _lookup(tables.pairs, symbols[before], symbols[at])
            if values[before] != NONE:
                waiting = _push(heap, waiting, values[before] & ~_LOW | np.uint64(before))
    k = 0
    while k < n:
        count = _write(symbols[k], tables.byte_ids, out, count)
        k = right[k]
    return count
