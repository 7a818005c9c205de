"""Dense document numbers, and sets of them as bits.

A document's number is the number of measured rows before it, over parts sorted by subset and name,
those of earlier builds first: 32 bits up to 4.29 billion documents, and the same however a build is
run.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numba import njit

from massivetext.errors import StageError
from massivetext.unionfind import MAX_NODES

from .part import Part

TARGET_BYTES = 128 << 20
MAX_PARTITIONS = 1 << 16


class Numbering:
    """Numbers of the rows of measured parts: part i has `first[i]` up to `first[i + 1]`.

    Parts of earlier builds come first; the first part of this build is `own`.
    """

    def __init__(self, parts: Sequence[Part], earlier: Sequence[Part] = ()):
        self.parts = [*earlier, *parts]
        self.names = [part.name for part in self.parts]
        self.own = len(earlier)
        rows = [int(part.arguments["rows"]) for part in self.parts]
        self.first = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        if self.total > MAX_NODES:
            raise StageError(
                f"{self.total:,} documents are more than one build can deduplicate "
                f"({MAX_NODES:,}: numbers have 32 bits); split the subsets over several builds"
            )

    @property
    def total(self) -> int:
        return int(self.first[-1])

    @property
    def first_own(self) -> int:
        """The number of the first document of this build: all before it are of earlier ones."""
        return int(self.first[self.own])

    def part_of(self, numbers: np.ndarray) -> np.ndarray:
        """Return the part that each number belongs to, uint32."""
        return (np.searchsorted(self.first, numbers, side="right") - 1).astype(np.uint32)


def partitions(size: int) -> int:
    """Return how many partitions an exchange of `size` bytes needs."""
    return max(1, min(MAX_PARTITIONS, -(-size // TARGET_BYTES)))


@njit(cache=True, nogil=True)
def mark(bits, numbers):  # type: ignore[no-untyped-def]
    """Set the bit of every number in `bits` (uint8, least significant bit first)."""
    for i in range(len(numbers)):
        bits[numbers[i] >> 3] |= np.uint8(1 << (numbers[i] & 7))


def marked(bits: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Return the marked numbers from `start` up to `stop`, sorted, int64."""
    base = start & ~7
    flags = np.unpackbits(bits[base >> 3 : (stop + 7) >> 3], bitorder="little")
    return start + np.flatnonzero(flags[start - base : stop - base])


def numpy_columns(table: pa.Table, *names: str) -> list[np.ndarray]:
    """Return columns of numbers without nulls as arrays."""
    return [table.column(name).to_numpy() for name in names]
