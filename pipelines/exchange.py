"""Exchange: bring all rows with the same key together, in bounded memory.

What Beam groups are references only. The rows themselves are partitioned into Arrow files on the
local disk, which moves bulk data about fifty times faster than a `GroupByKey` of rows and never
holds more than a buffer of it in memory. Where workers share no disk, `native=True` sends the
rows through the engine's own `GroupByKey` instead; everything else stays the same.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from . import coders  # noqa: F401  (registers the Arrow coders)

BUFFER_BYTES = 64 << 20

Reference = tuple[str, int, int]
"""Path of a spill file, offset and length in bytes of one partition's Arrow IPC stream in it."""

Pieces = Iterator[tuple[int, pa.Table]]
"""Rows by their partition."""

Give = Callable[[Pieces], Iterable[tuple[int, Any]]]
"""What to group in their place, by the partition."""


class Exchange(beam.PTransform):
    """PCollection of `pa.RecordBatch` -> PCollection of `(partition, pa.Table)`.

    A row goes to partition `key % partitions`. Each partition that has rows comes out exactly
    once, as one table of all its rows **in no particular order**: sort it before anything depends
    on the order. Partitions without rows are absent. All batches must have the same schema.

    Args:
      key: column that holds the key; uint64 or uint32, without nulls.
      partitions: number of partitions, at least 1. Choose it so that one partition fits in a
        worker's memory; 64 to 256 MB is a good size.
      scratch: folder for spill files, created when missing, on a disk that all workers see: a
        `scratch.run_folder`. It fills with as many bytes as are exchanged. The caller removes it
        after the pipeline has ended: the tables are memory-mapped from it, so not before.
      native: group the rows with the engine's `GroupByKey` and leave `scratch` alone; for engines
        whose workers share no disk.

    Raises:
      ValueError: a batch has no such column, or it is not an unsigned integer without nulls, or
        two batches differ in schema.
      OSError: a spill file could not be written or read; names the path.
    """

    def __init__(self, key: str, partitions: int, scratch: str, *, native: bool = False):
        super().__init__()
        if not 1 <= partitions < 2**32:
            raise ValueError(f"partitions is {partitions}; it must be from 1 to 2**32 - 1")
        self.key, self.partitions, self.scratch, self.native = key, partitions, scratch, native

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        # Said to Beam, which would pickle what it does not know the type of.
        if self.native:
            cut = beam.ParDo(_Split(self.key, self.partitions, batches_of))
            return (
                batches
                | "Partition" >> cut.with_output_types(tuple[int, pa.RecordBatch])
                | "Group" >> beam.GroupByKey()
                | "Concatenate" >> beam.ParDo(_Concatenate())
            )
        cut = beam.ParDo(_Split(self.key, self.partitions, partial(spill, self.scratch)))
        return (
            batches
            | "Spill" >> cut.with_output_types(tuple[int, Reference])
            | "Group" >> beam.GroupByKey()
            | "Read" >> beam.ParDo(_ReadPartition())
        )


def split_by_key(
    batches: list[pa.RecordBatch], key: str, partitions: int
) -> Iterator[tuple[int, pa.Table]]:
    """Yield each partition that has rows with its rows, in the order of `batches`."""
    table = _concatenate([pa.Table.from_batches([batch]) for batch in batches])
    # What is given away with the call is free again as soon as the rows are in their new order.
    del batches
    if key not in table.column_names:
        raise ValueError(
            f"exchange by {key!r}, but the columns are {', '.join(table.column_names)}"
        )
    keys = table.column(key)
    if keys.type not in (pa.uint64(), pa.uint32()) or keys.null_count:
        raise ValueError(
            f"exchange by {key!r}: {keys.type} with {keys.null_count} nulls; it must be uint64 or "
            "uint32 without nulls"
        )
    values = keys.to_numpy()
    # The narrowest type lets numpy sort by radix.
    narrow = np.uint16 if partitions <= 1 << 16 else np.uint32
    numbers = (values % values.dtype.type(partitions)).astype(narrow)
    del keys, values
    order = np.argsort(numbers, kind="stable")
    table = table.take(pa.array(order))
    present, starts = np.unique(numbers[order], return_index=True)
    ends = [*starts[1:].tolist(), len(order)]
    for number, start, end in zip(present.tolist(), starts.tolist(), ends, strict=True):
        yield number, table.slice(start, end - start)


def _concatenate(tables: list[pa.Table]) -> pa.Table:
    first = tables[0].schema
    for table in tables:
        if not table.schema.equals(first):
            raise ValueError(
                "batches of one exchange differ in schema: "
                f"{_describe(first)} and {_describe(table.schema)}"
            )
    return pa.concat_tables(tables)


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in schema)


class _Split(beam.DoFn):
    """Gathers batches up to `BUFFER_BYTES`, so that what a partition gets of them comes in few and
    large pieces; yields what `give` makes of those pieces."""

    def __init__(self, key: str, partitions: int, give: Give):
        self.key, self.partitions, self.give = key, partitions, give

    def start_bundle(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0

    def process(self, batch: pa.RecordBatch) -> Iterable[tuple[int, Any]]:
        if batch.num_rows == 0:
            return
        if self._batches and self._bytes + batch.nbytes > BUFFER_BYTES:
            yield from self.give(self._pieces())
        self._batches.append(batch)
        self._bytes += batch.nbytes

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._batches:
            for pair in self.give(self._pieces()):
                yield WindowedValue(pair, GlobalWindow().max_timestamp(), (GlobalWindow(),))

    def _pieces(self) -> Pieces:
        batches, self._batches, self._bytes = self._batches, [], 0
        return split_by_key(batches, self.key, self.partitions)


def batches_of(pieces: Pieces) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield pieces of partitions as batches, for the engine to carry."""
    for number, table in pieces:
        for batch in table.combine_chunks().to_batches():
            yield number, batch


def spill(scratch: str, pieces: Pieces) -> list[tuple[int, Reference]]:
    """Write pieces of partitions to one file; return where in it each is."""
    # The name is new each time: when an engine runs a bundle twice, only the references of the run
    # that counted are read, and the other file is left for the caller to remove.
    path = Path(scratch) / f"{uuid.uuid4().hex}.arrows"
    references = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(path), "wb") as file:
            for number, table in pieces:
                start = file.tell()
                with pa.ipc.new_stream(file, table.schema) as writer:
                    writer.write_table(table)
                references.append((number, (str(path), start, file.tell() - start)))
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise OSError(error.errno, f"cannot write a spill file: {error}", str(path)) from error
    # The allocator would keep what it held, several buffers' worth, in every worker.
    pa.default_memory_pool().release_unused()
    return references


class _ReadPartition(beam.DoFn):
    """Maps the pieces of one partition into memory as one table."""

    def process(self, grouped: tuple[int, Iterable[Reference]]) -> Iterable[tuple[int, pa.Table]]:
        number, references = grouped
        yield number, _concatenate([_read(*reference) for reference in references])


def _read(path: str, start: int, length: int) -> pa.Table:
    # The buffer outlives the file object; closing it here keeps the number of open files at one.
    with pa.memory_map(path) as file:
        file.seek(start)
        buffer = file.read_buffer(length)
    with pa.ipc.open_stream(buffer) as reader:
        return reader.read_all()


class _Concatenate(beam.DoFn):
    def process(
        self, grouped: tuple[int, Iterable[pa.RecordBatch]]
    ) -> Iterable[tuple[int, pa.Table]]:
        number, batches = grouped
        yield number, _concatenate([pa.Table.from_batches([batch]) for batch in batches])
