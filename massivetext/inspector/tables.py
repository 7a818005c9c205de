"""Reads the build's Parquet files by row groups and columns, a stretch of rows at a time.

Files are not mapped into memory: pages of a mapped file count as resident, and a scan would map
them all.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..document import text_buffers
from ..errors import InputError

# What one batch holds of text, about: between two batches a scan looks at the clock.
BATCH_BYTES = 1 << 20
MAX_BATCH_ROWS = 1 << 16
# Footers kept; one has some 300 bytes for every column of every row group.
FOOTERS = 64
_BUFFER = 1 << 20


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read as Parquet ({error}); delete it and build again")


@contextmanager
def _opened(path: Path) -> Iterator[Path | BinaryIO]:
    """Give Arrow a path where it takes it, and an open file where the path is not UTF-8."""
    if str(path).encode("utf-8", "ignore") == os.fsencode(path):
        yield path
    else:
        with open(path, "rb") as file:
            yield file


@lru_cache(FOOTERS)
def _footer(path: Path, changed: int, size: int) -> pq.FileMetaData:
    with _opened(path) as source:
        return pq.read_metadata(source)


def footer(path: Path) -> pq.FileMetaData:
    """Return the footer of a file.

    Raises:
      InputError: the file cannot be read; so for the other functions.
    """
    try:
        stat = path.stat()
        return _footer(path, stat.st_mtime_ns, stat.st_size)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def groups(path: Path) -> list[tuple[int, int]]:
    """Return the first row and the end of each row group."""
    data = footer(path)
    ends = np.cumsum([data.row_group(i).num_rows for i in range(data.num_row_groups)]).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True)) if ends else []


def batches(
    path: Path, group: int, columns: Sequence[str], most: int = MAX_BATCH_ROWS
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows of one row group, each batch with the number in the file of its first row.

    Batches have at most `most` rows and about `BATCH_BYTES` of what is read. Of `columns`, those
    come that the file has.
    """
    start, stop = groups(path)[group]
    try:
        with (
            _opened(path) as source,
            pq.ParquetFile(
                source, metadata=footer(path), buffer_size=_BUFFER, pre_buffer=False
            ) as file,
        ):
            present = [name for name in columns if name in file.schema_arrow.names]
            size = _bytes(file.metadata, group, present)
            rows = min(most, max(16, (stop - start) * BATCH_BYTES // max(1, size)))
            for batch in file.iter_batches(
                rows, row_groups=[group], columns=present, use_threads=False
            ):
                yield start, batch
                start += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _bytes(data: pq.FileMetaData, group: int, names: Sequence[str]) -> int:
    """Return the bytes that the columns `names` have in a row group, before compression."""
    row_group = data.row_group(group)
    columns = (row_group.column(i) for i in range(row_group.num_columns))
    return sum(c.total_uncompressed_size for c in columns if c.path_in_schema in names)


def bounds(path: Path, group: int, name: str) -> tuple[float, float] | None:
    """Return the least and the greatest value of a column in a row group, where the file says."""
    row_group = footer(path).row_group(group)
    for i in range(row_group.num_columns):
        column = row_group.column(i)
        if column.path_in_schema == name:
            found = column.statistics
            return (found.min, found.max) if found is not None and found.has_min_max else None
    return None


def read(path: Path, columns: Sequence[str]) -> pa.Table:
    """Return those of `columns` that a small file has, whole."""
    try:
        with (
            _opened(path) as source,
            pq.ParquetFile(source, metadata=footer(path), pre_buffer=False) as file,
        ):
            present = [name for name in columns if name in file.schema_arrow.names]
            return file.read(columns=present, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def matching(path: Path, name: str, value: Any, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return `columns` of the rows of a file, if there is one, whose column `name` is `value`."""
    rows: list[dict[str, Any]] = []
    if not path.is_file():
        return rows
    for group in range(len(groups(path))):
        for _, batch in batches(path, group, list(dict.fromkeys([*columns, name]))):
            if name in batch.schema.names:
                found = batch.filter(pc.equal(batch.column(name), value))
                rows += found.select([c for c in columns if c in found.schema.names]).to_pylist()
    return rows


def row(path: Path, number: int, columns: Sequence[str]) -> pa.RecordBatch:
    """Return one row of a file, as a batch; `number` is below the file's number of rows."""
    for group, (start, stop) in enumerate(groups(path)):
        if start <= number < stop:
            for first, batch in batches(path, group, columns):
                if number < first + batch.num_rows:
                    return batch.slice(number - first, 1)
    raise InputError(f"{path} has no row {number}; it has changed, so load the page again")


def text(column: pa.Array, at: int, most: int | None = None) -> bytes:
    """Return the UTF-8 of a row of a string column, or its first `most` bytes."""
    data, offsets = text_buffers(column)
    stop = offsets[at + 1] if most is None else min(offsets[at + 1], offsets[at] + most)
    return data[offsets[at] : stop].tobytes()
