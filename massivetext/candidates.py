"""Which pairs of a band's buckets are worth comparing, with bounded work for any bucket.

A bucket holds the documents that agree on a band. Up to `ALL_PAIRS` members every pair is
proposed. Boilerplate can fill a bucket with millions; such a bucket gives a star around its member
of lowest rank and the pairs of members at most `WINDOW` apart in number order (documents of one
source are neighbours), at most `WINDOW + 1` pairs a member, and is counted.

Documents of earlier builds have the lowest numbers. Two of them stay whatever their similarity, so
a pair has at least one member from `first_new` on.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

ALL_PAIRS = 256
WINDOW = 16
PAIRS_A_BATCH = 1 << 20
# Of n bands that all differ, about one in so many is taken for one that occurs again.
_BITS_A_BAND = 16


class LargeBuckets(NamedTuple):
    """Buckets too large for all pairs, and how many pairs they did not propose."""

    buckets: int
    uncompared: int


@njit(inline="always")
def _pack(a, b):
    low, high = np.uint64(min(a, b)), np.uint64(max(a, b))
    return (low << np.uint64(32)) | high


@njit(cache=True, nogil=True)
def _centre(ranks, start, stop):
    # Members are in number order, so a tie goes to the smaller number.
    centre = start
    for i in range(start + 1, stop):
        if ranks[i] < ranks[centre]:
            centre = i
    return centre


@njit(cache=True, nogil=True)
def _propose(numbers, ranks, starts, first_new, bucket, member, out):
    """Fill `out` from (bucket, member) on; return where to go on, and how much was filled."""
    filled = 0
    while bucket < len(starts) - 1:
        start, stop = starts[bucket], starts[bucket + 1]
        large = stop - start > ALL_PAIRS
        centre = _centre(ranks, start, stop) if large else start
        new = start
        while new < stop and numbers[new] < first_new:
            new += 1
        # A bucket without new members has nothing to propose.
        for i in range(start + member if new < stop else stop, stop):
            if filled + ALL_PAIRS > len(out):
                return bucket, i - start, filled
            last = min(stop, i + 1 + WINDOW) if large else stop
            if large and i != centre and max(i, centre) >= new:
                out[filled] = _pack(numbers[i], numbers[centre])
                filled += 1
            for j in range(max(i + 1, new), last):
                if not large or (i != centre and j != centre):
                    out[filled] = _pack(numbers[i], numbers[j])
                    filled += 1
        bucket += 1
        member = 0
    return bucket, member, filled


@njit(cache=True, nogil=True)
def _count_uncompared(numbers, ranks, starts, first_new):
    """Return how many large buckets there are, and how many of their pairs are not proposed."""
    buckets = missed = 0
    for bucket in range(len(starts) - 1):
        start, stop = starts[bucket], starts[bucket + 1]
        if stop - start <= ALL_PAIRS or numbers[stop - 1] < first_new:
            continue
        buckets += 1
        centre = _centre(ranks, start, stop)
        for i in range(start, stop):
            # With those before it, a new member is compared up to `WINDOW` back, and the centre.
            if numbers[i] >= first_new and i != centre:
                missed += max(0, i - start - WINDOW) - (centre < i - WINDOW)
    return buckets, missed


@njit(cache=True, nogil=True)
def _mark_repeated(bands, shift, once, repeated):
    for i in range(len(bands)):
        bit = bands[i] >> shift
        byte, mask = bit >> np.uint64(3), np.uint8(1) << np.uint8(bit & np.uint64(7))
        if once[byte] & mask:
            repeated[byte] |= mask
        else:
            once[byte] |= mask


@njit(cache=True, nogil=True)
def _select_repeated(bands, shift, repeated, out):
    for i in range(len(bands)):
        bit = bands[i] >> shift
        mask = np.uint8(1) << np.uint8(bit & np.uint64(7))
        out[i] = repeated[bit >> np.uint64(3)] & mask != 0


def repeated(chunks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return which bands, uint64 [n] each chunk, may occur more than once: bool [n] each.

    A band that does is never left out. Most of those of real documents do not, and need not be
    sorted then.
    """
    count = sum(map(len, chunks))
    bits = max(3, (_BITS_A_BAND * max(1, count) - 1).bit_length())
    shift = np.uint64(64 - bits)
    once, again = (np.zeros(1 << (bits - 3), np.uint8) for _ in range(2))
    for bands in chunks:
        _mark_repeated(bands, shift, once, again)
    found = []
    for bands in chunks:
        found.append(np.empty(len(bands), bool))
        _select_repeated(bands, shift, again, found[-1])
    return found


def propose(
    bands: np.ndarray, ranks: np.ndarray, numbers: np.ndarray, first_new: int = 0
) -> tuple[Iterator[np.ndarray], LargeBuckets]:
    """Return the pairs that share a band, and what the large buckets left out.

    Args:
      bands: uint64 [n] band hashes, in any order; `ranks`: uint32 [n], lowest is the centre of a
        large bucket; `numbers`: uint32 [n], the documents.
      first_new: no pair of two documents below this number is proposed.

    Returns:
      An iterator over uint64 arrays of pairs `smaller << 32 | larger`, in bounded pieces; a pair
      comes once for every band it shares.
    """
    order = np.lexsort((numbers, bands))
    bands, ranks, numbers = bands[order], ranks[order], numbers[order]
    starts = np.flatnonzero(np.diff(bands, prepend=~bands[:1]) != 0)
    starts = np.append(starts, len(bands)).astype(np.int64)

    def pieces() -> Iterator[np.ndarray]:
        bucket = member = 0
        while bucket < len(starts) - 1:
            out = np.empty(PAIRS_A_BATCH, np.uint64)
            bucket, member, filled = _propose(
                numbers, ranks, starts, first_new, bucket, member, out
            )
            if filled:
                yield out[:filled]

    large = LargeBuckets(*_count_uncompared(numbers, ranks, starts, first_new))
    return pieces(), large
