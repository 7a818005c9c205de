"""The dataset folder: where everything is, and how files are written so that none lies.

Layout (DESIGN: every stage materialised, evidence beside it):

    measured/<subset>/*.parquet   every readable document with its signals, before any decision
    dropped/<stage>/<subset>/*.parquet   one row per dropped document: rule, value, threshold
    dead/<stage>/*.parquet        records that could not be read or processed
    sketches/<subset>/*.parquet   hashes and MinHash bands of the documents that passed the rules
    shingles/<subset>/*.parquet   hashes by which later builds find duplicates of what is left
    spans/<subset>/*.parquet      repeated spans that are cut out of the text
    duplicates/ overlaps/         who duplicates whom; which test item a document copies
    documents/<subset>/*.parquet  what is left: the training documents
    heldout/<subset>/*.parquet    documents set aside for evaluation
    tokenizer/ tokens/<subset>/ shards/ checkpoints/ card.json
    manifests/<stage>.json        what each stage depends on, counted and wrote

A file appears under its name only when it is whole: it is written as `.name.tmp-<pid>`, flushed to
the disk and renamed. On an object store it is one upload, which ends or leaves nothing.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from . import storage
from .claim import claimed_on_store
from .errors import ConfigError, StageError
from .storage import Location

ROW_GROUP_BYTES = 32 << 20


@dataclass(frozen=True)
class FileRecord:
    """One finished output file, as manifests list it. `path` is relative to the dataset."""

    path: str
    bytes: int
    sha256: str
    rows: int


class HashingFile:
    """A binary file that hashes what passes through; sequential writes only."""

    def __init__(self, raw: BinaryIO):
        self.raw = raw
        self.digest = hashlib.sha256()
        self.bytes = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.raw.write(data)
        size = memoryview(data).nbytes
        self.bytes += size
        return size

    def flush(self) -> None:
        self.raw.flush()

    def tell(self) -> int:
        return self.bytes

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


@contextmanager
def atomic_file(path: Location) -> Iterator[HashingFile]:
    """Write `path` under a temporary name; rename it when the block ends without an error."""
    if storage.is_remote(path):
        with storage.upload(path) as raw:
            yield HashingFile(raw)
        return
    path = cast(Path, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with open(temporary, "wb") as raw:
            out = HashingFile(raw)
            yield out
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, path)
    except OSError as error:
        # A write to a full disk does not say which file it was.
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def claimed(root: Location) -> Iterator[None]:
    """Hold the output folder for one run.

    Raises:
      ConfigError: the folder cannot be written, or another run holds it.
    """
    if storage.is_remote(root):
        with claimed_on_store(root):
            yield
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = open(str(root / ".lock"), "w")  # noqa: SIM115 - held for the whole block
    except OSError as error:
        raise ConfigError(f"output {root} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another massivetext is working in {root}; wait for it") from error
        yield


def remove_temporary(root: Location) -> None:
    """Remove what writers that were killed have left below `root`. No writer may be at work."""
    if storage.is_remote(root):
        return  # an upload that was not finished has no name
    for path in root.rglob(".*.tmp-*"):
        path.unlink(missing_ok=True)


def write_json(path: Location, value: Any) -> None:
    """Write `value` as canonical, readable JSON, atomically."""
    with atomic_file(path) as out:
        out.write((json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def read_json(path: Location) -> Any:
    return parse_json(storage.read_bytes(path), path)


def parse_json(content: bytes, path: Location) -> Any:
    """Return the value that is written at `path` as `content`."""
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise StageError(f"{path} is not valid JSON ({error}); delete it and run again") from error


class ParquetFile:
    """An atomic Parquet output: call `write(batch)` any number of times, read `record` after.

    Row groups are cut by bytes, so memory stays bounded; compression and layout are fixed, so the
    same batches give the same bytes.
    """

    def __init__(self, root: Location, relative: str, schema: pa.Schema):
        self.root = root
        self.relative = relative
        self.schema = schema
        self.rows = 0
        self.record: FileRecord | None = None
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0

    def __enter__(self) -> "ParquetFile":
        self._context = atomic_file(self.root / self.relative)
        self._out = self._context.__enter__()
        self._writer = pq.ParquetWriter(
            self._out,
            self.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=False,
        )
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows == 0:
            return
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            table = pa.Table.from_batches(self._pending, schema=self.schema)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
            self._pending = []
            self._pending_bytes = 0

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        try:
            if kind is None:
                self._flush()
                self._writer.close()
        except BaseException as error:
            self._context.__exit__(type(error), error, error.__traceback__)
            raise
        self._context.__exit__(kind, value, trace)
        if kind is None:
            self.record = FileRecord(
                self.relative, self._out.bytes, self._out.digest.hexdigest(), self.rows
            )


@contextmanager
def open_parquet(path: Location) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file for reading: mapped into memory, or by requests for parts of an object.

    Raises:
      OSError: it cannot be read; names the path.
    """
    if not storage.is_remote(path):
        with pq.ParquetFile(path, memory_map=True) as file:
            yield file
        return
    with storage.open_binary(path) as raw, pq.ParquetFile(raw) as file:
        yield file


def read_table(path: Location, columns: list[str] | None = None) -> pa.Table:
    """Return columns of a Parquet file; raises as `open_parquet`."""
    # Not through pq.read_table: it makes a dataset of each file, which takes twice as long.
    with open_parquet(path) as file:
        return file.read(columns).select(columns) if columns else file.read()


def sha256_file(path: Location) -> str:
    if not storage.is_remote(path):
        with open(cast(Path, path), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    with storage.open_binary(path) as file:
        while piece := file.read(storage.BLOCK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Return the sha256 of the canonical JSON of `value`: the identity of a config or a plan."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
