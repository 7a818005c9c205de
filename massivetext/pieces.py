"""Gathers pieces of files: intervals cut where files end, read with no Python between them."""

import os

import numba
import numpy as np
import numpy.typing as npt
from numba import types

Integers = npt.NDArray[np.int64]

# More at once is an error on some systems.
_READ_BYTES = 1 << 30

# The C library's, found by its name: the offset has 64 bits wherever pointers have.
_pread = types.ExternalFunction(
    "pread", types.intp(types.int32, types.intp, types.intp, types.int64)
)
_fadvise = types.ExternalFunction(
    "posix_fadvise", types.int32(types.int32, types.int64, types.int64, types.int32)
)


def cut(
    begin: Integers, end: Integers, bounds: Integers
) -> tuple[Integers, Integers, Integers, Integers]:
    """Cut the intervals [begin, end) where cell i, [bounds[i], bounds[i + 1]), meets the next.

    Returns:
      (interval, cell, begin, end) of each piece, int64 [pieces], in the order of the intervals; no
      piece is empty.
    """
    first = np.searchsorted(bounds, begin, "right") - 1
    counts = np.maximum(np.searchsorted(bounds, end, "left") - first, 0)
    interval = np.repeat(np.arange(len(begin)), counts)
    cell = np.arange(len(interval)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    begin = np.maximum(begin[interval], bounds[cell])
    end = np.minimum(end[interval], bounds[cell + 1])
    kept = begin < end
    return interval[kept], cell[kept], begin[kept], end[kept]


def read_pieces(
    numbers: npt.NDArray[np.int32],
    begin: Integers,
    end: Integers,
    out: npt.NDArray[np.uint8],
    at: Integers,
) -> int:
    """Read bytes [begin[i], end[i]) of the open file numbers[i] to out[at[i]:], for every i.

    Returns:
      The first i that could not be read whole, or -1.
    """
    if hasattr(os, "posix_fadvise"):
        # The disk gets all requests at once, not each when the one before is done.
        _request(numbers, begin, end, os.POSIX_FADV_WILLNEED)
    return int(_read(numbers, begin, end, out, at))


@numba.njit(cache=True, nogil=True)
def _request(numbers, begin, end, advice):  # type: ignore[no-untyped-def]
    for i in range(len(begin)):
        _fadvise(numbers[i], begin[i], end[i] - begin[i], advice)


@numba.njit(cache=True, nogil=True)
def _read(numbers, begin, end, out, at):  # type: ignore[no-untyped-def]
    for i in range(len(begin)):
        place, position = at[i], begin[i]
        # The system is not asked about memory that is not there.
        if place < 0 or place + end[i] - position > len(out):
            return i
        while position < end[i]:
            count = min(end[i] - position, _READ_BYTES)
            count = _pread(numbers[i], out.ctypes.data + place, count, position)
            if count <= 0:  # type: ignore[operator]
                return i
            place += count
            position += count
    return -1
