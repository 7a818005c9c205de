"""Which of many keys occur more than once, and how often; compiled into the repetition kernel.

Most n-grams of a text occur once, and to look each up in a table of them all is a cache miss each.
A filter of two bits per slot (seen, seen again: a counting Bloom filter; Fan et al. 2000) sets
most of those aside without a branch, and a table for the rest is small. Where even the filter
would outgrow the caches, keys are dealt into partitions by their hash, with a small table for each.
"""

from typing import NamedTuple

import numba
import numpy as np

from .scan import ones

# Up to so many keys are filtered, and up to so many slots make one table. Both are larger than a
# second-level cache, since most of a text consists of few n-grams: measured on 1 to 50 MB of prose.
_FILTERED_KEYS = 1 << 22
_TABLE_SLOTS = 1 << 18
_PARTITION_KEYS = 1 << 16
# More are not written to at once without a miss in the translation buffer each.
_MAX_PARTITION_BITS = 10

# Slots of the filter per key: with s slots in use by n keys, a key that occurs once passes with
# probability 1 - exp(-n / s), so between 0.12 and 0.22.
_SLOTS_PER_KEY = 4
_MIN_SLOTS = 64
# A word of the filter holds the low bits of 32 slots, and above them their high bits.
_SLOTS_PER_WORD = 32

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_HALF = np.uint64(32)
_LOW_HALF = np.uint64(2**32 - 1)
_WORD_BITS = np.uint64(5)
_IN_WORD = np.uint64(_SLOTS_PER_WORD - 1)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class Scratch(NamedTuple):
    """What `repeated` writes to; only the beginnings of the arrays are touched.

    Attributes:
      seen: the filter; 1 to 2 bytes per key, at most 8 MiB.
      table: uint64 rows of a key, and its number and count; at most 4 MiB.
      parted: the keys by partition, where they are partitioned; 8 bytes per key.
    """

    seen: np.ndarray
    table: np.ndarray
    parted: np.ndarray


def scratch(capacity: int) -> Scratch:
    """Return scratch, uninitialised, for up to `capacity` keys."""
    filtered = min(capacity, _FILTERED_KEYS)
    words = 2 * _SLOTS_PER_KEY * filtered // _SLOTS_PER_WORD + _MIN_SLOTS
    slots = min(2 * capacity + _MIN_SLOTS, _TABLE_SLOTS)
    return Scratch(
        np.empty(words, np.uint64),
        np.empty((slots, 2), np.uint64),
        np.empty(capacity, np.uint64),
    )


@numba.njit(cache=True, nogil=True)
def repeated(keys, items, n, scratch):  # type: ignore[no-untyped-def]
    """Keep the entries of which the key occurs more than once, in their order.

    Args:
      keys: uint64; of the first n < 2**32 entries.
      items: uint32; what each entry is.
      scratch: for at least n keys.

    Returns:
      `(left, most)`: how many entries are left, in the beginnings of `keys` and `items`, and how
      often the most frequent key occurs, 0 when none is left. In place of each key stands, in the
      high half, a number of its own below n; in the low half, how often it occurs.
    """
    if n < 2:
        return 0, 0
    slots = np.int64(_TABLE_SLOTS) + 1
    if n <= _FILTERED_KEYS:
        n, slots = _filter(keys, items, n, scratch.seen)
    if slots <= _TABLE_SLOTS:
        _number(keys, 0, n, 0, slots, scratch.table)
    else:
        _number_by_part(keys, n, scratch)
    return _keep(keys, items, n)


@numba.njit(cache=True, nogil=True)
def _number_by_part(keys, n, scratch):  # type: ignore[no-untyped-def]
    """Do what `_number` does for the first n keys, with a table for each part of them."""
    parted = scratch.parted
    bits = 1
    while bits < _MAX_PARTITION_BITS and (n >> bits) > _PARTITION_KEYS:
        bits += 1
    shift = np.uint64(64 - bits)
    bounds = _part(keys, n, shift, parted)
    number = 0
    for partition in range(len(bounds) - 1):
        begin, end = bounds[partition], bounds[partition + 1]
        # Most often, fewer than three eighths of the keys are different.
        slots = _MIN_SLOTS
        while 2 * slots < end - begin and slots < _TABLE_SLOTS:
            slots *= 2
        number = _number(parted, begin, end, number, slots, scratch.table)
    # Within a partition, entries are in order: taking each from its partition restores the whole.
    for a in range(n):
        partition = (keys[a] * _SPREAD) >> shift
        keys[a] = parted[bounds[partition]]
        bounds[partition] += 1


