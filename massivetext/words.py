"""Words and their hashes, as compiled kernels see them.

A word is a maximal run of characters that are not white space: `str.split()`. The functions here
are compiled into those kernels; all work on `data[i:stop]`, the UTF-8 bytes of one document.
"""

import numba
import numpy as np

from .scan import load
from .unicode import SPACE, decode

# Odd constants from the fractional digits of the golden ratio and of the square roots of 3 and 5.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROOT_3 = np.uint64(0xBB67AE8584CAA73B)
_ROOT_5 = np.uint64(0x3C6EF372FE94F82B)

_LINE_FEED = 10
_BLANK = 32
_NOTHING = np.uint64(0)


@numba.njit(cache=True, nogil=True, inline="always")
def mix(value):  # type: ignore[no-untyped-def]
    """Return uint64 `value` with its bits mixed: a bijection, so it adds no collisions."""
    value = (value ^ (value >> np.uint64(32))) * _GOLDEN
    value = (value ^ (value >> np.uint64(29))) * _ROOT_3
    return value ^ (value >> np.uint64(32))


@numba.njit(cache=True, nogil=True, inline="always")
def combine(state, value):  # type: ignore[no-untyped-def]
    """Return the hash of a sequence: hash `state` of its start, followed by a mixed `value`."""
    state = (state + value) * _ROOT_5
    return state ^ (state >> np.uint64(32))


@numba.njit(cache=True, nogil=True, inline="always")
def skip_space(data, i, stop, classes):  # type: ignore[no-untyped-def]
    """Pass over white space.

    Returns:
      `(i, line_feeds, gap)`: where the next word starts (or `stop`), the number of line feeds
      passed (one ends a line; two or more, a paragraph), and a uint64 hash of the white space.
    """
    line_feeds = 0
    gap = _NOTHING
    if i + 1 < stop and data[i] == _BLANK and _BLANK < data[i + 1] < 0x7F:
        # Most gaps: one space, then a word. The same values as the loop gives, sooner.
        i += 1
        gap = np.uint64(_BLANK)
        return i, line_feeds, gap
    while i < stop:
        point = np.int64(data[i])
        width = 1
        if point >= 0x80:
            point, width = decode(data, i, stop)
        if classes[point] != SPACE:
            break
        line_feeds += point == _LINE_FEED
        gap = gap * _GOLDEN + np.uint64(point)
        i += width
    return i, line_feeds, gap


@numba.njit(cache=True, nogil=True, inline="always")
def word_hash(data, i, stop):  # type: ignore[no-untyped-def]
    """Return the uint64 hash of the bytes `data[i:stop]`, for i < stop.

    Two different words of at most 8 bytes and equal length never share a hash; any other two do
    with a probability of about 2**-64. In a document of ten million distinct words the odds that
    any two collide are 3 in a million.
    """
    state = mix(load(data, i, stop) + np.uint64(stop - i) * _GOLDEN)
    i += 8
    while i < stop:
        state = mix(state ^ load(data, i, stop))
        i += 8
    return state
