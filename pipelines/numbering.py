"""Dense document numbers, and small sets of them in files that workers map into memory.

A document's number is the number of measured rows before it, over parts sorted by subset and name,
those of earlier builds first: 32 bits up to 4.29 billion documents, and the same however a build is
run.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from numba import njit

from massivetext.dataset import atomic_file
from massivetext.errors import StageError
from massivetext.unionfind import MAX_NODES

from .stage import Part

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


@contextmanager
def arrow_file(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatchFileWriter]:
    """Open an Arrow file that exists under its name only when it is whole."""
    with atomic_file(path) as out, pa.ipc.new_file(pa.PythonFile(out, "w"), schema) as writer:
        yield writer


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table to an Arrow file, atomically: a bundle that runs twice does no harm."""
    with arrow_file(path, table.schema) as writer:
        writer.write_table(table)


def read_arrow(path: Path, schema: pa.Schema) -> pa.Table:
    """Map an Arrow file into memory; an empty table when nothing was written."""
    if not path.exists():
        return schema.empty_table()
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def save_array(path: Path, values: np.ndarray) -> None:
    with atomic_file(path) as out:
        np.save(out, values, allow_pickle=False)  # type: ignore[arg-type]


def map_array(path: Path) -> np.ndarray:
    """Map an array that `save_array` wrote, read-only."""
    values = np.load(path, allow_pickle=False, mmap_mode="r")
    return np.asarray(values)


def numpy_columns(table: pa.Table, *names: str) -> list[np.ndarray]:
    """Return columns of numbers without nulls as arrays."""
    return [table.column(name).to_numpy() for name in names]
