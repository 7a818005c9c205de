"""Character classes and UTF-8 decoding for compiled kernels.

The classes come from a table shipped with the package, not from the running Python, so a corpus
is filtered alike on every Python version. `python -m massivetext.unicode` writes the table anew.
"""

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np

CODE_POINTS = 0x110000

# Bit flags of a code point's classes.
SPACE = 1  # str.isspace(): where str.split() cuts
ALPHABETIC = 2  # str.isalpha(): general categories L*
PUNCTUATION = 4  # general categories P* (punctuation) and S* (symbols)

REPLACEMENT = 0xFFFD

_TABLE = Path(__file__).with_name("unicode.npz")


@lru_cache(maxsize=1)
def classes() -> np.ndarray:
    """Return the class flags of every code point: uint8 of shape (0x110000,), read-only."""
    with np.load(_TABLE, allow_pickle=False) as table:
        starts = table["starts"].astype(np.int64)
        lengths = np.diff(starts, append=CODE_POINTS)
        flags: np.ndarray = np.repeat(table["flags"], lengths)
    flags.flags.writeable = False
    return flags


@lru_cache(maxsize=1)
def version() -> str:
    """Return the version of the Unicode Character Database behind `classes`."""
    with np.load(_TABLE, allow_pickle=False) as table:
        return str(table["version"])


@numba.njit(cache=True, nogil=True, inline="always")
def decode(data, i, stop):  # type: ignore[no-untyped-def]
    """Return `(code point, width in bytes)` of the character at `data[i]`, for i < stop.

    `data` (uint8) should be valid UTF-8. Bytes that are not yield U+FFFD or some other code
    point, but never a read at or past `stop`, a code point above U+10FFFF, or a width of 0.
    """
    lead: Any = np.int64(data[i])
    point = lead
    width = 1
    if lead >= 0x80:
        if lead < 0xC0:
            point = REPLACEMENT
        elif lead < 0xE0:
            width = 2
            point = lead & 0x1F
        elif lead < 0xF0:
            width = 3
            point = lead & 0x0F
        else:
            width = 4
            point = lead & 0x07
        if i + width > stop:
            point = REPLACEMENT
            width = 1
        for k in range(1, width):
            point = (point << 6) | (np.int64(data[i + k]) & 0x3F)
        if point > 0x10FFFF:
            point = REPLACEMENT
    return point, width


def python_classes() -> np.ndarray:
    """Return the class flags according to the running Python, of the same shape as `classes`."""
    flags = np.zeros(CODE_POINTS, np.uint8)
    for point in range(CODE_POINTS):
        character = chr(point)
        flag = SPACE if character.isspace() else 0
        if character.isalpha():
            flag |= ALPHABETIC
        if unicodedata.category(character)[0] in "PS":
            flag |= PUNCTUATION
        flags[point] = flag
    return flags


def write_table() -> None:
    """Write the running Python's classes to the shipped table, as runs of equal flags."""
    flags = python_classes()
    starts = np.flatnonzero(np.diff(flags, prepend=255)).astype(np.uint32)
    np.savez_compressed(
        _TABLE, starts=starts, flags=flags[starts], version=np.array(unicodedata.unidata_version)
    )


if __name__ == "__main__":
    write_table()
