"""Parquet: a document a row, read by row groups, a few rows at a time."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..config import FieldNames
from ..errors import InputError, nearest
from ..storage import location, open_binary
from . import sink as limits
from .sink import Sink
from .stream import DamagedError

ROWS = 128  # rows decoded at once; rows can be megabytes


def row_groups(path: str) -> list[int] | None:
    """Return the compressed bytes of each row group, None if `path` is not whole Parquet."""
    try:
        with open_binary(location(path)) as raw:
            metadata = pq.read_metadata(raw)
    except (pa.ArrowException, OSError):
        return None  # reading it will say what is wrong, with the record
    return [group_bytes(metadata, index) for index in range(metadata.num_row_groups)]


def group_bytes(metadata: pq.FileMetaData, index: int) -> int:
    group = metadata.row_group(index)
    return sum(group.column(i).total_compressed_size for i in range(group.num_columns))


def read_parquet(
    path: str,
    start: int,
    stop: int,
    fields: FieldNames,
    sink: Sink,
    on_bytes: Callable[[int], None],
) -> Iterator[pa.RecordBatch]:
    """Yield batches of the rows of row groups `start` to `stop` (-1: the last).

    Raises:
      InputError: the file has no such text column, or the disk failed.
      DamagedError: the file is not Parquet, or corrupt from here on.
    """
    try:
        with open_binary(location(path)) as raw, pq.ParquetFile(raw) as file:
            metadata = file.metadata
            columns = _columns(path, file.schema_arrow, fields)
            stop = metadata.num_row_groups if stop < 0 else stop
            sink.record = sum(metadata.row_group(i).num_rows for i in range(start))
            done = 0
            for group in range(start, stop):
                for batch in file.iter_batches(ROWS, row_groups=[group], columns=columns):
                    yield from _rows(batch, fields, sink)
                done += group_bytes(metadata, group)
                on_bytes(done)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
        raise DamagedError(f"corrupt Parquet ({str(error).splitlines()[0]})") from error


def _columns(path: str, schema: pa.Schema, fields: FieldNames) -> list[str]:
    """Return the columns to read: the text and every scalar one, which goes to the metadata."""
    name = fields.html or fields.text
    if name not in schema.names:
        raise InputError(
            f"{path} has no column {name!r}{nearest(name, schema.names)}; it has: "
            f"{', '.join(schema.names)}. Set fields.{'html' if fields.html else 'text'}"
        )
    if not _is_text(_value_type(schema.field(name).type)):
        raise InputError(f"{path}: column {name!r} is {schema.field(name).type}, not text")
    return [f.name for f in schema if f.name == name or _is_scalar(_value_type(f.type))]


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _is_scalar(kind: pa.DataType) -> bool:
    types = pa.types
    return not types.is_nested(kind) and not types.is_binary(kind) and not types.is_null(kind)


def _values(column: pa.Array) -> list[Any]:
    """Return Python values, text as bytes: Arrow does not check that Parquet text is UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return (column.cast(pa.large_binary()) if _is_text(column.type) else column).to_pylist()


def _rows(batch: pa.RecordBatch, fields: FieldNames, sink: Sink) -> Iterator[pa.RecordBatch]:
    columns = {name: _values(batch.column(name)) for name in batch.schema.names}
    texts = columns.pop(fields.html or fields.text)
    for row, content in enumerate(texts):
        where = f"{sink.name}: row {sink.record}"
        if content is None:
            sink.reject(f"{where}: {fields.html or fields.text} is null")
            continue
        if len(content) > limits.RECORD_BYTES:
            sink.reject(f"{where}: {limits.too_large(len(content))}", content[:4096])
            continue
        metadata = {name: _json_value(values[row]) for name, values in columns.items()}
        metadata = {name: value for name, value in metadata.items() if value is not None}
        url = metadata.pop(fields.url, None)
        timestamp = metadata.pop(fields.timestamp, None)
        known: dict[str, Any] = {
            "url": None if url is None else str(url),
            "timestamp": None if timestamp is None else str(timestamp),
            "metadata": metadata,
        }
        if sink.pages:
            out = sink.page(content, charset=None, **known)
        else:
            try:
                out = sink.document(content.decode(), **known)
            except UnicodeDecodeError as error:
                sink.reject(f"{where}: invalid UTF-8 at byte {error.start}", content[:4096])
                continue
        if out is not None:
            yield out


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no NaN
    return value
