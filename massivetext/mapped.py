"""Arrays and Arrow files that are written whole and mapped into memory by those who read them.

What is on an object store is copied to a local file first, which has no name any more once it is
mapped: it is gone when its readers are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import pyarrow as pa

from . import storage
from .dataset import atomic_file
from .storage import Location

# Arrays of a store that a process keeps mapped: those that are asked for again for every part.
_KEPT = 4


@contextmanager
def arrow_file(path: Location, schema: pa.Schema) -> Iterator[pa.RecordBatchFileWriter]:
    """Open an Arrow file that exists under its name only when it is whole."""
    with atomic_file(path) as out, pa.ipc.new_file(pa.PythonFile(out, "w"), schema) as writer:
        yield writer


def write_arrow(path: Location, table: pa.Table) -> None:
    """Write a table to an Arrow file, atomically: a bundle that runs twice does no harm."""
    with arrow_file(path, table.schema) as writer:
        writer.write_table(table)


def open_arrow(path: Location) -> pa.RecordBatchFileReader:
    """Map an Arrow file into memory, read-only.

    Raises:
      OSError: it cannot be read; names the path.
    """
    with storage.local_copy(path) as copy, pa.memory_map(str(copy)) as file:
        buffer = file.read_buffer()
    return pa.ipc.open_file(buffer)


def read_arrow(path: Location, schema: pa.Schema) -> pa.Table:
    """Map an Arrow file into memory; an empty table when nothing was written."""
    if not storage.exists(path):
        return schema.empty_table()
    if storage.is_remote(path):
        return pa.ipc.open_file(pa.py_buffer(storage.read_bytes(path))).read_all()
    return open_arrow(path).read_all()


def save_array(path: Location, values: np.ndarray) -> None:
    with atomic_file(path) as out:
        np.save(out, values, allow_pickle=False)  # type: ignore[arg-type]


def map_array(path: Location) -> np.ndarray:
    """Map an array that `save_array` wrote, read-only."""
    if storage.is_remote(path):
        return _copied(path, storage.identity(path))
    return np.asarray(np.load(str(path), allow_pickle=False, mmap_mode="r"))


@lru_cache(_KEPT)
def _copied(path: Location, identity: str) -> np.ndarray:
    """Map a copy of an array; `identity` tells what has been written there since."""
    with storage.local_copy(path) as copy:
        return np.asarray(np.load(copy, allow_pickle=False, mmap_mode="r"))
