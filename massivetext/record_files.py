"""Fixed-width records over files, read as one array: record k lies at a computable offset."""

import errno
import mmap
import operator
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .errors import InputError
from .range_reads import ReadAhead
from .storage import Location, is_remote, sizes
from .store_errors import reason
from .tfrecord import Bytes, Columns, Integers, Layout, Tokens

# A map keeps its file open, and a process may usually have 1,024 open.
OPEN_FILES = 384


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

    Local files are mapped, those of an object store read by ranges. Processes that are started with
    it open the files anew.

    Args:
      files: (path, number of records) of each file, in order.
      subset_tokens: tokens there are of each subset, by index; tells what is padding.
      vocab_size: of the tokenizer.
      check: judge every record that is read: CRC-32C, and tokens within the vocabulary.

    Raises:
      InputError: a file is missing or has another size than its records have.
    """

    def __init__(
        self,
        files: Sequence[tuple[Location, int]],
        record: Layout,
        subset_tokens: Integers,
        vocab_size: int,
        check: bool,
    ):
        self.record = record
        self.paths = [path for path, _ in files]
        self.starts = [0, *accumulate(count for _, count in files)]
        self._subset_tokens = subset_tokens
        self._vocab_size = vocab_size
        self._check = check
        self._prepare()
        for file, size in enumerate(self._sizes()):
            self._check_size(file, size)

    def _prepare(self) -> None:
        self._map = lru_cache(OPEN_FILES)(self._open_map)
        remote = any(map(is_remote, self.paths))
        bounds = [start * self.record.record_bytes for start in self.starts]
        self._stream = ReadAhead(self.paths, bounds) if remote else None

    def __getstate__(self) -> dict[str, Any]:
        made = ("_map", "_stream")
        return {name: value for name, value in vars(self).items() if name not in made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare()

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, k: int | slice) -> Tokens:
        """Return the tokens of record k, [L + 1], or of consecutive records, [n, L + 1].

        Negative numbers count from the end, as in a list.

        Raises:
          IndexError: there is no record k.
          InputError: the record is corrupt; names file, record and byte offset.
        """
        if isinstance(k, slice):
            start, stop, step = k.indices(len(self))
            if step != 1:
                raise ValueError(f"records are sliced with step 1, not {step}")
            return self.read(start, max(start, stop)).tokens
        k = operator.index(k)
        if not -len(self) <= k < len(self):
            raise IndexError(f"record {k} is outside the {len(self)} records")
        k %= len(self)
        file, record = self.locate(k)
        return self._decode(k, file, record, 1).tokens[0]

    def locate(self, k: int) -> tuple[int, int]:
        """Return the number of the file that holds record k, and the record's number in it."""
        file = bisect_right(self.starts, k) - 1
        return file, k - self.starts[file]

    def framed(self, file: int, first: int, count: int) -> Bytes:
        """Return `count` records of one file from `first` on as they lie there, not copied."""
        size = self.record.record_bytes
        if self._stream is not None:
            begin = self.starts[file] + first
            return self._stream.read(begin * size, (begin + count) * size)
        return self._map(file)[first * size : (first + count) * size]

    def read(self, start: int, stop: int) -> Records:
        """Return the records [start, stop); errors as for a single one."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"[{start}, {stop}) is outside the {len(self)} records")
        parts = [
            self._decode(first, *self.locate(first), last - first)
            for first, last in self._within_files(start, stop)
        ]
        if not parts:
            parts.append(self.record.decode(np.empty(0, np.uint8), Path(), 0, False))
        # A batch lies in one file almost always: not copied again then.
        tokens, subset, sequence, epoch = (
            parts[0][:4]
            if len(parts) == 1
            else (np.concatenate(column) for column in list(zip(*parts, strict=True))[:4])
        )
        targets = self._targets(start, subset, sequence)
        return Records(tokens, subset, sequence, epoch, targets)

    def batch(self, step: int, batch_size: int, shard: int = 0, num_shards: int = 1) -> Records:
        """Return the records of step `step`, or the part of them that one of several readers takes.

        Step k is the records [k * batch_size, (k + 1) * batch_size) whatever the number of readers;
        each takes a run of batch_size / num_shards of them, so together they take each one once.

        Raises:
          ValueError: the readers cannot share the batch evenly, or there is no such reader.
          IndexError: the records do not reach to the end of the step.
          InputError: a record is corrupt.
        """
        rows = share(batch_size, shard, num_shards)
        start = step * batch_size
        return self.read(start + rows.start, start + rows.stop)

    def _within_files(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the parts of [start, stop) that lie in each file."""
        if start == stop:
            return []
        ends = self.starts[bisect_right(self.starts, start) : bisect_left(self.starts, stop)]
        return list(pairwise([start, *ends, stop]))

    def _decode(self, k: int, file: int, first: int, count: int) -> Columns:
        """Return `count` records of a file from `first` on, which is record `k` of all."""
        framed = self.framed(file, first, count)
        found = self.record.decode(framed, self.paths[file], first, self._check, self._vocab_size)
        if found.beyond >= 0:
            self._refuse(k + found.beyond, "a token is outside the vocabulary")
        return found

    def _targets(self, start: int, subset: Integers, sequence: Integers) -> Integers:
        """Return the number of real targets of records; refuse records that cannot be there."""
        length = self.record.width - 1
        if not subset.size:
            return np.zeros(0, np.int64)
        if subset.max() >= len(self._subset_tokens):
            bad = int(subset.argmax())
            self._refuse(
                start + bad,
                f"its subset index {subset[bad]} is not in the manifest: the shards and the "
                "manifest are of different runs",
            )
        targets = np.clip(self._subset_tokens[subset] - sequence * length, 0, length)
        if targets.min() < 1:
            self._refuse(start + int(targets.argmin()), "it lies behind the subset's tokens")
        return targets

    def _refuse(self, k: int, what: str) -> NoReturn:
        file, record = self.locate(k)
        offset = record * self.record.record_bytes
        raise InputError(
            f"{self.paths[file]}: record {record} at byte {offset:,} (record {k:,} of all): {what}"
        )

    def _open_map(self, file: int) -> Bytes:
        # The file may have changed since it was opened, and a map beyond its end kills the process.
        self._check_size(file, _size(self.paths[file]))
        with self.paths[file].open("rb") as opened:
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.uint8)

    def _sizes(self) -> Iterator[int | OSError]:
        """Yield the size of each file, or why it is not known."""
        if self._stream is None:
            yield from map(_size, self.paths)
            return
        # Listed by folder: to ask for each of ten thousand shards would take minutes.
        folders = {path.parent for path in self.paths}
        try:
            found = {
                folder / name: size for folder in folders for name, size in sizes(folder).items()
            }
        except OSError as error:
            raise InputError(
                f"{self.paths[0].parent} cannot be listed ({reason(error)})"
            ) from error
        missing = FileNotFoundError(errno.ENOENT, "it is not in the store")
        yield from (found.get(path, missing) for path in self.paths)

    def _check_size(self, file: int, size: int | OSError) -> None:
        path, first, end = self.paths[file], self.starts[file], self.starts[file + 1]
        width = self.record.record_bytes
        if isinstance(size, OSError):
            raise InputError(
                f"{path} is missing ({size.strerror}), with the records {first:,} to {end - 1:,} "
                "of all; run massivetext mix again"
            ) from size
        if size != (end - first) * width:
            whole, left = divmod(size, width)
            raise InputError(
                f"{path} has {size:,} bytes instead of {(end - first) * width:,}: {whole} whole "
                f"records of {end - first}"
                + (f", then {left} bytes at byte {whole * width:,}" if left else "")
                + "; delete it and run massivetext mix again"
            )


def _size(path: Location) -> int | OSError:
    try:
        return path.stat().st_size
    except OSError as error:
        return error


def share(batch_size: int, shard: int, num_shards: int) -> range:
    """Return the rows of a batch that reader `shard` of `num_shards` takes.

    Raises:
      ValueError: the readers cannot share the batch evenly, or there is no such reader.
    """
    if num_shards < 1 or batch_size < 1 or batch_size % num_shards:
        raise ValueError(f"a batch of {batch_size} cannot be shared by {num_shards} readers")
    if not 0 <= shard < num_shards:
        raise ValueError(f"shard {shard} is outside [0, {num_shards})")
    part = batch_size // num_shards
    return range(shard * part, (shard + 1) * part)
