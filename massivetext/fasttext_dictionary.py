"""fastText's dictionary in compiled form: its hash, its entries, and where a hash leads.

The functions here are compiled into the kernels that read a model and that apply it.
"""

import numpy as np
from numba import njit

# The least that an entry takes in a file: the NUL that ends the word, int64 count, int8 type.
ENTRY_BYTES = 10

EMPTY_HASH = np.uint32(2166136261)
_PRIME = np.uint32(16777619)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_THIRTY_TWO = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@njit(cache=True, nogil=True, inline="always")
def extend(h, byte):
    """Return fastText's hash (uint32) of a string one byte longer: FNV-1a over signed chars."""
    return np.uint32((h ^ np.uint32(np.int32(np.int8(byte)))) * _PRIME)


@njit(cache=True, nogil=True, inline="always")
def _slot(h, table):
    """Return where the search for `h` starts in a table whose length is a power of two."""
    return np.int64((np.uint64(h) * _SPREAD) >> _THIRTY_TWO) & (len(table) - 1)


@njit(cache=True, nogil=True)
def _is_entry(content, at, source, start, stop):
    """Whether the entry at `content[at]`, which a NUL ends, is the word `source[start:stop]`."""
    for k in range(stop - start):
        byte = content[at + k]
        if byte == 0 or byte != source[start + k]:
            return False
    return content[at + stop - start] == 0


@njit(cache=True, nogil=True)
def find_entry(content, starts, slots, h, source, start, stop):
    """Return the entry for `source[start:stop]` of hash `h`, or -1."""
    slot = _slot(h, slots)
    while slots[slot] >= 0:
        entry = slots[slot]
        if _is_entry(content, starts[entry], source, start, stop):
            return np.int64(entry)
        slot = (slot + 1) & (len(slots) - 1)
    return np.int64(-1)


def reciprocal(bucket: int) -> int:
    """Return what `modulo` needs for `bucket` (1 to 2**31): 2**64 / bucket, rounded up."""
    return -(-(1 << 64) // bucket) & ((1 << 64) - 1)


@njit(cache=True, nogil=True, inline="always")
def modulo(h, bucket, reciprocal):
    """Return `h % bucket` for uint32 `h`, in a third of a division's time (int64).

    Exact: Lemire, Kaser, Kurz 2019, 'Faster Remainder by Direct Computation'. A reciprocal of 0
    is that of 1.
    """
    low = (np.uint64(h) * (reciprocal & _LOW)) >> _THIRTY_TWO
    quotient = (np.uint64(h) * (reciprocal >> _THIRTY_TWO) + low) >> _THIRTY_TWO
    return np.int64(np.uint64(h) - quotient * bucket) if reciprocal else np.int64(0)


@njit(cache=True, nogil=True, inline="always")
def may_be_kept(kept, bucket):
    """Whether an n-gram's bucket may have a row, 0 or 1; most that were pruned have 0."""
    bit = bucket & (8 * len(kept) - 1)
    return (np.int64(kept[bit >> 3]) >> (bit & 7)) & 1


@njit(cache=True, nogil=True, inline="always")
def find_bucket(pruned, bucket):
    """Return the row that was kept for an n-gram's bucket, or -1."""
    slot = _slot(bucket, pruned)
    while pruned[slot, 0] >= 0:
        if pruned[slot, 0] == bucket:
            return np.int64(pruned[slot, 1])
        slot = (slot + 1) & (len(pruned) - 1)
    return np.int64(-1)


@njit(cache=True, nogil=True)
def walk(content, at, words, starts, counts):
    """Find the entries of the dictionary that starts at `content[at]`, words before labels.

    Fills `starts` and `counts` (int64 [entries]). Returns the end of the dictionary, or -1 if the
    file ends sooner or the type of an entry is not that of its place.
    """
    size = len(content)
    for entry in range(len(starts)):
        starts[entry] = at
        while at < size and content[at] != 0:
            at += 1
        if at + ENTRY_BYTES > size:
            return -1
        count = np.uint64(0)
        for k in range(8):
            count |= np.uint64(content[at + 1 + k]) << np.uint64(8 * k)
        counts[entry] = np.int64(count)
        if content[at + 9] != (entry >= words):
            return -1
        at += ENTRY_BYTES
    return at


def entry_table(content: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the entries by the hash of their word, for `find_entry`: int32 [power of two]."""
    slots = np.full(_table_size(len(starts)), -1, np.int32)
    _fill_entries(content, starts, slots)
    return slots


def bucket_table(buckets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the rows by bucket (int32 >= 0 both), for `find_bucket`: int32 [power of two, 2]."""
    pruned = np.full((_table_size(len(buckets)), 2), -1, np.int32)
    _fill_buckets(np.array(buckets, np.int32), np.array(rows, np.int32), pruned)
    return pruned


def kept_bits(buckets: np.ndarray) -> np.ndarray:
    """Return a bit for each bucket, modulo their number, for `may_be_kept`: uint8 [power of two].

    There are at least 32 bits for a bucket, so that of the others one in 32 at most is let past.
    """
    bits = np.zeros(2 * _table_size(len(buckets)), np.uint8)
    _set_bits(np.array(buckets, np.int32), bits)
    return bits


@njit(cache=True, nogil=True)
def _set_bits(buckets, bits):
    for k in range(len(buckets)):
        bit = np.int64(buckets[k]) & (8 * len(bits) - 1)
        bits[bit >> 3] |= np.uint8(1 << (bit & 7))


def _table_size(entries: int) -> int:
    """Return a power of two that leaves at least half of a table empty."""
    return 1 << (2 * entries).bit_length()


@njit(cache=True, nogil=True)
def _fill_entries(content, starts, slots):
    for entry in range(len(starts)):
        start = starts[entry]
        stop = start
        h = EMPTY_HASH
        while content[stop] != 0:
            h = extend(h, content[stop])
            stop += 1
        slot = _slot(h, slots)
        # Of two equal entries the last counts, as in fastText.
        while slots[slot] >= 0 and not _is_entry(
            content, starts[slots[slot]], content, start, stop
        ):
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = entry


@njit(cache=True, nogil=True)
def _fill_buckets(buckets, rows, pruned):
    for k in range(len(buckets)):
        slot = _slot(buckets[k], pruned)
        while pruned[slot, 0] >= 0 and pruned[slot, 0] != buckets[k]:
            slot = (slot + 1) & (len(pruned) - 1)
        pruned[slot, 0] = buckets[k]
        pruned[slot, 1] = rows[k]
