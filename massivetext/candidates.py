"""Which pairs of a band's buckets are worth comparing, with bounded work for any bucket.

A bucket holds the documents that agree on a band. Up to `ALL_PAIRS` members every pair is
proposed. Boilerplate can fill a bucket with millions; such a bucket gives a star around its member
of lowest rank and the pairs of members at most `WINDOW` apart in number order (documents of one
source are neighbours), at most `WINDOW + 1` pairs a member, and is counted.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numba import njit

ALL_PAIRS = 64
WINDOW = 16
PAIRS_A_BATCH = 1 << 20


class LargeBuckets(NamedTuple):
    """Buckets too large for all pairs, and how many pairs they did not propose."""

    buckets: int
    uncompared: int


@njit(inline="always")
def _pack(a, b):
    low, high = np.uint64(min(a, b)), np.uint64(max(a, b))
    return (low << np.uint64(32)) | high


@njit(cache=True, nogil=True)
def _propose(numbers, ranks, starts, bucket, member, out):
    """Fill `out` from (bucket, member) on; return where to go on, and how much was filled."""
    filled = 0
    while bucket < len(starts) - 1:
        start, stop = starts[bucket], starts[bucket + 1]
        large = stop - start > ALL_PAIRS
        centre = start
        for i in range(start + 1, stop):
            # Members are in number order, so a tie goes to the smaller number.
            if large and ranks[i] < ranks[centre]:
                centre = i
        for i in range(start + member, stop):
            if filled + ALL_PAIRS > len(out):
                return bucket, i - start, filled
            last = min(stop, i + 1 + WINDOW) if large else stop
            if large and i != centre:
                out[filled] = _pack(numbers[i], numbers[centre])
                filled += 1
            for j in range(i + 1, last):
                if not large or (i != centre and j != centre):
                    out[filled] = _pack(numbers[i], numbers[j])
                    filled += 1
        bucket += 1
        member = 0
    return bucket, member, filled


def _window_pairs(size: int) -> int:
    reach = min(WINDOW, size - 1)
    return reach * size - reach * (reach + 1) // 2


@njit(cache=True, nogil=True)
def _centre_positions(ranks, starts, out):
    for bucket in range(len(starts) - 1):
        centre = starts[bucket]
        for i in range(starts[bucket] + 1, starts[bucket + 1]):
            if ranks[i] < ranks[centre]:
                centre = i
        out[bucket] = centre - starts[bucket]


def _uncompared(ranks: np.ndarray, starts: np.ndarray) -> LargeBuckets:
    sizes = np.diff(starts)
    centres = np.empty(len(sizes), np.int64)
    _centre_positions(ranks, starts, centres)
    missed = 0
    large = np.flatnonzero(sizes > ALL_PAIRS)
    for size, centre in zip(sizes[large].tolist(), centres[large].tolist(), strict=True):
        beside = min(WINDOW, centre) + min(WINDOW, size - 1 - centre)
        missed += size * (size - 1) // 2 - (size - 1) - (_window_pairs(size) - beside)
    return LargeBuckets(len(large), missed)


def propose(
    bands: np.ndarray, ranks: np.ndarray, numbers: np.ndarray
) -> tuple[Iterator[np.ndarray], LargeBuckets]:
    """Return the pairs that share a band, and what the large buckets left out.

    Args:
      bands: uint64 [n] band hashes, in any order; `ranks`: uint32 [n], lowest is the centre of a
        large bucket; `numbers`: uint32 [n], the documents.

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
            bucket, member, filled = _propose(numbers, ranks, starts, bucket, member, out)
            if filled:
                yield out[:filled]

    return pieces(), _uncompared(ranks, starts)
