"""Word n-gram shingles of normalised text, for deduplication and test-set overlap.

Gopher (section A.1.1) compares documents by the Jaccard similarity of their 13-grams, "ignoring
punctuation and white space". Normalised text, here: cut into words at white space, without the
characters of Unicode's categories P* (punctuation) and S* (symbols), without the words that are
empty then, joined by one space. Case is kept.

A document of at least n words has a shingle for every n consecutive words; one of fewer has a
single shingle, its whole normalised text; one without words has none.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from .hashing import avalanche, finish, fold, hash_rows_128, load, start_state
from .unicode import PUNCTUATION, SPACE, classes, decode

_PAD = 8
_BASE = np.uint64(0x9FB21C651E98DF25)
_SPACES = np.uint64(0x2020202020202020)
_ONES = np.uint64(0x0101010101010101)
_HIGHS = np.uint64(0x8080808080808080)
_WORD_SEED = np.uint64(0)


class Normalised(NamedTuple):
    """Normalised text of n rows.

    `data` is uint8 with eight spare bytes at the end; row i is `data[offsets[i]:offsets[i + 1]]`;
    `words` is int64 [n], the number of words of each row.
    """

    data: np.ndarray
    offsets: np.ndarray
    words: np.ndarray


@njit(cache=True, nogil=True)
def _normalise(data, offsets, flags, out, out_offsets, words):
    o = 0
    for row in range(len(offsets) - 1):
        out_offsets[row] = first = o
        i, stop = offsets[row], offsets[row + 1]
        # 1: there was white space since the last character kept.
        gap = 0
        while i < stop:
            byte = data[np.uint64(i)]
            if byte < 128:
                # No branches: where words end cannot be predicted. What is not kept is written
                # too, and then written over; there are spare bytes at the end for the last.
                flag = flags[np.uint64(byte)]
                kept = np.int64((flag & (SPACE | PUNCTUATION)) == 0)
                out[np.uint64(o)] = 32
                o += gap & kept & (o > first)
                out[np.uint64(o)] = byte
                o += kept
                gap = (gap & (1 - kept)) | np.int64((flag & SPACE) != 0)
                i += 1
                continue
            point, width = decode(data, i, stop)
            flag = flags[point]
            if flag & SPACE:
                gap = 1
            elif not flag & PUNCTUATION:
                if gap & (o > first):
                    out[np.uint64(o)] = 32
                    o += 1
                gap = 0
                for k in range(width):
                    out[np.uint64(o + k)] = data[np.uint64(i + k)]
                o += width
            i += width
        count = np.int64(o > first)
        for k in range(first, o):
            count += out[np.uint64(k)] == 32
        words[row] = count
    out_offsets[len(offsets) - 1] = o
    return o


def normalise(data: np.ndarray, offsets: np.ndarray) -> Normalised:
    """Normalise every row of UTF-8 text (see the module).

    Args:
      data: uint8; `offsets`: int64 [n + 1], as `document.text_buffers` returns them.
    """
    n = len(offsets) - 1
    # Two words of the output have white space between them in the input: it never grows.
    out = np.zeros(int(offsets[-1] - offsets[0]) + _PAD, np.uint8)
    out_offsets = np.empty(n + 1, np.int64)
    words = np.empty(n, np.int64)
    size = _normalise(data, offsets, classes(), out, out_offsets, words)
    return Normalised(out[: size + _PAD], out_offsets, words)


@njit(inline="always")
def _first_space(word):
    """Index of the first byte of `word` that is a space, or 8."""
    zeros = word ^ _SPACES
    hits = (zeros - _ONES) & ~zeros & _HIGHS
    if hits == np.uint64(0):
        return 8
    # The bits below the lowest hit cover the low bit of every byte up to the hit's own.
    below = (hits & (~hits + np.uint64(1))) - np.uint64(1)
    return np.int64((((below & _ONES) * _ONES) >> np.uint64(56)) - np.uint64(1))


@njit(inline="always")
def _word_end(data, i, stop):
    """Hash of the word that starts at `i` (that of its bytes, seed 0), and where it ends."""
    start = i
    h = start_state(_WORD_SEED)
    while True:
        chunk = load(data, i)
        length = min(_first_space(chunk), stop - i)
        if length == 8:
            h = fold(h, chunk)
            i += 8
            continue
        if length:
            h = fold(h, chunk & ((np.uint64(1) << np.uint64(8 * length)) - np.uint64(1)))
        return finish(h, i + length - start), i + length


@njit(cache=True, nogil=True)
def _shingle(data, offsets, words, n, starts, out):
    window = np.zeros(n, np.uint64)
    expire = np.uint64(1)
    for _ in range(n):
        expire *= _BASE
    for row in range(len(offsets) - 1):
        i, stop = offsets[row], offsets[row + 1]
        h = np.uint64(0)
        o = starts[row]
        slot = 0
        window[:] = 0
        for word in range(words[row]):
            code, i = _word_end(data, i, stop)
            i += 1
            h = h * _BASE + code - window[slot] * expire
            window[slot] = code
            slot += 1
            if slot == n:
                slot = 0
            if word >= n - 1:
                out[np.uint64(o)] = avalanche(h)
                o += 1
        if 0 < words[row] < n:
            out[np.uint64(o)] = avalanche(h)


def shingle_normalised(text: Normalised, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hash the shingles of text that is normalised already; see `shingle_hashes`."""
    counts = np.where(text.words >= n, text.words - n + 1, np.minimum(text.words, 1))
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    out = np.empty(int(starts[-1]), np.uint64)
    _shingle(text.data, text.offsets, text.words, n, starts, out)
    return out, starts


def shingle_hashes(data: np.ndarray, offsets: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hash every shingle of n words of every row, in order, repeats included.

    A word's hash is `hash_rows` of its bytes with seed 0; a shingle's is the avalanched polynomial
    of its words' hashes, modulo 2**64.

    Args:
      data: uint8; `offsets`: int64 [rows + 1]; UTF-8 text as `document.text_buffers` returns it.
      n: words in a shingle, at least 1.

    Returns:
      `(hashes, starts)`: uint64 flat, int64 [rows + 1]; row i has `hashes[starts[i]:starts[i+1]]`.
    """
    if n < 1:
        raise ValueError(f"n is {n}; a shingle has at least one word")
    return shingle_normalised(normalise(data, offsets), n)


@njit(cache=True, nogil=True)
def _sort_unique(hashes, starts, out, out_starts):
    o = 0
    for row in range(len(starts) - 1):
        out_starts[row] = o
        values = np.sort(hashes[starts[row] : starts[row + 1]])
        for i in range(len(values)):
            if i == 0 or values[i] != values[i - 1]:
                out[o] = values[i]
                o += 1
    out_starts[len(starts) - 1] = o
    return o


def sort_unique(hashes: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn each row's shingles into a set: sorted, each once; shapes as `shingle_hashes`."""
    out = np.empty(len(hashes), np.uint64)
    out_starts = np.empty(len(starts), np.int64)
    size = _sort_unique(hashes, starts, out, out_starts)
    return out[:size], out_starts


def normalised_hash_128(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Hash each row's normalised text to 128 bits, uint64 [n, 2]: equal for exact duplicates.

    The normalisation is that of the shingles (see the module), so two documents are exact
    duplicates when they differ at most in white space, punctuation and symbols.
    """
    text = normalise(data, offsets)
    return hash_rows_128(text.data, text.offsets)
