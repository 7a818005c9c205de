"""A part of a stage: what it is, what it gave, and the outputs that its work opens."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from massivetext.dataset import FileRecord, HashingFile, ParquetFile, atomic_file
from massivetext.document import DEAD_LETTER, DeadLetters
from massivetext.storage import Location

PROGRESS_SECONDS = 0.5


@dataclass(frozen=True)
class Part:
    """One unit of a stage. `name` is its identity in the outputs; `bytes` weighs it for progress;
    `arguments` is JSON."""

    name: str
    bytes: int
    arguments: dict[str, Any]

    @property
    def stem(self) -> str:
        """The name, as that of a file."""
        return self.name.replace("/", "-")


@dataclass
class PartResult:
    """What a part produced: counters by name, finished files, and anything JSON in `extra`."""

    counts: dict[str, int] = field(default_factory=dict)
    files: list[FileRecord] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


class PartOutput:
    """Handed to `Work.run`: opens output files below the dataset and records what was done."""

    def __init__(
        self, root: Location, stage: str, part: Part, progress_file: Location | None = None
    ):
        self.root = root
        self.stage = stage
        self.part = part
        self.counts: Counter[str] = Counter()
        self.extra: dict[str, Any] = {}
        self.dead = DeadLetters()
        self.files: list[FileRecord] = []
        self._progress_file = progress_file
        self._reported = 0.0

    @contextmanager
    def parquet(self, relative: str, schema: pa.Schema) -> Iterator[ParquetFile]:
        """Open a Parquet output at `relative`; it exists under that name only when whole."""
        file = ParquetFile(self.root, relative, schema)
        with file:
            yield file
        assert file.record is not None
        self.files.append(file.record)

    @contextmanager
    def file(self, relative: str) -> Iterator[HashingFile]:
        """Open a binary output at `relative`; set `counts` for its rows."""
        with atomic_file(self.root / relative) as out:
            yield out
        self.files.append(FileRecord(relative, out.bytes, out.digest.hexdigest(), 0))

    def progress(self, done: int) -> None:
        """Tell a person watching that `done` of the part's bytes are behind us."""
        now = time.monotonic()
        if self._progress_file is not None and now - self._reported > PROGRESS_SECONDS:
            self._reported = now
            behind = min(done, self.part.bytes)
            self._progress_file.write_text(f"{behind} {self.counts['documents']}")

    def finish(self) -> PartResult:
        if self.dead.letters:
            path = f"dead/{self.stage}/{self.part.stem}.parquet"
            with self.parquet(path, DEAD_LETTER) as file:
                file.write(self.dead.to_batch())
            self.counts["dead_letters"] += len(self.dead.letters)
        return PartResult(dict(self.counts), self.files, self.extra)


def add_counts(results: list[PartResult]) -> dict[str, int]:
    """Sum the counters of all parts."""
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.counts)
    return dict(sorted(total.items()))
