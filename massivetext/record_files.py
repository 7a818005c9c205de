"""Fixed-width records over files, read as one array: record k lies at a computable offset."""

import mmap
import operator
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .tfrecord import Layout

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

    Processes that are started with it open the files anew.

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
        files: Sequence[tuple[Path, int]],
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
        self._map = lru_cache(OPEN_FILES)(self._open_map)
        for file in range(len(files)):
            self._check_size(file)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_map"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _map=lru_cache(OPEN_FILES)(self._open_map))

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
        tokens = self.record.tokens_at(self._map(file), self.paths[file], record, self._check)
        if self._check and tokens.max() >= self._vocab_size:
            self._refuse(k, "a token is outside the vocabulary")
        return tokens

    def locate(self, k: int) -> tuple[int, int]:
        """Return the number of the file that holds record k, and the record's number in it."""
        file = bisect_right(self.starts, k) - 1
        return file, k - self.starts[file]

    def framed(self, file: int, first: int, count: int) -> npt.NDArray[np.void]:
        """Return `count` records of one file from `first` on as they lie there, not copied."""
        offset = first * self.record.record_bytes
        return np.frombuffer(self._map(file), self.record.dtype, count, offset)

    def read(self, start: int, stop: int) -> Records:
        """Return the records [start, stop); errors as for a single one."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"[{start}, {stop}) is outside the {len(self)} records")
        parts = []
        for first, last in self._within_files(start, stop):
            file, record = self.locate(first)
            framed = self.framed(file, record, last - first)
            parts.append(self.record.decode(framed, self.paths[file], record, self._check))
        if not parts:
            none = np.empty(0, self.record.dtype)
            parts.append(self.record.decode(none, Path(), 0, False))
        # A batch lies in one file almost always: not copied again then.
        tokens, subset, sequence, epoch = (
            parts[0]
            if len(parts) == 1
            else (np.concatenate(column) for column in zip(*parts, strict=True))
        )
        targets = self._targets(start, tokens, subset, sequence)
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

    def _targets(
        self, start: int, tokens: Tokens, subset: Integers, sequence: Integers
    ) -> Integers:
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
        if self._check and tokens.max() >= self._vocab_size:
            bad = int(tokens.max(axis=1).argmax())
            self._refuse(start + bad, "a token is outside the vocabulary")
        return targets

    def _refuse(self, k: int, what: str) -> NoReturn:
        file, record = self.locate(k)
        offset = record * self.record.record_bytes
        raise InputError(
            f"{self.paths[file]}: record {record} at byte {offset:,} (record {k:,} of all): {what}"
        )

    def _open_map(self, file: int) -> mmap.mmap:
        # The file may have changed since it was opened, and a map beyond its end kills the process.
        self._check_size(file)
        with self.paths[file].open("rb") as opened:
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)

    def _check_size(self, file: int) -> None:
        path, first, end = self.paths[file], self.starts[file], self.starts[file + 1]
        width = self.record.record_bytes
        try:
            size = path.stat().st_size
        except OSError as error:
            raise InputError(
                f"{path} is missing ({error.strerror}), with the records {first:,} to {end - 1:,} "
                "of all; run massivetext mix again"
            ) from error
        if size != (end - first) * width:
            whole, left = divmod(size, width)
            raise InputError(
                f"{path} has {size:,} bytes instead of {(end - first) * width:,}: {whole} whole "
                f"records of {end - first}"
                + (f", then {left} bytes at byte {whole * width:,}" if left else "")
                + "; delete it and run massivetext mix again"
            )


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
