"""Fill-in-the-middle: documents rewritten so that a decoder learns to fill gaps.

A document is cut at two characters into prefix, middle and suffix, all cuts equally likely, before
it is tokenised (Bavarian et al. 2022, section 3). The three are encoded apart and stored as

    PSM   <fim_prefix> prefix <fim_suffix> suffix <fim_middle> middle
    SPM   <fim_prefix> <fim_suffix> suffix <fim_middle> prefix middle

both closed by EOS as every document is; SPM is the variant for training on both orders (section 3,
"SPM"). Characters are code points. Which documents, in which order and where they are cut follows
from the seed and the document's id alone.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from .config import FillInTheMiddle
from .document import text_buffers
from .hashing import hash_rows
from .permutation import mix

PREFIX, MIDDLE, SUFFIX = SENTINELS = ("<fim_prefix>", "<fim_middle>", "<fim_suffix>")

# How a document is stored.
PLAIN, PSM, SPM = 0, 1, 2

# Keeps these draws apart from others that hash ids under the same seed.
_SALT = 0x46494D
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Bytes whose characters are counted at once on the way to a cut.
_BLOCK = 256


def split(
    texts: pa.Array, ids: pa.Array, rule: FillInTheMiddle, seed: int
) -> tuple[pa.Array, npt.NDArray[np.int8]]:
    """Cut the documents that are to be rewritten; an empty one never is.

    Args:
      texts: (large_)string [n] without nulls.
      ids: (large_)string [n], the documents' ids.
      rule: whose `rate` and `spm_rate` apply; `subsets` is the caller's to judge.

    Returns:
      `(parts, orders)`: the parts of all documents in the order of their text, as large_string on
      the same bytes, and for each document `PLAIN` (one part), `PSM` or `SPM` (prefix, middle and
      suffix, each possibly empty), int8 [n].
    """
    data, offsets = text_buffers(texts)
    keys = hash_rows(*text_buffers(ids), seed ^ _SALT)
    orders = np.empty(len(texts), np.int8)
    bounds = np.empty(3 * len(texts) + 1, np.int64)
    count = _split(data, offsets, keys, rule.rate, rule.spm_rate, orders, bounds)
    buffers = [None, pa.py_buffer(bounds[:count]), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), count - 1, buffers), orders


def join(
    tokens: np.ndarray,
    offsets: npt.NDArray[np.int64],
    orders: npt.NDArray[np.int8],
    sentinels: tuple[int, int, int],
    eos_id: int,
) -> tuple[np.ndarray, npt.NDArray[np.int64]]:
    """Put the encoded parts of n documents into their orders, each document closed by `eos_id`.

    Args:
      tokens: of the parts that `split` returned; part i is `tokens[offsets[i]:offsets[i + 1]]`.
      orders: as `split` returned them.
      sentinels: ids of `SENTINELS`.

    Returns:
      `(tokens, ends)`: of the dtype given, and where each document ends after its EOS, int64 [n].
    """
    rewritten = int(np.count_nonzero(orders))
    if len(offsets) != len(orders) + 2 * rewritten + 1:
        raise ValueError(f"{len(offsets) - 1} parts are not those of {len(orders)} documents")
    out = np.empty(len(tokens) + len(orders) + 3 * rewritten, tokens.dtype)
    ends = np.empty(len(orders), np.int64)
    _join(tokens, offsets, orders, *sentinels, eos_id, out, ends)
    return out, ends


@njit(inline="always")
def _uniform(draw):
    """A number in [0, 1) from 64 random bits."""
    return np.float64(draw >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def _characters(data, start, stop):
    """Number of characters that begin in [start, stop)."""
    count = np.int64(0)
    for i in range(np.uint64(start), np.uint64(stop)):  # unsigned, so that LLVM makes it SIMD
        count += (data[i] & 0xC0) != 0x80
    return count


@njit(cache=True, nogil=True)
def _byte_of(data, start, stop, position):
    """Where character `position` of [start, stop) begins; `stop` for the one after the last."""
    while start + _BLOCK <= stop:
        count = _characters(data, start, start + _BLOCK)
        if count > position:
            break
        position -= count
        start += _BLOCK
    while start < stop:
        if data[start] & 0xC0 != 0x80:
            if position == 0:
                return start
            position -= 1
        start += 1
    return stop


@njit(cache=True, nogil=True)
def _split(data, offsets, keys, rate, spm_rate, orders, bounds):
    """Fill `orders`, and `bounds` with where parts begin and the last one ends; count `bounds`."""
    bounds[0] = offsets[0]
    count = 1
    for row in range(len(orders)):
        start, stop = offsets[row], offsets[row + 1]
        key = keys[row]
        orders[row] = PLAIN
        if stop > start and _uniform(mix(key)) < rate:
            orders[row] = SPM if _uniform(mix(key + _GOLDEN)) < spm_rate else PSM
            # A cut lies before any character or after the last.
            places = np.uint64(_characters(data, start, stop) + 1)
            first = np.int64(mix(key + np.uint64(2) * _GOLDEN) % places)
            second = np.int64(mix(key + np.uint64(3) * _GOLDEN) % places)
            low, high = min(first, second), max(first, second)
            begin = _byte_of(data, start, stop, low)
            bounds[count] = begin
            bounds[count + 1] = _byte_of(data, begin, stop, high - low)
            count += 2
        bounds[count] = stop
        count += 1
    return count


@njit(inline="always")
def _copy(tokens, start, stop, out, at):
    out[at : at + stop - start] = tokens[start:stop]
    return at + stop - start


@njit(cache=True, nogil=True)
def _join(tokens, offsets, orders, prefix_id, middle_id, suffix_id, eos_id, out, ends):
    part = at = 0
    for row in range(len(orders)):
        start, stop = offsets[part], offsets[part + 1]
        part += 1
        if orders[row] == PLAIN:
            at = _copy(tokens, start, stop, out, at)
        else:
            middle, end = offsets[part], offsets[part + 2]
            suffix = offsets[part + 1]
            part += 2
            out[at] = prefix_id
            at += 1
            if orders[row] == PSM:
                at = _copy(tokens, start, stop, out, at)
            out[at] = suffix_id
            at = _copy(tokens, suffix, end, out, at + 1)
            out[at] = middle_id
            at += 1
            if orders[row] == SPM:
                at = _copy(tokens, start, stop, out, at)
            at = _copy(tokens, middle, suffix, out, at)
        out[at] = eos_id
        at += 1
        ends[row] = at
