"""The document model: rows of an Arrow RecordBatch, and how kernels see their text.

A document is a row of `DOCUMENT`. What flows through a pipeline is a `RecordBatch` of at most
`BATCH_ROWS` documents or about `BATCH_BYTES` of text, never one Python object per document.
Readers of markup yield `PAGE` batches, whose raw bytes extraction turns into `DOCUMENT` text.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

BATCH_BYTES = 4 << 20
BATCH_ROWS = 4096

# Text has 64-bit offsets: one document may pass 2 GiB in a batch, and kernels take int64 as is.
DOCUMENT = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("timestamp", pa.string()),
        pa.field("metadata", pa.string()),
    ]
)

PAGE = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("content", pa.large_binary(), nullable=False),
        pa.field("charset", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("timestamp", pa.string()),
        pa.field("metadata", pa.string()),
    ]
)

# A record that could not be read or processed. `payload` is the start of the raw record.
DEAD_LETTER = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("payload", pa.binary()),
    ]
)
DEAD_PAYLOAD_BYTES = 4096


@dataclass(frozen=True)
class DeadLetter:
    """A record set aside: which one, where it came from, and why."""

    id: str
    stage: str
    source: str
    error: str
    payload: bytes = b""


@dataclass
class DeadLetters:
    """Collects the records that a reader or a stage has set aside, in order."""

    letters: list[DeadLetter] = field(default_factory=list)

    def add(self, letter: DeadLetter) -> None:
        self.letters.append(letter)

    def to_batch(self) -> pa.RecordBatch:
        """Return the letters as a `DEAD_LETTER` batch, payloads cut to `DEAD_PAYLOAD_BYTES`."""
        rows = [
            {**vars(letter), "payload": letter.payload[:DEAD_PAYLOAD_BYTES]}
            for letter in self.letters
        ]
        return pa.RecordBatch.from_pylist(rows, schema=DEAD_LETTER)


class BatchBuilder:
    """Gathers rows into batches of `schema`, cut by rows and by bytes of text or content.

    `add` returns a finished batch when the limits are reached; `flush` returns the rest or None.
    """

    def __init__(self, schema: pa.Schema, rows: int = BATCH_ROWS, size: int = BATCH_BYTES):
        self.schema = schema
        self.rows = rows
        self.size = size
        self._columns: dict[str, list[Any]] = {name: [] for name in schema.names}
        self._bytes = 0
        self._count = 0

    def add(self, size: int, **row: Any) -> pa.RecordBatch | None:
        """Append one row; `size` is the number of bytes it adds to the batch."""
        for name, values in self._columns.items():
            values.append(row.get(name))
        self._bytes += size
        self._count += 1
        if self._count >= self.rows or self._bytes >= self.size:
            return self.flush()
        return None

    def flush(self) -> pa.RecordBatch | None:
        if self._count == 0:
            return None
        arrays = [pa.array(self._columns[f.name], type=f.type) for f in self.schema]
        self._columns = {name: [] for name in self.schema.names}
        self._bytes = self._count = 0
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def text_buffers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the UTF-8 bytes and offsets of a string column, without copying the text.

    Args:
      column: a `large_string` (zero copy) or `string` array of n rows without nulls.

    Returns:
      `(data, offsets)`: uint8 bytes, and n + 1 int64 offsets into them. Row i is
      `data[offsets[i]:offsets[i + 1]]`; `offsets[0]` need not be 0 when `column` is a slice.
    """
    if column.null_count:
        raise ValueError("text column holds nulls")
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        width: type[np.signedinteger] = np.int32
    elif pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type):
        width = np.int64
    else:
        raise TypeError(f"text column has type {column.type}, expected (large_)string")
    n = len(column)
    _, offsets_buffer, data_buffer = column.buffers()
    if offsets_buffer is None or n == 0:
        return np.zeros(0, np.uint8), np.zeros(n + 1, np.int64)
    offsets = np.frombuffer(offsets_buffer, width)[column.offset : column.offset + n + 1]
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
    return data, offsets.astype(np.int64, copy=False)


def metadata_json(values: dict[str, Any]) -> str | None:
    """Return `values` as canonical JSON (sorted keys), or None when empty."""
    if not values:
        return None
    return json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)


def iterate_slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield each row of `batch` as a batch of one row (for retry after a failure)."""
    for row in range(batch.num_rows):
        yield batch.slice(row, 1)
