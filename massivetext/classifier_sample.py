"""Draw the documents that a quality classifier is trained on: seeded, in bounded memory.

Of each class the documents with the smallest seeded hash of their id are taken, so the sample
depends on ids and seed alone: not on the order of files, their number or the workers. Ids are
hashed before anything else is done, so that of a large archive only the pages that may still be
drawn are extracted: some k (1 + ln(n / k)) of n pages for a sample of k.
"""

import glob
import heapq
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from .config import Format, Subset
from .document import PAGE, DeadLetter, DeadLetters, text_buffers
from .errors import ConfigError, StageError
from .extract import extract_batch
from .hashing import hash_rows, hash_string
from .readers import Split, plan, read
from .readers.stream import uncompressed_name

# Keeps this choice apart from others that hash ids under the same seed.
SALT = 0x434C4153
LARGEST_HASH = 2**64 - 1

FORMATS = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".warc": Format.WARC,
    ".wet": Format.WET,
    ".xml": Format.MEDIAWIKI,
}
_COMPRESSIONS = ("", ".gz", ".bz2", ".zst")

# What fastText takes for the end of a word.
_TO_BLANKS = bytes(32 if byte in b" \n\r\t\v\f\0" else byte for byte in range(256))

_BINS = 1 << 16
_BIN_SHIFT = 48
_NO_TEXT, _NOT_EXTRACTED = 0, 1


@dataclass(frozen=True)
class Source:
    """One piece of input and its format."""

    split: Split
    format: Format


def find(paths: Iterable[str], label: str) -> list[Source]:
    """Expand files, globs and folders into pieces to read, in a canonical order.

    The ending tells the format; of a folder, all files with a known ending are taken.

    Raises:
      ConfigError: a path matches nothing, cannot be read, or has an unknown ending.
    """
    include = tuple(f"*{ending}{pack}" for ending in FORMATS for pack in _COMPRESSIONS)
    files = plan(Subset(input=tuple(paths), format=Format.FILES, include=include), label)
    sources = []
    for split in files:
        for name, path in zip(split.names, split.paths, strict=True):
            kind = _format(path, label)
            subset = Subset(input=(glob.escape(path),), format=kind)
            for piece in plan(subset, label):
                sources.append(Source(replace(piece, names=(name,)), kind))
    return sources


def _format(path: str, label: str) -> Format:
    name = uncompressed_name(path).lower()
    for ending, kind in FORMATS.items():
        if name.endswith(ending):
            return kind
    raise ConfigError(
        f"{label}: {path}: the ending does not tell the format; valid: {', '.join(FORMATS)}, "
        "each also with .gz, .bz2 or .zst"
    )


