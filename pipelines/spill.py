"""Buffers between the stages of a local run that go to disk instead of filling the memory.

Beam's runner keeps every PCollection between stages, and every grouping, as Python objects: 2 GB of
values to group peak at 10 to 14 GB. These keep a fixed number of bytes each and write the rest to
one temporary file without a name, which vanishes with the process.
"""

import os
import tempfile
import threading
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apache_beam.coders import Coder
from apache_beam.coders.coder_impl import CoderImpl, create_InputStream, create_OutputStream
from apache_beam.runners.portability.fn_api_runner.execution import ListBuffer
from apache_beam.transforms import core, trigger
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils import windowed_value

from massivetext.scratch import disk_full

BUFFER_MEMORY = 64 << 20
FANOUT_BITS = 7
MAX_LEVEL = 3
"""A grouping of more than memory x 128 splits again, up to three times: 128 TB at 64 MB."""


class SpillFile:
    """An unnamed temporary file in `folder` that any thread may append to and read from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (`close` does)
        self._lock = threading.Lock()
        self._end = 0

    def append(self, data: bytes | bytearray) -> tuple[int, int]:
        """Write `data`; return its offset and length.

        Raises:
          DiskFullError: the disk is full; tells how much this file holds and what to do.
          OSError: the disk fails; names the folder.
        """
        with self._lock:
            offset, self._end = self._end, self._end + len(data)
        view, at = memoryview(data), offset
        try:
            while view:
                written = os.pwrite(self._file.fileno(), view, at)
                view, at = view[written:], at + written
        except OSError as error:
            error.filename = str(self._folder)
            if (full := disk_full(error, held=offset)) is not None:
                raise full from error
            raise
        return offset, len(data)

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length:
            part = os.pread(self._file.fileno(), length, offset)
            if not part:
                raise OSError(f"the spill file in {self._folder} is shorter than written")
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        self._file.close()


class ChunkList:
    """A list of byte strings that keeps the first `memory` bytes and spills the others."""

    def __init__(self, spill: SpillFile, memory: int):
        self._spill, self._memory = spill, memory
        self._chunks: list[bytes | tuple[int, int]] = []
        self._held = 0
        self.bytes = 0

    def append(self, chunk: bytes) -> None:
        self.bytes += len(chunk)
        if self._held + len(chunk) <= self._memory:
            self._held += len(chunk)
            self._chunks.append(chunk)
        else:
            self._chunks.append(self._spill.append(chunk))

    def extend(self, other: Any) -> None:
        for chunk in other:
            self.append(chunk)

    def adopt(self, other: "ChunkList") -> None:
        """Append the chunks of another list; what it has spilled to the same file stays there."""
        for chunk in other._chunks:
            if isinstance(chunk, bytes):
                self.append(chunk)
            else:
                self._chunks.append(chunk)
                self.bytes += chunk[1]

    def copy(self) -> "ChunkList":
        new = ChunkList(self._spill, self._memory)
        new._chunks, new._held, new.bytes = list(self._chunks), self._held, self.bytes
        return new

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            yield chunk if isinstance(chunk, bytes) else self._spill.read(*chunk)


class SpillBuffer(ListBuffer):
    """Beam's `ListBuffer` (a PCollection between two stages) on a `ChunkList`."""

    _inputs: Any

    def __init__(self, coder_impl: CoderImpl | None, spill: SpillFile, memory: int):
        super().__init__(coder_impl)
        self._spill, self._memory = spill, memory
        self._inputs = ChunkList(spill, memory)

    def copy(self) -> "SpillBuffer":
        new = SpillBuffer(self._coder_impl, self._spill, self._memory)
        new._inputs = self._inputs.copy()
        return new

    def reset(self) -> None:
        super().reset()
        self._inputs = ChunkList(self._spill, self._memory)

    def adopt(self, chunks: ChunkList) -> None:
        """Append the chunks of a list on the same spill file."""
        self._inputs.adopt(chunks)


