"""Normalise text as a SentencePiece model does, whole Arrow buffers at a time.

A model holds its normalisation compiled (`NormalizerSpec.precompiled_charsmap`): the size of a
double-array trie of UTF-8 strings in bytes (uint32), the trie (darts-clone's units, uint32), and
what the strings become, each closed by NUL. At each place the longest string of the trie is
replaced; a character that begins none stays as it is.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

_ESCAPE = "\u2581".encode()


class Charsmap(NamedTuple):
    """A compiled normalisation as arrays.

    Attributes:
      trie: uint32 units; `replacements`: uint8.
      alone: uint8 [256], whether an ASCII character before another, or at the end, stays as it is.
    """

    trie: np.ndarray
    replacements: np.ndarray
    alone: np.ndarray


def make_charsmap(blob: bytes) -> Charsmap:
    """Return the arrays of `precompiled_charsmap`.

    Raises:
      ValueError: it is not whole, or puts SentencePiece's mark for a space, U+2581, into text.
    """
    size = int.from_bytes(blob[:4], "little")
    if len(blob) < 4 or size % 4 or not 0 < size <= len(blob) - 5 or blob[-1]:
        raise ValueError("its normalisation is not whole")
    trie = np.frombuffer(blob, "<u4", size // 4, 4).astype(np.uint32)
    replacements = np.frombuffer(blob, np.uint8, offset=4 + size)
    if _ESCAPE in blob[4 + size :]:
        raise ValueError("its normalisation makes U+2581")
    alone = np.zeros(256, np.uint8)
    _find_alone(trie, alone)
    return Charsmap(trie, replacements, alone)


def normalize(
    data: np.ndarray, offsets: np.ndarray, charsmap: Charsmap
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of valid UTF-8 in their normal form; arguments and result as `text_buffers`.

    U+2581 stays, and nothing is matched across it.
    """
    return _normalize(data, offsets, charsmap)


@njit(inline="always")
def _child(trie, node, byte):
    """Unit that `byte` leads to from the unit at `node`, or -1."""
    unit = np.int64(trie[node])
    to = node ^ (unit >> 10) << ((unit & 0x200) >> 6) ^ byte
    if to >= len(trie) or np.int64(trie[to]) & 0x800000FF != byte:
        return np.int64(-1)
    return to


@njit(inline="always")
def _value(trie, node):
    """Where the replacement of the string that ends at `node` begins, or -1 where none ends."""
    unit = np.int64(trie[node])
    if unit & 0x100 == 0:
        return np.int64(-1)
    return np.int64(trie[node ^ (unit >> 10) << ((unit & 0x200) >> 6)]) & 0x7FFFFFFF


@njit(cache=True)
def _find_alone(trie, alone):
    for byte in range(128):
        node = _child(trie, 0, byte)
        alone[byte] = 1
        if node < 0:
            continue
        if _value(trie, node) >= 0:
            alone[byte] = 0
        for after in range(128):
            if _child(trie, node, after) >= 0:
                alone[byte] = 0


@njit(inline="always")
def _escape_at(data, i, stop):
    return i + 2 < stop and data[i] == 0xE2 and data[i + 1] == 0x96 and data[i + 2] == 0x81


@njit(inline="always")
def _longest(data, i, stop, trie):
    """Bytes of the longest string of the trie at `i`, 0 for none, and where its value begins."""
    length, value = 0, np.int64(-1)
    node = np.int64(0)
    k = i
    while k < stop and not _escape_at(data, k, stop):
        node = _child(trie, node, np.int64(data[k]))
        if node < 0:
            break
        k += 1
        found = _value(trie, node)
        if found >= 0:
            length, value = k - i, found
    return length, value


@njit
def _grow(out, size):
    """Return `out`, copied to twice its length, once `size` bytes may not fit."""
    if size <= len(out):
        return out
    larger = np.empty(2 * size, np.uint8)
    larger[: len(out)] = out
    return larger


@njit(cache=True, nogil=True)
def _normalize(data, offsets, charsmap):
    out = np.empty(offsets[-1] - offsets[0] + 64, np.uint8)
    ends = np.empty(len(offsets), np.int64)
    ends[0] = count = 0
    for row in range(len(offsets) - 1):
        i, stop = offsets[row], offsets[row + 1]
        while i < stop:
            # At most `stop - i` bytes are copied before the next replacement.
            out = _grow(out, count + stop - i)
            while i < stop and charsmap.alone[data[i]] and (i + 1 == stop or data[i + 1] < 0x80):
                out[count] = data[i]
                count += 1
                i += 1
            if i == stop:
                break
            length, value = _longest(data, i, stop, charsmap.trie)
            if length > 0:
                i += length
                end = value
                while charsmap.replacements[end] != 0:
                    end += 1
                out = _grow(out, count + end - value + stop - i)
                for k in range(value, end):
                    out[count] = charsmap.replacements[k]
                    count += 1
                continue
            out[count] = data[i]
            count += 1
            i += 1
            while i < stop and data[i] & 0xC0 == 0x80:
                out[count] = data[i]
                count += 1
                i += 1
        ends[row + 1] = count
    return out[:count], ends
