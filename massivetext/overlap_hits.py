"""Finds which shingles of test documents a text holds, and where they stand in it.

Most shingles of most texts are in no test document. A bit filter says so after one access to
memory, and what passes it is looked up exactly; so a text is neither sorted nor compared further
until a shingle of it is found.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from .hashing import avalanche
from .overlap_index import MIN_WORDS, Index
from .shingles import _BASE, _word_end, normalise

# Places that are filtered at once, and slots of the table of distinct shingles: both stay in cache.
_CHUNK = 1 << 12
_TABLE = 1 << 21


class Hits(NamedTuple):
    """The shingles that n rows of text share with the index.

    `starts`: int64 [n + 1], row i holds the keys `keys[starts[i]:starts[i + 1]]` (uint32 numbers of
    keys in the index, ascending, each once); `words`: int64 [n], words of the row's normalised
    text; `sizes`: int64 [n], distinct shingles of the row, counted only for rows that hold a key.
    """

    starts: np.ndarray
    keys: np.ndarray
    words: np.ndarray
    sizes: np.ndarray


@njit(cache=True, nogil=True)
def _word_codes(data, offsets, words, starts, codes):
    for row in range(len(offsets) - 1):
        i, stop = offsets[row], offsets[row + 1]
        o = starts[row]
        for _ in range(words[row]):
            code, i = _word_end(data, i, stop)
            i += 1
            codes[np.uint64(o)] = code
            o += 1


def word_codes(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hash every word of every row's normalised text.

    Returns:
      `(codes, rows, words)`: uint64 flat; int64 [n + 1], row i has `codes[rows[i]:rows[i + 1]]`;
      int64 [n], how many those are.
    """
    text = normalise(data, offsets)
    rows = np.zeros(len(offsets), np.int64)
    np.cumsum(text.words, out=rows[1:])
    codes = np.empty(int(rows[-1]), np.uint64)
    _word_codes(text.data, text.offsets, text.words, rows, codes)
    return codes, rows, text.words


@njit(inline="always")
def power(n):
    """The factor of a word that is n places back in the rolling hash, modulo 2**64."""
    power = np.uint64(1)
    for _ in range(n):
        power *= _BASE
    return power


@njit(inline="always")
def _passes(bits, mask, value):
    """1 when the filter does not rule `value` out, 0 when it does."""
    at = value & mask
    return np.int64((bits[at >> np.uint64(6)] >> (at & np.uint64(63))) & np.uint64(1))


@njit(inline="always")
def _filter_chunk(codes, n, first, last, bits, values, places):
    """Write the n-grams at places `first` to `last - 1` of one row of words that pass the filter,
    and their places; return how many. The row has at least `last + n - 1` words.

    There is no branch in the loop, so that the machine waits for many look-ups at once.
    """
    mask = np.uint64(len(bits) * 64 - 1)
    expire = power(n)
    h = np.uint64(0)
    for i in range(first, first + n - 1):
        h = h * _BASE + codes[i]
    found = np.int64(0)
    leaving = np.uint64(0)
    for place in range(first, last):
        h = h * _BASE + codes[np.uint64(place + n - 1)] - leaving * expire
        leaving = codes[np.uint64(place)]
        value = avalanche(h)
        values[np.uint64(found)] = value
        places[np.uint64(found)] = place
        found += _passes(bits, mask, value)
    return found


@njit(inline="always")
def find_key(value, keys, buckets, shift):
    """Number of the key equal to `value`, or -1."""
    bucket = value >> shift
    key = np.int64(buckets[bucket])
    end = np.int64(buckets[bucket + np.uint64(1)])
    while key < end and keys[key] < value:
        key += 1
    return key if key < end and keys[key] == value else -1


@njit(inline="always")
def _first_at_least(values, value):
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _hash_of(codes):
    h = np.uint64(0)
    for code in codes:
        h = h * _BASE + code
    return avalanche(h)


