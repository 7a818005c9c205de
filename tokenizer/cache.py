"""Tokens of segments seen before: whole Arrow buffers are encoded in one compiled loop.

No piece spans two segments (`bpe`), so a segment has the same tokens wherever it stands. Short ones
are remembered in a hash table of fixed size; when it is full it starts afresh, which changes the
time and never the tokens.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from massivetext.hashing import avalanche, load

from .bpe import candidates, ends_at, merge_long, merge_short
from .bpe_tables import Tables

# Longer segments are rare and do not come back; they are encoded each time.
MAX_CACHED_BYTES = 64

# A segment is cut when it is longer, so that memory is bounded: 40 bytes for each character.
MAX_SEGMENT_BYTES = 1 << 20

CACHE_BYTES = 64_000_000

# Bytes that are looked through for ends of segments before these are encoded.
BLOCK = 4096

_0, _1, _3, _7, _8, _32 = (np.uint64(n) for n in (0, 1, 3, 7, 8, 32))
_LOW = np.uint64(0xFFFFFFFF)
_EMPTY = np.uint64(0)
_USED, _COUNT = 0, 1


class Cache(NamedTuple):
    """A hash table of segments.

    Attributes:
      slots: uint64 [a power of two]: high half of the hash, and where the record begins in `arena`
        plus one; 0 is empty.
      arena: uint64, records one after another: bytes and tokens (32 bits each for the number),
        the bytes padded with zeros, two tokens a word.
      state: int64 [2], words used of the arena, and segments held.
    """

    slots: np.ndarray
    arena: np.ndarray
    state: np.ndarray


def make_cache(size: int = CACHE_BYTES) -> Cache:
    """Return an empty cache of at most `size` bytes, at least 4,096; pages are used as it fills."""
    slots = 1 << ((size // 16).bit_length() - 1)
    arena = size // 8 - slots
    return Cache(np.zeros(slots, np.uint64), np.empty(arena, np.uint64), np.zeros(2, np.int64))


@njit(inline="always")
def _word(data, i, end):
    """Bytes `i` to `end`, eight at most, padded with zeros."""
    if i + _8 <= np.uint64(len(data)):
        word = load(data, i)
        return word if i + _8 <= end else word & ((_1 << ((end - i) << _3)) - _1)
    word = np.uint64(0)
    shift = np.uint64(0)
    while i < end:
        word |= np.uint64(data[i]) << shift
        shift += _8
        i += _1
    return word


@njit(inline="always")
def _load_key(data, start, end, key):
    """Fill `key` with the bytes, padded with zeros; return the hash."""
    word = _word(data, start, end)
    key[_0] = word
    h = avalanche(word ^ ((end - start) << _32))
    n = _1
    start += _8
    while start < end:
        word = _word(data, start, end)
        key[n] = word
        h = avalanche(h ^ word)
        n += _1
        start += _8
    return h


@njit(inline="always")
def _find(cache, h, size, key):
    """Where the record of a segment begins in the arena, plus one, or 0."""
    mask = np.uint64(len(cache.slots) - 1)
    slot = h & mask
    while True:
        value = cache.slots[slot]
        if value == _EMPTY:
            return value
        if value >> _32 == h >> _32:
            at = value & _LOW
            if cache.arena[at - _1] & _LOW == size and cache.arena[at] == key[_0]:
                words = (size + _7) >> _3
                k = _1
                while k < words and cache.arena[at + k] == key[k]:
                    k += _1
                if k >= words:
                    return at
        slot = (slot + _1) & mask


@njit(inline="always")
def _insert(cache, h, size, key, out, start, stop):
    words = (size + 7) >> 3
    tokens = stop - start
    need = 1 + words + ((tokens + 1) >> 1)
    if cache.state[_USED] + need > len(cache.arena) or 2 * cache.state[_COUNT] >= len(cache.slots):
        cache.slots[:] = _EMPTY
        cache.state[:] = 0
    at = cache.state[_USED]
    cache.arena[at] = np.uint64(tokens) << _32 | np.uint64(size)
    for k in range(words):
        cache.arena[at + 1 + k] = key[k]
    place = at + 1 + words
    for k in range(start, stop, 2):
        word = np.uint64(out[k])
        if k + 1 < stop:
            word |= np.uint64(out[k + 1]) << _32
        cache.arena[place] = word
        place += 1
    mask = np.uint64(len(cache.slots) - 1)
    slot = h & mask
    while cache.slots[slot] != _EMPTY:
        slot = (slot + np.uint64(1)) & mask
    cache.slots[slot] = (h & ~_LOW) | np.uint64(at + 1)
    cache.state[_USED] = place
    cache.state[_COUNT] += 1


@njit(inline="always")
def _copy(cache, at, size, out, count):
    """Append the tokens of the record at `at` less one; may write one more than it counts."""
    tokens = cache.arena[at - _1] >> _32
    place = at + ((size + _7) >> _3)
    k = np.uint64(count)
    end = k + tokens
    while True:
        word = cache.arena[place]
        out[k] = np.uint32(word & _LOW)
        out[k + _1] = np.uint32(word >> _32)
        place += _1
        k += np.uint64(2)
        if k >= end:
            return np.int64(end)


@njit(cache=True, nogil=True)
def _encode(data, offsets, tables, cache, limit, out, ends):
    key = np.empty(MAX_CACHED_BYTES // 8, np.uint64)
    symbols = np.empty(MAX_CACHED_BYTES, np.int64)
    values = np.empty(MAX_CACHED_BYTES, np.uint64)
    places = np.empty(BLOCK + 1, np.int64)
    count = 0
    ends[0] = 0
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        position = start + 1
        while start < stop:
            last = min(position + BLOCK, stop)
            found = candidates(data, position, last, tables.may_end, places)
            position = last
            if last == stop:
                places[found] = stop
                found += 1
            for k in range(found):
                end = places[k]
                if (
                    end < stop
                    and data[end - 1] | data[end] >= 0x80
                    and not ends_at(data, end, tables.joined)
                ):
                    continue
                size = end - start
                if size > MAX_CACHED_BYTES:
                    count = _merge(data, start, end, tables, limit, out, count)
                else:
                    h = _load_key(data, np.uint64(start), np.uint64(end), key)
                    at = _find(cache, h, np.uint64(size), key)
                    if at > 0:
                        count = _copy(cache, at, np.uint64(size), out, count)
                    else:
                        first = count
                        count = merge_short(data, start, end, tables, symbols, values, out, count)
                        _insert(cache, h, size, key, out, first, count)
                start = end
        ends[row + 1] = count
    return count


@njit
def _merge(data, start, stop, tables, limit, out, count):
    """Append the tokens of a long segment, cut between characters where `limit` bytes are full."""
    while start < stop:
        end = min(start + limit, stop)
        while end < stop and data[end] & 0xC0 == 0x80:
            end -= 1
        count = merge_long(data, start, end, tables, out, count)
        start = end
    return count


def encode_rows(
    data: np.ndarray, offsets: np.ndarray, tables: Tables, cache: Cache, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Encode rows of valid UTF-8; not to be called by two threads with one `cache` at a time.

    Args:
      data: uint8 bytes of all rows; `offsets`: int64 [n + 1], row i is
        `data[offsets[i]:offsets[i + 1]]`.
      limit: a longer segment is cut after so many bytes.

    Returns:
      `(tokens, offsets)`, uint32 and int64 [n + 1]: row i is `tokens[offsets[i]:offsets[i + 1]]`.
    """
    # A token stands for at least a byte. Pages that are not written take no memory.
    out = np.empty(int(offsets[-1] - offsets[0]) + 1, np.uint32)
    ends = np.empty(len(offsets), np.int64)
    count = _encode(data, offsets, tables, cache, limit, out, ends)
    return out[:count], ends
