"""MinHash signatures, their bands, and the exact Jaccard similarity that verifies them.

Signatures are bit-identical with `datasketch.MinHash(num_perm, seed=1, scheme="affine32",
hashfunc=identity).update_batch(h)`, where `h` are the shingle hashes folded to 32 bits by taking
their upper half; so they plug into datasketch's LSH indexes. Two documents of Jaccard similarity
s share at least one of b bands of r rows with probability 1 - (1 - s**r)**b (Lee et al. 2021).
"""

from functools import lru_cache

import numpy as np
from numba import njit

from .hashing import hash_bytes

DATASKETCH_SEED = 1
_BLOCK = 4


@lru_cache(maxsize=8)
def permutations(count: int) -> np.ndarray:
    """Return datasketch's affine permutations h -> a * h + b: uint32 [2, count], a odd."""
    random = np.random.RandomState(DATASKETCH_SEED)
    a = random.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    b = random.randint(0, 1 << 32, count, dtype=np.uint32)
    both = np.stack([a, b])
    both.flags.writeable = False
    return both


@njit(inline="always")
def _mix32(h):
    """MurmurHash3's 32-bit finaliser, which datasketch applies before the permutations."""
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@njit(cache=True, nogil=True)
def _signatures(hashes, starts, a, b, out):
    for row in range(len(starts) - 1):
        signature = out[row]
        signature[:] = np.uint32(0xFFFFFFFF)
        i, stop = starts[row], starts[row + 1]
        # Four shingles a pass: the permutations and the signature are read once for all four.
        while i + _BLOCK <= stop:
            h0 = _mix32(np.uint32(hashes[i] >> np.uint64(32)))
            h1 = _mix32(np.uint32(hashes[i + 1] >> np.uint64(32)))
            h2 = _mix32(np.uint32(hashes[i + 2] >> np.uint64(32)))
            h3 = _mix32(np.uint32(hashes[i + 3] >> np.uint64(32)))
            for k in range(len(a)):
                v0 = np.uint32(a[k] * h0 + b[k])
                v1 = np.uint32(a[k] * h1 + b[k])
                v2 = np.uint32(a[k] * h2 + b[k])
                v3 = np.uint32(a[k] * h3 + b[k])
                signature[k] = min(signature[k], min(min(v0, v1), min(v2, v3)))
            i += _BLOCK
        while i < stop:
            h = _mix32(np.uint32(hashes[i] >> np.uint64(32)))
            for k in range(len(a)):
                signature[k] = min(signature[k], np.uint32(a[k] * h + b[k]))
            i += 1


def signatures(hashes: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
    """Return the MinHash signature of every row's set of shingles.

    Args:
      hashes: uint64 flat, `starts`: int64 [n + 1], as `shingles.shingle_hashes` returns them;
        order and repeats do not matter.
      count: permutations.

    Returns:
      uint32 [n, count]; all ones for a row without shingles.
    """
    a, b = permutations(count)
    out = np.empty((len(starts) - 1, count), np.uint32)
    _signatures(hashes, starts, a, b, out)
    return out


@njit(cache=True, nogil=True)
def _bands(data, n, bands, width, out):
    for row in range(n):
        for band in range(bands):
            start = (row * bands + band) * width
            out[row, band] = hash_bytes(data, start, start + width, np.uint64(band + 1))


def band_hashes(signature: np.ndarray, bands: int) -> np.ndarray:
    """Hash each band of each signature, the band's number folded in as the seed.

    Args:
      signature: uint32 [n, bands * rows].

    Returns:
      uint64 [n, bands]. Equal numbers mean: same band, same minima.
    """
    n, count = signature.shape
    if bands < 1 or count % bands:
        raise ValueError(f"{count} permutations do not make {bands} bands of equal size")
    out = np.empty((n, bands), np.uint64)
    data = np.ascontiguousarray(signature).view(np.uint8).reshape(-1)
    _bands(data, n, bands, 4 * (count // bands), out)
    return out


@njit(cache=True, nogil=True)
def _common(a, b):
    i = j = common = 0
    while i < len(a) and j < len(b):
        x, y = a[i], b[j]
        common += x == y
        i += x <= y
        j += y <= x
    return common


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Return |a and b| / |a or b| of two sets, each a sorted uint64 array without repeats.

    The Jaccard similarity of two empty sets is taken as 0.
    """
    common = int(_common(a, b))
    union = len(a) + len(b) - common
    return common / union if union else 0.0


@njit(cache=True, nogil=True)
def _jaccard_pairs(values, starts, left, right, out):
    for i in range(len(left)):
        a = values[starts[left[i]] : starts[left[i] + 1]]
        b = values[starts[right[i]] : starts[right[i] + 1]]
        common = _common(a, b)
        union = len(a) + len(b) - common
        out[i] = common / union if union else 0.0


def jaccard_pairs(
    values: np.ndarray, starts: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Return the Jaccard similarity, float64 [m], of rows `left[i]` and `right[i]` (int64 [m]).

    `values` and `starts` are sets of shingles as `shingles.sort_unique` returns them.
    """
    out = np.empty(len(left), np.float64)
    _jaccard_pairs(values, starts, left, right, out)
    return out
