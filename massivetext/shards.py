"""Training shards as a person or a trainer reads them: record k of the training order, at once.

`manifest.json` says everything about a folder of shards; `docs/shards.md` gives the format to the
byte. Files are memory-mapped, so opening costs nothing and any number of processes may read.
"""

import mmap
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .dataset import read_json
from .errors import InputError, nearest
from .tfrecord import Layout, layout

FORMAT = "massivetext-shards"
VERSION = 1
# Well below the number of maps that Linux gives a process (65,530).
OPEN_FILES = 1024

Tokens = npt.NDArray[np.unsignedinteger]
Integers = npt.NDArray[np.int64]


class Records(NamedTuple):
    """Consecutive records: `tokens` [n, L + 1] (uint16 or uint32), the rest int64 [n].

    A record's inputs are its first L tokens and its targets the last L. Only the first `targets` of
    them are real: fewer than L in the last sequence of a subset, which is padded.
    """

    tokens: Tokens
    subset: Integers
    sequence: Integers
    epoch: Integers
    targets: Integers


class RecordFiles:
    """Fixed-width records spread over files, read as one array.

    Args:
      files: (path, number of records) of each file, in order.
      subset_tokens: tokens there are of each subset, by index; tells what is padding.
      check: compare the CRC-32C of every record that is read.

    Raises:
      InputError: a file is missing or has another size than its records have.
    """

    def __init__(
        self,
        files: Sequence[tuple[Path, int]],
        record: Layout,
        subset_tokens: Integers,
        check: bool,
    ):
        self.record = record
        self.paths = [path for path, _ in files]
        self.starts = [0, *accumulate(count for _, count in files)]
        self._subset_tokens = subset_tokens
        self._check = check
        self._map = lru_cache(OPEN_FILES)(_map)
        for path, count in files:
            _check_size(path, count, record.record_bytes)

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, k: int) -> Tokens:
        """Return the tokens of record k, [L + 1].

        Raises:
          IndexError: there is no record k.
          InputError: the record is corrupt; names file, record and byte offset.
        """
        if not 0 <= k < len(self):
            raise IndexError(f"record {k} is outside the {len(self)} records")
        file, record = self.locate(k)
        path = self.paths[file]
        return self.record.tokens_at(self._map(path), path, record, self._check)

    def locate(self, k: int) -> tuple[int, int]:
        """Return the number of the file that holds record k, and the record's number in it."""
        file = bisect_right(self.starts, k) - 1
        return file, k - self.starts[file]

    def framed(self, file: int, first: int, count: int) -> npt.NDArray[np.void]:
        """Return `count` records of one file from `first` on as they lie there, not copied."""
        offset = first * self.record.record_bytes
        return np.frombuffer(self._map(self.paths[file]), self.record.dtype, count, offset)

    def read(self, start: int, stop: int) -> Records:
        """Return the records [start, stop); errors as for a single one."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"[{start}, {stop}) is outside the {len(self)} records")
        width = self.record.width
        tokens = np.empty((stop - start, width), self.record.tokens.newbyteorder("="))
        columns = np.empty((3, stop - start), np.int64)
        at = start
        while at < stop:
            file, first = self.locate(at)
            count = min(stop, self.starts[file + 1]) - at
            rows = slice(at - start, at - start + count)
            tokens[rows], *rest = self.record.decode(
                self.framed(file, first, count), self.paths[file], first, self._check
            )
            columns[:, rows] = rest
            at += count
        subset, sequence, epoch = columns
        if subset.size and subset.max() >= len(self._subset_tokens):
            bad = int(subset.argmax())
            raise InputError(
                f"record {start + bad} has the subset index {subset[bad]}, which the manifest does "
                "not have: the shards and the manifest are of different runs"
            )
        length = width - 1
        targets = np.clip(self._subset_tokens[subset] - sequence * length, 0, length)
        return Records(tokens, subset, sequence, epoch, targets)


class HeldOut(RecordFiles):
    """The held-out documents of one subset, packed like training sequences, in their order.

    Attributes:
      targets: real targets in all records: every token of the documents, ends included, once.
      text_bytes: UTF-8 bytes of the documents' text, for bits per byte.
      documents: number of documents.
    """

    def __init__(
        self, path: Path, entry: dict[str, Any], subsets: int, record: Layout, check: bool
    ):
        self.targets: int = entry["targets"]
        self.text_bytes: int = entry["text_bytes"]
        self.documents: int = entry["documents"]
        tokens = np.full(subsets, self.targets, np.int64)
        super().__init__([(path, entry["sequences"])], record, tokens, check)


class Shards(RecordFiles):
    """A folder of shards: `len(shards)` records in training order.

    Attributes:
      folder: where the shards are.
      manifest: the contents of `manifest.json` (docs/shards.md).
      heldout_names: subsets that have held-out records.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], check: bool):
        self.folder = folder
        self.manifest = manifest
        self.sequence_length: int = manifest["sequence_length"]
        record = layout(self.sequence_length + 1, manifest["dtype"])
        files = [(folder / entry["path"], int(entry["records"])) for entry in manifest["files"]]
        tokens = [entry["available_tokens"] for entry in manifest["subsets"]]
        super().__init__(files, record, np.array(tokens, np.int64), check)

    @classmethod
    def open(cls, folder: Path | str, check: bool = True) -> "Shards":
        """Open the shards in `folder`.

        Raises:
          InputError: no manifest, one that this version cannot read, a missing file, or a file
            whose size is wrong.
        """
        return cls(Path(folder), read_manifest(Path(folder)), check)

    @property
    def heldout_names(self) -> tuple[str, ...]:
        return tuple(self.manifest["heldout"])

    def heldout(self, subset: str) -> HeldOut:
        """Return the held-out records of `subset`.

        Raises:
          InputError: the subset has none, or its file is missing or of the wrong size.
        """
        entries = self.manifest["heldout"]
        if subset not in entries:
            raise InputError(
                f"{self.folder} has no held-out set of {subset!r}{nearest(subset, entries)}"
            )
        entry = entries[subset]
        subsets = len(self.manifest["subsets"])
        return HeldOut(self.folder / entry["path"], entry, subsets, self.record, self._check)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return `manifest.json` of a folder of shards.

    Raises:
      InputError: there is none, or it is of another format or version.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise InputError(f"no shards in {folder}: {path} is missing; run massivetext mix first")
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path} is not a manifest of shards (format {FORMAT!r})")
    if manifest.get("version") != VERSION:
        raise InputError(
            f"{path} has version {manifest.get('version')}; this massivetext reads {VERSION}: "
            "use the one that wrote it, or run massivetext mix again"
        )
    return manifest


def _map(path: Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _check_size(path: Path, count: int, record_bytes: int) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run massivetext mix again") from error
    if size != count * record_bytes:
        whole, left = divmod(size, record_bytes)
        raise InputError(
            f"{path} has {size:,} bytes instead of {count * record_bytes:,}: {whole} whole records "
            f"of {count}"
            + (f", then {left} bytes at byte {whole * record_bytes:,}" if left else "")
            + "; delete it and run massivetext mix again"
        )