@dataclass
class Sample:
    """The `keep` documents with the smallest hash of the id among those added.

    Attributes:
      size: bytes of each text that are kept, at most; texts are cut between words.
      limit: a document with a larger hash cannot be drawn any more.
      records, rejected: how many were read, and how many could not be read.
      error: of one that could not be read or extracted; "" if there is none.
    """

    keep: int
    size: int
    seed: int
    limit: int = LARGEST_HASH
    records: int = 0
    rejected: int = 0
    error: str = ""
    _heap: list[tuple[int, str, bytes]] = field(default_factory=list)
    # Pages without text and pages that extraction failed on, by the upper bits of their hash: how
    # many were met depends on the order of files, how many are below the final limit does not.
    _lost: np.ndarray = field(default_factory=lambda: np.zeros((2, _BINS), np.int64))

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the documents or pages of `batch`; those that may be drawn are extracted."""
        self.records += batch.num_rows
        rows = np.flatnonzero(self._hashes(batch) <= np.uint64(self.limit))
        if len(rows) == 0:
            return
        chosen = batch.take(pa.array(rows))
        if batch.schema.equals(PAGE):
            chosen = extract_batch(chosen, "extract", _Rejected(self._not_extracted))
        texts, offsets = text_buffers(chosen.column("text"))
        for id_, hash_, start, stop in zip(
            chosen.column("id").to_pylist(),
            self._hashes(chosen).tolist(),
            offsets[:-1].tolist(),
            offsets[1:].tolist(),
            strict=True,
        ):
            text = first_words(texts[start : min(stop, start + self.size + 1)].tobytes(), self.size)
            if text:
                self._push((-hash_, id_, text))
            else:
                self._lost[_NO_TEXT, hash_ >> _BIN_SHIFT] += 1

    def merge(self, other: "Sample") -> None:
        """Add what a sample with the same settings has drawn from other records."""
        self.records += other.records
        self.rejected += other.rejected
        self.error = self.error or other.error
        self._lost += other._lost
        for item in other._heap:
            self._push(item)

    def reject(self, letter: DeadLetter) -> None:
        """Count a record that could not be read."""
        self.rejected += 1
        self.error = self.error or letter.error

    @property
    def without_text(self) -> int:
        """Documents that would have been drawn but hold no text."""
        return self._count(_NO_TEXT)

    @property
    def not_extracted(self) -> int:
        """Pages that would have been drawn but whose text could not be extracted."""
        return self._count(_NOT_EXTRACTED)

    def __len__(self) -> int:
        return len(self._heap)

    def texts(self) -> list[bytes]:
        """Return the texts drawn, by ascending hash: any start of the list is a sample too."""
        return [text for _, _, text in sorted(self._heap, reverse=True)]

    def _push(self, item: tuple[int, str, bytes]) -> None:
        if len(self._heap) < self.keep:
            heapq.heappush(self._heap, item)
        else:
            heapq.heappushpop(self._heap, item)
        if len(self._heap) == self.keep:
            self.limit = min(self.limit, -self._heap[0][0])

    def _hashes(self, batch: pa.RecordBatch) -> np.ndarray:
        return hash_rows(*text_buffers(batch.column("id")), self.seed ^ SALT)

    def _not_extracted(self, letter: DeadLetter) -> None:
        self._lost[_NOT_EXTRACTED, hash_string(letter.id, self.seed ^ SALT) >> _BIN_SHIFT] += 1
        self.error = self.error or letter.error

    def _count(self, kind: int) -> int:
        full = self.limit < LARGEST_HASH
        return int(self._lost[kind, : self.limit >> _BIN_SHIFT if full else _BINS].sum())


class _Rejected(DeadLetters):
    """Hands each letter on instead of keeping it: a broken archive has millions."""

    def __init__(self, tell: Callable[[DeadLetter], None]):
        super().__init__()
        self._tell = tell

    def add(self, letter: DeadLetter) -> None:
        self._tell(letter)


def first_words(text: bytes, size: int) -> bytes:
    """Return the whole words in the first `size` bytes of UTF-8, white space made blanks.

    A single word beyond `size` is cut between characters.
    """
    line = text.translate(_TO_BLANKS)
    if len(line) > size:
        end = line.rfind(b" ", 0, size + 1)
        if line[: max(end, 0)].strip():
            line = line[:end]
        else:
            line = line[:size].decode("utf-8", "ignore").encode()
    return line.strip()


def draw(
    sources: list[Source],
    label: str,
    *,
    documents: int,
    size: int,
    seed: int,
    workers: int,
    on_bytes: Callable[[int], None],
) -> Sample:
    """Draw `documents` documents of the class `label`, each cut to `size` bytes.

    Each process holds at most `documents * size` bytes of text, and this one as much again for
    each worker that hands over what it has drawn.

    Args:
      workers: processes that read; the sample does not depend on them.
      on_bytes: is told how many more bytes of the input have been read.

    Raises:
      InputError: a file cannot be read at all.
      StageError: a worker died.
    """
    total = Sample(documents, size, seed)
    if workers == 1 or len(sources) == 1:
        for source in sources:
            _read(source, label, total, on_bytes)
        return total
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    waiting = iter(sources)
    running: set[Future[Sample]] = set()
    reported = 0
    with ProcessPoolExecutor(
        min(workers, len(sources)), context, initializer=_share, initargs=(counter,)
    ) as pool:
        try:
            while True:
                for source in islice(waiting, workers - len(running)):
                    empty = Sample(documents, size, seed, total.limit)
                    running.add(pool.submit(_part, source, label, empty))
                if not running:
                    return total
                finished, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                for part in finished:
                    total.merge(part.result())
                seen = counter.value
                on_bytes(seen - reported)
                reported = seen
        except BrokenProcessPool as error:
            raise StageError(
                f"a worker died while reading {label} (out of memory?); use fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _read(source: Source, label: str, sample: Sample, on_bytes: Callable[[int], None]) -> None:
    last = 0

    def advance(count: int) -> None:
        nonlocal last
        on_bytes(count - last)
        last = count

    subset = Subset(input=source.split.paths, format=source.format)
    for batch in read(source.split, subset, label, _Rejected(sample.reject), advance):
        sample.add(batch)


_counter: Any = None  # of this worker: bytes read by all of them


def _share(counter: Any) -> None:
    global _counter
    _counter = counter


def _part(source: Source, label: str, sample: Sample) -> Sample:
    def advance(count: int) -> None:
        with _counter.get_lock():
            _counter.value += count

    _read(source, label, sample, advance)
    return sample