@numba.njit(cache=True, nogil=True, inline="always")
def _keep(keys, items, n):  # type: ignore[no-untyped-def]
    """Keep the entries whose count is more than 1; return what `repeated` does."""
    kept = 0
    most = np.int64(0)
    for a in range(n):
        count = np.int64(keys[a] & _LOW_HALF)
        keys[kept] = keys[a]
        items[kept] = items[a]
        if count > 1:
            kept += 1
            most = max(most, count)
    return kept, most


@numba.njit(cache=True, nogil=True, inline="always")
def _filter(keys, items, n, seen):  # type: ignore[no-untyped-def]
    """Keep the entries whose slot of the filter another entry shares.

    Returns:
      `(left, slots)`: how many those are, and how many slots a table of their keys should have.
    """
    bits = 6  # _MIN_SLOTS
    while (1 << bits) < _SLOTS_PER_KEY * n:
        bits += 1
    words = (1 << bits) // _SLOTS_PER_WORD
    shift = np.uint64(64 - bits)
    seen[:words] = 0
    for a in range(n):
        slot = (keys[a] * _SPREAD) >> shift
        word = seen[slot >> _WORD_BITS]
        bit = _ONE << (slot & _IN_WORD)
        seen[slot >> _WORD_BITS] = word | bit | ((word & bit) << _HALF)
    left = 0
    for a in range(n):
        slot = (keys[a] * _SPREAD) >> shift
        keys[left] = keys[a]
        items[left] = items[a]
        left += np.int64((seen[slot >> _WORD_BITS] >> (_HALF + (slot & _IN_WORD))) & _ONE)
    shared = 0
    for word in range(words):
        shared += ones(seen[word] >> _HALF)
    slots = _MIN_SLOTS
    while slots < 2 * shared:
        slots *= 2
    return left, slots


@numba.njit(cache=True, nogil=True)
def _part(keys, n, shift, parted):  # type: ignore[no-untyped-def]
    """Copy the first n keys to `parted` by the top bits of their hashes, each part in order.

    Returns:
      int64 `bounds`: partition p is `parted[bounds[p]:bounds[p + 1]]`.
    """
    bounds = np.zeros(np.int64(_ONE << (np.uint64(64) - shift)) + 1, np.int64)
    for a in range(n):
        bounds[((keys[a] * _SPREAD) >> shift) + _ONE] += 1
    for partition in range(1, len(bounds)):
        bounds[partition] += bounds[partition - 1]
    cursors = bounds.copy()
    for a in range(n):
        partition = (keys[a] * _SPREAD) >> shift
        parted[cursors[partition]] = keys[a]
        cursors[partition] += 1
    return bounds


@numba.njit(cache=True, nogil=True)
def _number(keys, begin, end, number, slots, table):  # type: ignore[no-untyped-def]
    """Put in place of each of `keys[begin:end]` its number and its count, as `repeated` says.

    Args:
      number: of the first key; the others have those that follow, by first occurrence.
      slots: of an open-addressing table to begin with, a power of two. It is doubled, and all
        begun anew, when three quarters fill.
      table: room for it; where that is too small, more is allocated.

    Returns:
      The number after those given.
    """
    while True:
        if slots > len(table):
            table = np.empty((slots, 2), np.uint64)
        table[:slots] = 0
        mask = np.uint64(slots - 1)
        room = slots - slots // 4
        next_number = number
        a = begin
        while a < end:
            key = keys[a]
            slot = ((key * _SPREAD) >> _HALF) & mask
            while table[slot, 1] != _ZERO and table[slot, 0] != key:
                slot = (slot + _ONE) & mask
            if table[slot, 1] == _ZERO:
                if room == 0:
                    break
                room -= 1
                table[slot, 0] = key
                table[slot, 1] = np.uint64(next_number) << _HALF
                next_number += 1
            table[slot, 1] += _ONE
            keys[a] = slot
            a += 1
        if a == end:
            for b in range(begin, end):
                keys[b] = table[keys[b], 1]
            return next_number
        for b in range(begin, a):
            keys[b] = table[keys[b], 0]
        slots *= 2
