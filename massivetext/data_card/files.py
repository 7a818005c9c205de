"""Reading the build's Parquet files by columns and batches, with errors that name the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError

BATCH_ROWS = 1 << 16


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} cannot be read as Parquet ({error}); delete it and build again"
        ) from error


def rows(path: Path) -> int:
    """Return how many rows a file has.

    Raises:
      InputError: the file cannot be read; so for the other functions.
    """
    with _named(path):
        return int(pq.read_metadata(path).num_rows)


def batches(
    path: Path, columns: tuple[str, ...], size: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield those of `columns` that the file has, by at most `size` rows."""
    with _named(path), pq.ParquetFile(path, memory_map=True) as file:
        present = [name for name in columns if name in file.schema_arrow.names]
        yield from file.iter_batches(size, columns=present)


def row_numbers(path: Path) -> np.ndarray:
    """Return the column `row` of a drop list, int64."""
    with _named(path):
        return pq.read_table(path, columns=["row"])["row"].to_numpy()
