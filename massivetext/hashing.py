"""Seeded hashes of rows of bytes: the only hash that anything persisted may depend on.

The same bytes and seed give the same number on every machine, engine and release (frozen by
known-answer tests). Each row is read as little-endian 64-bit words; a word is spread by two
multiplications and a rotation, folded into the state, and the state is avalanched at the end with
the length. The hash is fast and well mixed, not cryptographic.
"""

import numpy as np
from numba import njit

_A = np.uint64(0x9E3779B185EBCA87)
_B = np.uint64(0xC2B2AE3D27D4EB4F)
_C = np.uint64(0x165667B19E3779F9)
_D = np.uint64(0x85EBCA77C2B2AE63)
_E = np.uint64(0x27D4EB2F165667C5)
_U8 = np.uint64(8)
_U64 = np.uint64(64)
_MASK = 2**64 - 1

# The second half of a 128-bit hash has its own seed and its own multipliers, so that two rows
# which collide in one half have no reason to collide in the other.
_SECOND = np.uint64(0xD6E8FEB86659FD93)


@njit(inline="always")
def avalanche(h: np.uint64) -> np.uint64:
    """Mix all 64 bits (a bijection): MurmurHash3's finaliser, by Austin Appleby."""
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@njit(inline="always")
def _rotate(x, count):
    return (x << np.uint64(count)) | (x >> (_U64 - np.uint64(count)))


@njit(inline="always")
def load(data, i):
    """Eight bytes from `i` on, little-endian; written so that LLVM makes it one load."""
    j = np.uint64(i)
    word = np.uint64(data[j])
    word |= np.uint64(data[j + np.uint64(1)]) << np.uint64(8)
    word |= np.uint64(data[j + np.uint64(2)]) << np.uint64(16)
    word |= np.uint64(data[j + np.uint64(3)]) << np.uint64(24)
    word |= np.uint64(data[j + np.uint64(4)]) << np.uint64(32)
    word |= np.uint64(data[j + np.uint64(5)]) << np.uint64(40)
    word |= np.uint64(data[j + np.uint64(6)]) << np.uint64(48)
    word |= np.uint64(data[j + np.uint64(7)]) << np.uint64(56)
    return word


@njit(inline="always")
def _load_tail(data, start, stop):
    """The last one to seven bytes, padded with zeros."""
    word = np.uint64(0)
    shift = np.uint64(0)
    for i in range(start, stop):
        word |= np.uint64(data[np.uint64(i)]) << shift
        shift += _U8
    return word


@njit(inline="always")
def start_state(seed):
    """State of `hash_bytes` before the first byte."""
    return avalanche(seed + _C)


@njit(inline="always")
def fold(h, word):
    """State after eight more bytes, or after the last one to seven padded with zeros."""
    return _rotate(h ^ (_rotate(word * _B, 31) * _A), 27) * _A + _D


@njit(inline="always")
def finish(h, length):
    """Hash of `length` bytes from the state after the last of them."""
    return avalanche(h ^ (np.uint64(length) * _E))


@njit(cache=True, nogil=True)
def hash_bytes(data, start, stop, seed):
    """Hash `data[start:stop]` (uint8) with a uint64 seed; for use inside kernels."""
    h = start_state(seed)
    i = start
    while i + 8 <= stop:
        h = fold(h, load(data, i))
        i += 8
    if i < stop:
        h = fold(h, _load_tail(data, i, stop))
    return finish(h, stop - start)


@njit(cache=True, nogil=True)
def _hash_bytes_second(data, start, stop):
    h = avalanche(_SECOND)
    i = start
    while i + 8 <= stop:
        h = _rotate(h + _rotate(load(data, i) * _D, 29) * _E, 33) * _B + _C
        i += 8
    if i < stop:
        h = _rotate(h + _rotate(_load_tail(data, i, stop) * _D, 29) * _E, 33) * _B + _C
    return avalanche(h ^ (np.uint64(stop - start) * _A))


@njit(cache=True, nogil=True)
def _hash_rows(data, offsets, seed, out):
    for row in range(len(offsets) - 1):
        out[row] = hash_bytes(data, offsets[row], offsets[row + 1], seed)


@njit(cache=True, nogil=True)
def _hash_rows_second(data, offsets, out):
    for row in range(len(offsets) - 1):
        out[row] = _hash_bytes_second(data, offsets[row], offsets[row + 1])


def hash_rows(data: np.ndarray, offsets: np.ndarray, seed: int) -> np.ndarray:
    """Hash every row of bytes.

    Args:
      data: uint8 bytes of all rows; `offsets`: int64 [n + 1], row i is
        `data[offsets[i]:offsets[i + 1]]` (see `document.text_buffers`).
      seed: any integer; taken modulo 2**64.

    Returns:
      uint64 [n].
    """
    out = np.empty(len(offsets) - 1, np.uint64)
    _hash_rows(data, offsets, np.uint64(seed & _MASK), out)
    return out


def hash_rows_128(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Hash every row of bytes to 128 bits, uint64 [n, 2]; arguments as `hash_rows`.

    Among 2**32 distinct rows the chance of any collision is about 2**-65.
    """
    out = np.empty((len(offsets) - 1, 2), np.uint64)
    _hash_rows(data, offsets, np.uint64(0), out[:, 0])
    _hash_rows_second(data, offsets, out[:, 1])
    return out


def hash_string(text: str, seed: int) -> int:
    """Return the hash of the UTF-8 bytes of `text`; equal to `hash_rows` on the same bytes."""
    data = np.frombuffer(text.encode(), np.uint8)
    return int(hash_bytes(data, 0, len(data), np.uint64(seed & _MASK)))