class SpillGroups:
    """Beam's `GroupingBuffer` (the input of a GroupByKey) in bounded memory.

    Encoded elements are cut apart and distributed by a hash of their key over buckets, which go to
    disk when they fill the memory; groups are then formed bucket by bucket. The values of one
    bucket are in memory together, hence those of any one key.
    """

    cleared = False

    def __init__(
        self,
        pre_grouped_coder: Coder,
        post_grouped_coder: Coder,
        windowing: core.Windowing,
        spill: SpillFile,
        memory: int,
        level: int = 0,
    ):
        self._coders = pre_grouped_coder, post_grouped_coder
        self._pre, self._post = pre_grouped_coder.get_impl(), post_grouped_coder.get_impl()
        self._key = pre_grouped_coder.key_coder().get_impl()
        self._windowing, self._spill, self._memory, self._level = windowing, spill, memory, level
        self._pending: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._held = 0
        self._buckets: defaultdict[int, ChunkList] = defaultdict(lambda: ChunkList(spill, 0))
        self.bytes = 0

    def append(self, elements: bytes) -> None:
        view = memoryview(elements)
        stream = create_InputStream(elements)
        size = len(elements)
        shift, mask = self._level * FANOUT_BITS, (1 << FANOUT_BITS) - 1
        while stream.size() > 0:
            start = size - stream.size()
            key, _ = self._pre.decode_from_stream(stream, True).value
            bucket = zlib.crc32(self._key.encode(key)) >> shift & mask
            self._pending[bucket] += view[start : size - stream.size()]
        self.bytes += size
        self._held += size
        if self._held > self._memory:
            self._flush()

    def adopt(self, chunks: ChunkList) -> None:
        """Append the chunks of a list."""
        for chunk in chunks:
            self.append(chunk)

    def extend(self, other: Any) -> None:
        # Beam also calls this with an empty `ListBuffer`, a placeholder for timers.
        if isinstance(other, SpillGroups):
            for bucket in other._present():
                for chunk in other._chunks(bucket):
                    self.append(chunk)

    def copy(self) -> "SpillGroups":
        return self

    def clear(self) -> None:
        """Do nothing, as Beam's own."""

    def reset(self) -> None:
        """Do nothing, as Beam's own."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield each group, encoded with the coder of grouped values."""
        for bucket in self._present():
            chunks = self._chunks(bucket)
            size = self._buckets[bucket].bytes + len(self._pending[bucket])
            if size > self._memory and self._level < MAX_LEVEL:
                finer = SpillGroups(
                    *self._coders, self._windowing, self._spill, self._memory, self._level + 1
                )
                for chunk in chunks:
                    finer.append(chunk)
                yield from finer
            else:
                yield from self._group(chunks)

    def _present(self) -> list[int]:
        return sorted({*self._pending, *self._buckets})

    def _chunks(self, bucket: int) -> Iterator[bytes]:
        yield from self._buckets[bucket]
        if self._pending[bucket]:
            yield bytes(self._pending[bucket])

    def _flush(self) -> None:
        for bucket, data in self._pending.items():
            self._buckets[bucket].append(bytes(data))
        self._pending.clear()
        self._held = 0

    def _group(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        default = self._windowing.is_default()
        table: defaultdict[bytes, list[Any]] = defaultdict(list)
        for chunk in chunks:
            stream = create_InputStream(chunk)
            while stream.size() > 0:
                element = self._pre.decode_from_stream(stream, True)
                key, value = element.value
                table[self._key.encode(key)].append(value if default else element.with_value(value))
        driver = None if default else trigger.create_trigger_driver(self._windowing, True)
        for encoded, values in table.items():
            key = self._key.decode(encoded)
            groups = driver.process_entire_key(key, values) if driver else [_ON_TIME((key, values))]
            for group in groups:
                out = create_OutputStream()
                self._post.encode_to_stream(group, out, True)
                yield out.get()


_ON_TIME = GlobalWindows.windowed_value(
    None,
    timestamp=GlobalWindow().max_timestamp(),
    pane_info=windowed_value.PaneInfo(
        is_first=True,
        is_last=True,
        timing=windowed_value.PaneInfoTiming.ON_TIME,
        index=0,
        nonspeculative_index=0,
    ),
).with_value


def elements(buffer: Any) -> Iterator[bytes]:
    """Yield the encoded elements of a buffer one by one."""
    if isinstance(buffer, SpillGroups):
        yield from buffer
        return
    for chunk in buffer:
        stream, size = create_InputStream(chunk), len(chunk)
        start = 0
        while start < size:
            buffer._coder_impl.decode_from_stream(stream, True)
            end = size - stream.size()
            yield chunk[start:end] if start or end < size else chunk
            start = end


def size(buffer: Any) -> int:
    """Return the bytes of a buffer (of a `ListBuffer` of Beam's own, which is small, as well)."""
    if isinstance(buffer, SpillGroups):
        return buffer.bytes
    if isinstance(buffer, SpillBuffer) and isinstance(buffer._inputs, ChunkList):
        return buffer._inputs.bytes
    return sum(len(chunk) for chunk in buffer)
