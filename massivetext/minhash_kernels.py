"""Compiled loops of `minhash`: signatures, bands, and intersections of sorted sets."""

from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .hashing import hash_bytes

DATASKETCH_SEED = 1
EMPTY = np.uint32(0xFFFFFFFF)
_BLOCK = 4
_LANES = 16


@lru_cache(maxsize=8)
def affine_permutations(count: int) -> np.ndarray:
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


@intrinsic
def _lower(typingctx, signature, a, b, k, h0, h1, h2, h3):
    """Lower `signature[k:k + 16]` to the minimum of itself and a * h + b for four h.

    Written in vectors because LLVM by itself uses half of a 512-bit register, at two thirds of the
    speed. Where registers are narrower it splits the vectors.
    """
    vector = ir.VectorType(ir.IntType(32), _LANES)

    def codegen(context, builder, sig, args):
        def slot(position):
            array = context.make_array(sig.args[position])(context, builder, args[position])
            return builder.bitcast(builder.gep(array.data, [args[3]]), vector.as_pointer())

        def splat(value):
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, index)
            return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)

        index = ir.Constant(ir.IntType(32), 0)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
        target = slot(0)
        least = builder.load(target, align=4)
        factor, shift = builder.load(slot(1), align=4), builder.load(slot(2), align=4)
        for h in args[4:]:
            value = builder.add(builder.mul(factor, splat(h)), shift)
            least = builder.select(builder.icmp_unsigned("<", value, least), value, least)
        builder.store(least, target, align=4)
        return context.get_dummy_value()

    words = (types.uint32,) * _BLOCK
    return types.void(signature, a, b, types.intp, *words), codegen


@njit(cache=True, nogil=True)
def fill_signatures(hashes, starts, a, b, out):
    """Write the MinHash signature of every row's shingles to `out`, uint32 [rows, len(a)]."""
    vectors = len(a) - len(a) % _LANES
    for row in range(len(starts) - 1):
        signature = out[row]
        signature[:] = EMPTY
        i, stop = starts[row], starts[row + 1]
        while i < stop:
            # Four shingles a pass, the last one repeated: the permutations and the signature are
            # read once for all four.
            last = stop - 1
            h0 = _mix32(np.uint32(hashes[i] >> np.uint64(32)))
            h1 = _mix32(np.uint32(hashes[min(i + 1, last)] >> np.uint64(32)))
            h2 = _mix32(np.uint32(hashes[min(i + 2, last)] >> np.uint64(32)))
            h3 = _mix32(np.uint32(hashes[min(i + 3, last)] >> np.uint64(32)))
            for k in range(0, vectors, _LANES):
                _lower(signature, a, b, k, h0, h1, h2, h3)  # type: ignore[call-arg]
            for k in range(vectors, len(a)):
                v0 = np.uint32(a[k] * h0 + b[k])
                v1 = np.uint32(a[k] * h1 + b[k])
                v2 = np.uint32(a[k] * h2 + b[k])
                v3 = np.uint32(a[k] * h3 + b[k])
                signature[k] = min(signature[k], min(min(v0, v1), min(v2, v3)))
            i += _BLOCK


@njit(cache=True, nogil=True)
def fill_bands(data, n, bands, width, out):
    """Hash every `width` bytes of `data`, seeded by their band, to `out`, uint64 [n, bands]."""
    for row in range(n):
        for band in range(bands):
            start = (row * bands + band) * width
            out[row, band] = hash_bytes(data, start, start + width, np.uint64(band + 1))


@njit(cache=True, nogil=True)
def count_common(a, b):
    """Return how many numbers two sorted arrays without repeats have in common."""
    i = j = common = 0
    while i < len(a) and j < len(b):
        x, y = a[i], b[j]
        common += x == y
        i += x <= y
        j += y <= x
    return common


@njit(cache=True, nogil=True)
def fill_jaccard(values, starts, left, right, out):
    """Write the Jaccard similarity of each pair of rows to `out`, float64; of empty ones 0."""
    for i in range(len(left)):
        a = values[starts[left[i]] : starts[left[i] + 1]]
        b = values[starts[right[i]] : starts[right[i] + 1]]
        common = count_common(a, b)
        union = len(a) + len(b) - common
        out[i] = common / union if union else 0.0
