"""Where in a document the passage is that it shares with a test document."""

import numpy as np
from numba import njit

from .hashing import avalanche
from .overlap_hits import find_key, power, word_codes
from .overlap_index import Index
from .shingles import _BASE
from .unicode import PUNCTUATION, SPACE, classes, decode


@njit(inline="always")
def _holds(value, item, index):
    """Whether `value` is an n-gram of `item`."""
    keys, starts, items, buckets, shift = index
    key = find_key(value, keys, buckets, shift)
    if key < 0:
        return False
    low, high = np.int64(starts[key]), np.int64(starts[key + 1])
    while low < high:
        middle = (low + high) >> 1
        if items[middle] < item:
            low = middle + 1
        else:
            high = middle
    return low < np.int64(starts[key + 1]) and items[low] == item


@njit(cache=True, nogil=True)
def _longest_run(codes, n, item, index):
    """First and last word of the longest run of places whose n-grams are `item`'s, or (-1, -1)."""
    expire = power(n)
    h = np.uint64(0)
    run, best, first = 0, 0, 0
    for i in range(len(codes)):
        h = h * _BASE + codes[i]
        if i >= n:
            h -= codes[i - n] * expire
        if i < n - 1:
            continue
        run = run + 1 if _holds(avalanche(h), item, index) else 0
        if run > best:
            best, first = run, i - n + 1 - run + 1
    return (first, first + best + n - 2) if best else (-1, -1)


@njit(cache=True, nogil=True)
def _word_bytes(data, i, stop, flags, first, last):
    """Where word `first` of a text starts and word `last` ends, without its punctuation."""
    word = -1
    gap = True
    start = end = i
    while i < stop:
        point, width = decode(data, i, stop)
        flag = flags[point]
        if flag & SPACE:
            gap = True
            if word == last:
                break
        elif not flag & PUNCTUATION:
            if gap:
                word += 1
                gap = False
                if word == first:
                    start = i
            if word <= last:
                end = i + width
        i += width
    return start, end


@njit(cache=True, nogil=True)
def _spans(data, offsets, flags, codes, rows, wanted, lengths, index, out):
    for w in range(len(wanted)):
        item = wanted[w]
        first, last = _longest_run(
            codes[rows[w] : rows[w + 1]], np.int64(lengths[item]), item, index
        )
        out[w, 0] = out[w, 1] = 0
        if first >= 0:
            start, end = _word_bytes(data, offsets[w], offsets[w + 1], flags, first, last)
            out[w, 0] = start - offsets[w]
            out[w, 1] = end - offsets[w]


def matched_spans(
    data: np.ndarray, offsets: np.ndarray, items: np.ndarray, index: Index
) -> np.ndarray:
    """Find the passage that each row of text shares with one item.

    The passage is the longest run of consecutive n-grams that are the item's, of equally long ones
    the first: from the first letter of its first word to the last letter of its last word.

    Args:
      data: uint8; `offsets`: int64 [n + 1], as `document.text_buffers` returns them.
      items: int64 [n], the number of the item to look for in each row.

    Returns:
      int64 [n, 2], first byte and end in the row's text; (0, 0) where nothing is shared.
    """
    codes, rows, _ = word_codes(data, offsets)
    table = (index.keys, index.starts, index.items, index.buckets, index.shift)
    out = np.empty((len(items), 2), np.int64)
    _spans(data, offsets, classes(), codes, rows, items, index.lengths, table, out)
    return out
