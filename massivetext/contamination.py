"""Contamination: which items of a test set stand in the training documents (PaLM, section 8).

An item is contaminated when at least 70 % of its distinct 8-grams occur in the training documents,
anywhere: what is found may be spread over many of them. Words are those of the overlap stage (see
`shingles`). An item without 8 consecutive words has no 8-gram, so nothing can be said of it: it is
short, and counts neither as clean nor as contaminated.

The overlap stage has removed the documents that are like a test document. What is measured here is
what such a rule leaves: quotations, and items inside longer pages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from .dataset import read_json
from .document import text_buffers
from .errors import ConfigError, StageError
from .overlap_hits import find_hits
from .overlap_index import Index, build_index
from .progress import Progress
from .test_items import read_passages
from .test_sets import Item
from .threads import cores, for_each

NGRAM = 8
# Contaminated from this share of an item's 8-grams on, in tenths, which whole numbers decide.
TENTHS = 7
# Rows of text that a thread has at a time: some MB of most documents.
BATCH_ROWS = 512

Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Of the items of one test set, in their order: distinct 8-grams, and those found. int64 [n]"""

    ngrams: Integers
    found: Integers

    @property
    def short(self) -> Bools:
        """bool [n]: items that have no 8-gram."""
        return self.ngrams == 0

    @property
    def contaminated(self) -> Bools:
        """bool [n]: items of whose 8-grams at least 70 % are found."""
        return ~self.short & (10 * self.found >= TENTHS * self.ngrams)

    @property
    def clean(self) -> Bools:
        return ~self.short & ~self.contaminated

    def tenths(self) -> Integers:
        """Return how many items have a share found from 0, 0.1, ... 0.9 on, and exactly 1;
        int64 [11]. Short items are not counted."""
        long = ~self.short
        return np.bincount(10 * self.found[long] // self.ngrams[long], minlength=11)


class Passages:
    """The index of the passages of several test sets, and which item each of them belongs to."""

    def __init__(self, files: dict[str, str], text_field: str):
        """Args:
          files: path of each test set by its name.

        Raises:
          InputError: a test set cannot be read, is empty, or has a line that is no item.
        """
        self.items: dict[str, int] = {}
        owners: list[int] = []

        def passages() -> Iterator[Item]:
            number = 0
            for name, path in files.items():
                first = number
                for line in read_passages(path, text_field):
                    for text in line.passages:
                        owners.append(number)
                        yield Item(name, str(line.number), text)
                    number += 1
                self.items[name] = number - first

        self.index: Index = build_index(passages(), NGRAM)
        # A passage of fewer words is one shingle, of all its words: none of the 8-grams asked for.
        whole = self.index.lengths[self.index.items] == NGRAM
        key = np.repeat(np.arange(len(self.index.keys)), np.diff(self.index.starts))[whole]
        owner = np.array(owners, np.int64)[self.index.items[whole]]
        # Passages of an item stand together in a key's postings: what both have counts once.
        new = np.ones(len(key), bool)
        new[1:] = (np.diff(key) != 0) | (np.diff(owner) != 0)
        self._key, self._owner = key[new], owner[new]

    def judge(self, found: Bools) -> dict[str, Judged]:
        """Return what is found of every item, by test set.

        Args:
          found: bool [keys], which n-grams of the index the documents hold.
        """
        total = sum(self.items.values())
        ngrams = np.bincount(self._owner, minlength=total)
        held = np.bincount(self._owner[found[self._key]], minlength=total)
        judged, first = {}, 0
        for name, count in self.items.items():
            judged[name] = Judged(ngrams[first : first + count], held[first : first + count])
            first += count
        return judged


def documents_manifest(root: Path) -> dict[str, Any]:
    """Return the manifest of the training documents in `root`.

    Raises:
      ConfigError: there is none.
    """
    path = root / "manifests" / "documents.json"
    if not path.is_file():
        raise ConfigError(f"{root} holds no training documents; run massivetext build first")
    manifest: dict[str, Any] = read_json(path)
    return manifest


def find_ngrams(
    root: Path,
    manifest: dict[str, Any],
    index: Index,
    *,
    threads: int | None = None,
    quiet: bool = False,
) -> Bools:
    """Return which n-grams of the index the training documents in `root` hold: bool [keys].

    Memory: that of the index, and for each thread a row group of documents.

    Args:
      manifest: of the stage `documents`.
      threads: as many as there are cores, unless given.

    Raises:
      StageError: a file of documents is missing, damaged or not the one of the manifest.
    """
    found = np.zeros(len(index.keys), np.bool_)
    done, adding = 0, Lock()

    def look(group: tuple[Path, int]) -> None:
        nonlocal done
        for text in _texts(*group):
            data, offsets = text_buffers(text)
            found[find_hits(data, offsets, index).keys] = True
            with adding:
                done += int(offsets[-1] - offsets[0])

    total = sum(subset["bytes"] for subset in manifest["subsets"].values())
    with Progress("contamination", total, lambda: done, quiet=quiet):
        for_each(_row_groups(root, manifest), look, threads or cores())
    return found


def _row_groups(root: Path, manifest: dict[str, Any]) -> Iterator[tuple[Path, int]]:
    for _, subset in sorted(manifest["subsets"].items()):
        for entry in subset["parts"]:
            path = root / entry["path"]
            try:
                metadata = pq.read_metadata(path)
            except (OSError, pa.ArrowException) as error:
                raise _unreadable(path, error) from error
            if metadata.num_rows != entry["rows"]:
                raise StageError(
                    f"{path} has {metadata.num_rows:,} documents, its manifest {entry['rows']:,}; "
                    "delete manifests/documents.json and build again"
                )
            for group in range(metadata.num_row_groups):
                yield path, group


def _texts(path: Path, group: int) -> Iterator[pa.Array]:
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=["text"]):
                yield batch.column(0)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> StageError:
    return StageError(
        f"{path} cannot be read ({error}); delete manifests/documents.json and build again"
    )
