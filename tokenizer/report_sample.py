"""Draw the text that a tokenizer is judged on: seeded, from every subset, in bounded memory.

Documents above `PASSAGE_BYTES` are cut into passages, so that novels are not judged by their first
pages; passages are ordered by a seeded hash of their document's id and place, and the first ones
are taken until the subset's budget is full. Of a dataset with many row groups a seeded choice of
`ROW_GROUPS` is read per subset: enough to draw from, and the same work for a terabyte.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from glob import escape, has_magic
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from massivetext.config import Format, Subset
from massivetext.document import DeadLetter, DeadLetters, text_buffers
from massivetext.errors import ConfigError, InputError
from massivetext.hashing import hash_rows, hash_string
from massivetext.readers import plan, read
from massivetext.readers.stream import uncompressed_name

from .sample import truncate
from .train import cut

PASSAGE_BYTES = 1 << 16
ROW_GROUPS = 16
BATCH_ROWS = 1024

# Keeps this choice apart from others that hash ids under the same seed.
SALT = 0x52455054

FORMATS = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".txt": Format.FILES,
}

PASSAGE = pa.schema(
    [
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("language", pa.string()),
    ]
)

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Part:
    """A piece of input of one subset; `read` yields its batches and tells the bytes read so far."""

    subset: str
    bytes: int
    read: Callable[[OnBytes], Iterator[pa.RecordBatch]]


@dataclass
class Rejected(DeadLetters):
    """Counts records that could not be read, and keeps the error of the first."""

    count: int = 0
    error: str = ""

    def add(self, letter: DeadLetter) -> None:
        self.count += 1
        self.error = self.error or letter.error


@dataclass
class Sample:
    """The passages of one subset with the smallest hashes, up to `budget` bytes of text.

    Attributes:
      seen_bytes, seen_documents: what the passages were drawn from.
    """

    budget: int
    seed: int
    seen_bytes: int = 0
    seen_documents: int = 0
    _tables: list[pa.Table] = field(default_factory=list)
    _bytes: int = 0
    _limit: int = 2**64 - 1

    def add(self, batch: pa.RecordBatch) -> None:
        """Add documents: `id`, `text` and, if measured, `language`."""
        text = batch.column("text").cast(pa.large_string())
        language = pa.nulls(batch.num_rows, pa.string())
        if "language" in batch.schema.names:
            language = batch.column("language").cast(pa.string())
        self.seen_documents += batch.num_rows
        offsets = text_buffers(text)[1]
        sizes = np.diff(offsets)
        self.seen_bytes += int(sizes.sum())
        short = np.flatnonzero((sizes <= PASSAGE_BYTES) & (sizes > 0))
        documents = pa.table({"id": batch.column("id"), "text": text, "language": language})
        self._take(documents.take(pa.array(short)))
        for row in np.flatnonzero(sizes > PASSAGE_BYTES).tolist():
            self._take(_passages(*(column[row].as_py() for column in documents.columns)))

    def _take(self, rows: pa.Table) -> None:
        if rows.num_rows == 0:
            return
        ids = rows.column("id").combine_chunks().cast(pa.string())
        hashes = hash_rows(*text_buffers(ids), self.seed ^ SALT)
        chosen = pa.array(np.flatnonzero(hashes <= np.uint64(self._limit)))
        table = rows.append_column("hash", pa.array(hashes)).take(chosen)
        table = table.select(PASSAGE.names).cast(PASSAGE)
        self._tables.append(table)
        self._bytes += pc.sum(pc.binary_length(table.column("text"))).as_py() or 0
        if self._bytes > 2 * self.budget:
            self._prune()

    def _prune(self) -> None:
        table = pa.concat_tables(self._tables)
        table = table.sort_by([("hash", "ascending"), ("id", "ascending")])
        sizes = pc.binary_length(table.column("text")).to_numpy()
        before = np.cumsum(sizes) - sizes
        table = table.slice(0, int(np.searchsorted(before, self.budget)))
        self._tables = [table]
        self._bytes = int(sizes[: table.num_rows].sum())
        if self._bytes >= self.budget:
            self._limit = table.column("hash")[table.num_rows - 1].as_py()

    def passages(self) -> pa.Table:
        """Return the passages drawn, `PASSAGE`, by hash; the last is cut to fit the budget."""
        if not self._tables:
            return PASSAGE.empty_table()
        self._prune()
        [table] = self._tables
        over = self._bytes - self.budget
        if over <= 0:
            return table.combine_chunks()
        *_, last = table.column("text")
        kept = truncate(last.as_py(), len(last.as_py().encode()) - over)
        row = table.slice(table.num_rows - 1).set_column(
            2, PASSAGE.field("text"), pa.array([kept], pa.large_string())
        )
        return pa.concat_tables([table.slice(0, table.num_rows - 1), row]).combine_chunks()


def _passages(id_: str, text: str, language: str | None) -> pa.Table:
    """Return the passages of a long document, which is cut at line ends where it has any."""
    texts = list(cut(text.encode(), PASSAGE_BYTES))
    return pa.table(
        {
            "id": [f"{id_}#{place}" for place in range(len(texts))],
            "text": pa.array(texts, pa.large_binary()).cast(pa.large_string()),
            "language": pa.array([language] * len(texts), pa.string()),
        }
    )


def draw(parts: Sequence[Part], budget: int, seed: int, on_bytes: OnBytes) -> dict[str, Sample]:
    """Return a sample of at most `budget` bytes of text of each subset.

    Args:
      on_bytes: is told how many bytes of all parts have been read so far.
    """
    samples: dict[str, Sample] = {}
    done = 0
    for part in parts:
        sample = samples.setdefault(part.subset, Sample(budget, seed))
        for batch in part.read(lambda count, start=done: on_bytes(start + count)):  # type: ignore[misc]
            sample.add(batch)
        done += part.bytes
        on_bytes(done)
    return samples


def find(data: Sequence[str], seed: int, rejected: Rejected) -> list[Part]:
    """Return the parts of dataset folders, files, globs and folders of files.

    A dataset gives its subsets; every other entry is a subset of the name of the file or folder.

    Raises:
      ConfigError: an entry matches nothing, or an ending does not tell the format.
    """
    parts = []
    for entry in data:
        documents = Path(entry) / "documents"
        if (Path(entry) / "manifests").is_dir() and documents.is_dir():
            for folder in sorted(path for path in documents.iterdir() if path.is_dir()):
                parts += _dataset(folder, seed)
        else:
            parts += _files(entry, rejected)
    return parts


def _dataset(folder: Path, seed: int) -> list[Part]:
    groups = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            metadata = pq.read_metadata(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path} is not a documents file: {error}; build it again") from error
        for group in range(metadata.num_row_groups):
            key = hash_string(f"{folder.name}/{path.name}@{group}", seed ^ SALT)
            groups.append((key, path, group, metadata.row_group(group).total_byte_size))
    chosen = sorted(groups)[:ROW_GROUPS]
    return [
        Part(folder.name, size, partial(_row_group, path, group)) for _, path, group, size in chosen
    ]


def _row_group(path: Path, group: int, on_bytes: OnBytes) -> Iterator[pa.RecordBatch]:
    done = 0
    with pq.ParquetFile(path) as file:
        columns = [name for name in ("id", "text", "language") if name in file.schema_arrow.names]
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
            yield batch
            done += batch.nbytes
            on_bytes(done)


def _files(entry: str, rejected: Rejected) -> list[Part]:
    packs = ("", ".gz", ".bz2", ".zst")
    include = tuple(f"*{ending}{pack}" for ending in FORMATS for pack in packs)
    name = entry if has_magic(entry) else Path(entry).name.partition(".")[0]
    parts = []
    for split in plan(Subset(input=(entry,), format=Format.FILES, include=include), name):
        for path in split.paths:
            ending = Path(uncompressed_name(path).lower()).suffix
            if ending not in FORMATS:
                raise ConfigError(
                    f"{path}: the ending does not tell the format; valid: {', '.join(FORMATS)}, "
                    "each also with .gz, .bz2 or .zst, or the output folder of a build"
                )
            subset = Subset(input=(escape(path),), format=FORMATS[ending])
            for piece in plan(subset, name):
                work = partial(read, piece, subset, name, rejected)
                parts.append(Part(name, piece.bytes, work))
    return parts