@njit(cache=True, nogil=True)
def _distinct(codes, n):
    """How many distinct shingles a row of words has."""
    count = len(codes)
    if count <= n:
        return min(count, 1)
    # One table holds at most about `_TABLE` / 2 of them: a long row is counted a share of its
    # hashes at a time.
    slots = 16
    while slots < _TABLE and slots < 2 * (count - n + 1):
        slots *= 2
    shares = 1
    while shares * slots < 2 * (count - n + 1):
        shares *= 2
    table = np.empty(slots, np.uint64)
    mask = np.uint64(slots - 1)
    expire = power(n)
    found = 0
    # 0 marks a free slot, so the shingle that is 0 is counted apart.
    zero = 0
    for share in range(shares):
        table[:] = 0
        filled = 0
        h = np.uint64(0)
        leaving = np.uint64(0)
        for i in range(count):
            h = h * _BASE + codes[i] - leaving * expire
            if i < n - 1:
                continue
            leaving = codes[i - n + 1]
            value = avalanche(h)
            if (value >> np.uint64(32)) & np.uint64(shares - 1) != np.uint64(share):
                continue
            if value == np.uint64(0):
                zero = 1
                continue
            at = value & mask
            while table[at] != np.uint64(0) and table[at] != value:
                at = (at + np.uint64(1)) & mask
            if table[at] == np.uint64(0):
                table[at] = value
                filled += 1
        found += filled
    return found + zero


@njit(inline="always")
def _room(out, used):
    """`out`, or a copy of twice the size when all of it is used."""
    if used < len(out):
        return out
    larger = np.empty(2 * len(out), out.dtype)
    larger[:used] = out
    return larger


@njit(cache=True, nogil=True)
def _likely(codes, n, bits, values, places, out):
    """Collect the n-grams of one row of words that pass the filter; return them and their number.

    In a row of fewer than `n` words the only shingle is the whole row.
    """
    o = 0
    size = min(n, len(codes))
    last = len(codes) - size + 1 if size else 0
    for first in range(0, last, _CHUNK):
        to = min(last, first + _CHUNK)
        for f in range(_filter_chunk(codes, size, first, to, bits, values, places)):
            out = _room(out, o)
            out[o] = values[f]
            o += 1
    return out, o


@njit(cache=True, nogil=True)
def _likely_short(codes, anchors, lengths, anchor_bits, values, places, out, o):
    """Append the n-grams of the lengths of short items where one's first words are."""
    last = len(codes) - MIN_WORDS + 1
    for first in range(0, last, _CHUNK):
        to = min(last, first + _CHUNK)
        for f in range(_filter_chunk(codes, MIN_WORDS, first, to, anchor_bits, values, places)):
            a = _first_at_least(anchors, values[f])
            while a < len(anchors) and anchors[a] == values[f]:
                stop = places[f] + np.int64(lengths[a])
                a += 1
                if stop <= len(codes):
                    out = _room(out, o)
                    out[o] = _hash_of(codes[places[f] : stop])
                    o += 1
    return out, o


@njit(cache=True, nogil=True)
def _find(codes, rows, n, index, anchors, lengths, anchor_bits, short, starts, sizes):
    keys, buckets, bits, shift = index
    values = np.empty(_CHUNK, np.uint64)
    places = np.empty(_CHUNK, np.int64)
    likely = np.empty(_CHUNK, np.uint64)
    out = np.empty(_CHUNK, np.uint32)
    o = 0
    for row in range(len(rows) - 1):
        starts[row] = o
        sizes[row] = 0
        row_codes = codes[rows[row] : rows[row + 1]]
        likely, count = _likely(row_codes, n, bits, values, places, likely)
        if short:
            likely, count = _likely_short(
                row_codes, anchors, lengths, anchor_bits, values, places, likely, count
            )
        if count == 0:
            continue
        # In order the look-ups walk through the keys, where at random each would wait for memory.
        ordered = np.sort(likely[:count])
        for i in range(count):
            if i and ordered[i] == ordered[i - 1]:
                continue
            key = find_key(ordered[i], keys, buckets, shift)
            if key >= 0:
                out = _room(out, o)
                out[o] = key
                o += 1
        if o > starts[row]:
            sizes[row] = _distinct(row_codes, n)
    starts[len(rows) - 1] = o
    return out[:o]


def find_hits(data: np.ndarray, offsets: np.ndarray, index: Index, *, short: bool = False) -> Hits:
    """Look every shingle of every row of text up in the index.

    Args:
      data: uint8; `offsets`: int64 [n + 1], as `document.text_buffers` returns them.
      short: also look for the items of `MIN_WORDS` to `ngram - 1` words inside longer rows.
    """
    codes, rows, words = word_codes(data, offsets)
    starts = np.empty(len(offsets), np.int64)
    sizes = np.empty(len(words), np.int64)
    table = (index.keys, index.buckets, index.bits, index.shift)
    anchored = (index.anchors, index.anchor_lengths, index.anchor_bits)
    short = short and len(index.anchors) > 0
    keys = _find(codes, rows, index.ngram, table, *anchored, short, starts, sizes)
    return Hits(starts, keys, words, sizes)
