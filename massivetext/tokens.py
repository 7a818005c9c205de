"""Token stores: the tokens of each subset, kept apart so that new weights need no tokenising.

Each part of a subset has two files of little-endian integers:

    part-00000.tokens      uint16 or uint32: the tokens of every document, each closed by EOS
    part-00000.documents   uint64: where each document ends, in tokens from the start of the part

The stream of a subset is EOS, then all parts in the manifest's order. Its first EOS stands only for
the context of the first token. Sequence i of length L is `stream[i * L : i * L + L + 1]`:
neighbours share one token, so in an epoch every stored token is a target exactly once.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ConfigError, VerifyError, nearest
from .pieces import cut, read_pieces
from .range_reads import gather_ranges, read_range
from .storage import Location, is_remote, sizes
from .store_errors import reason

HELDOUT = "heldout/"
# Of all stores of a process, which may usually have 1,024 files open. The files of one gathering
# are held open beside those that are cached.
OPEN_FILES = 384
OPEN_AT_ONCE = 128

Integers = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.unsignedinteger]


def close_documents(tokens: np.ndarray, offsets: np.ndarray, eos_id: int) -> np.ndarray:
    """Return `tokens` with `eos_id` after each document.

    Args:
      tokens: tokens of n documents; document i is `tokens[offsets[i]:offsets[i + 1]]`.
      offsets: int64 [n + 1], from 0.
    """
    return np.insert(tokens, offsets[1:], eos_id)


def sequence_numbers(i: int | Integers, count: int) -> Integers:
    """Return one number, or several, as int64 [n].

    Raises:
      IndexError: a number is outside [0, count).
    """
    numbers = np.atleast_1d(np.asarray(i, np.int64))
    outside = numbers[(numbers < 0) | (numbers >= count)]
    if outside.size:
        raise IndexError(f"sequence {outside[0]} of {count}")
    return numbers


class TokenStore:
    """A subset's tokens as one stream: nothing is read before it is used, and nothing is kept.

    Attributes:
      documents: number of documents.
      text_bytes: UTF-8 bytes of their original texts (for bits per byte).
      dtype, eos_id, pad_id: of the tokens.
    """

    def __init__(self, root: Location, entry: Mapping[str, Any], manifest: Mapping[str, Any]):
        self.documents: int = entry["documents"]
        self.text_bytes: int = entry["text_bytes"]
        self.dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
        self.eos_id: int = manifest["eos_id"]
        self.pad_id: int = manifest["pad_id"]
        self._root = root
        self._parts = [part for part in entry["parts"] if part["tokens"]]
        self._listed = _listed_sizes(root, self._parts)
        self._files = [
            self._file(root / part["path"], part["tokens"], self.dtype) for part in self._parts
        ]
        self._ends = np.cumsum([0, *(part["tokens"] for part in self._parts)])
        self._document_starts = np.cumsum([0, *(part["documents"] for part in self._parts)])
        if len(self) != entry["tokens"]:
            raise VerifyError(
                f"the manifest of {root} gives a subset {entry['tokens']} tokens, its parts "
                f"{len(self)}; delete manifests/tokens.json and build again"
            )

    @classmethod
    def open(cls, root: Location, name: str, manifest: Mapping[str, Any]) -> "TokenStore":
        """Open the store of a subset, or of its held-out documents as `heldout/<subset>`.

        Raises:
          ConfigError: the manifest of the stage `tokens` has no such subset.
          VerifyError: a file is missing or has another size than the manifest says.
        """
        heldout = name.startswith(HELDOUT)
        stores = manifest["heldout" if heldout else "subsets"]
        subset = name.removeprefix(HELDOUT)
        if subset not in stores:
            raise ConfigError(f"there are no tokens of {name!r}{nearest(subset, stores)}")
        return cls(root, stores[subset], manifest)

    def __len__(self) -> int:
        """Number of stored tokens, which is the number of targets in an epoch."""
        return int(self._ends[-1])

    def gather(self, starts: Integers, sizes: Integers, out: Tokens, at: Integers) -> None:
        """Copy runs of stored tokens (without the stream's first EOS): run i, `sizes[i]` tokens
        from `starts[i]` on, to `out` from `at[i]` on. All int64 [runs]; `out` is of `dtype`, [n].

        Read, not mapped: the pages that a map touches count as a process's own, and where the
        system keeps files in large pages, some sequences of each are the whole store. Runs are read
        in the order of the store, which are one file's in one go and disks read fastest.

        Raises:
          VerifyError: a file has become shorter since it was opened.
        """
        run, part, begin, end = cut(starts, starts + sizes, self._ends)
        order = np.argsort(begin, kind="stable")
        run, part, begin, end = run[order], part[order], begin[order], end[order]
        to, size = at[run] + begin - starts[run], self.dtype.itemsize
        begin, end = begin - self._ends[part], end - self._ends[part]
        parts, first = np.unique(part, return_index=True)
        bounds = [*first.tolist(), len(part)]
        for i in range(0, len(parts), OPEN_AT_ONCE):
            some = parts[i : i + OPEN_AT_ONCE].tolist()
            here = slice(bounds[i], bounds[i + len(some)])
            self._read(some, part[here], size * begin[here], size * end[here], out, size * to[here])

    def slice(self, start: int, stop: int) -> Tokens:
        """Return stored tokens `start` to `stop` (without the stream's first EOS), read-only.

        Raises:
          VerifyError: a file has become shorter since it was opened.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"tokens {start} to {stop} of {len(self)}")
        out = np.empty(stop - start, self.dtype)
        self.gather(np.array([start]), np.array([stop - start]), out, np.zeros(1, np.int64))
        out.flags.writeable = False
        return out

    def sequences(self, length: int) -> int:
        """Number of sequences with `length` targets in an epoch; the last may be short of it."""
        return -(-len(self) // length)

    def targets(self, i: int, length: int) -> int:
        """Number of real targets of sequence `i`: `length`, or what is left for the last one."""
        sequence_numbers(i, self.sequences(length))
        return min(length, len(self) - i * length)

    def sequence(self, i: int | Integers, length: int) -> Tokens:
        """Return sequence `i`, `dtype` [length + 1], or several, [len(i), length + 1]: inputs are
        all but the last, targets all but the first token; after `targets(i, length)` targets comes
        `pad_id`.
        """
        numbers = sequence_numbers(i, self.sequences(length))
        start = numbers * length
        stop = np.minimum(start + length, len(self))
        out = np.empty((len(numbers), length + 1), self.dtype)
        out[stop - start < length] = self.pad_id
        out[start == 0, 0] = self.eos_id
        # With the token before it, which is an EOS where there is none.
        first = np.maximum(start - 1, 0)
        at = np.arange(len(numbers)) * (length + 1) + (start == 0)
        self.gather(first, stop - first, out.reshape(-1), at)
        return out[0] if np.ndim(i) == 0 else out

    def document_ends(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return where the documents `start` to `stop` end (after their EOS) in stored tokens,
        uint64 [stop - start]; of all documents unless told."""
        counts = self._document_starts
        stop = int(counts[-1]) if stop is None else stop
        if not 0 <= start <= stop <= counts[-1]:
            raise IndexError(f"documents {start} to {stop} of {counts[-1]}")
        ends = [np.zeros(0, np.uint64)]
        first = int(np.searchsorted(counts, start, "right")) - 1
        last = int(np.searchsorted(counts, stop, "left")) - 1
        for i in range(first, last + 1 if start < stop else first):
            here = max(start - counts[i], 0), min(stop, counts[i + 1]) - counts[i]
            ends.append(self._read_documents(i, *map(int, here)) + np.uint64(self._ends[i]))
        return np.concatenate(ends)

    def _read(
        self,
        parts: list[int],
        part: Integers,
        begin: Integers,
        end: Integers,
        out: Tokens,
        to: Integers,
    ) -> None:
        """Read the bytes [begin, end) of each piece's part to the byte `to` of `out`."""
        if is_remote(self._root):
            gather_ranges(
                [file.path for file in self._files], part, begin, end, out.view(np.uint8), to
            )
            return
        files = [self._files[number].open() for number in parts]
        numbers = np.array([file.number for file in files], np.int32)
        numbers = numbers[np.searchsorted(parts, part)]
        failed = read_pieces(numbers, begin, end, out.view(np.uint8), to)
        if failed >= 0:
            # Raises what the system has to say, if it has.
            os.pread(int(numbers[failed]), 1, int(begin[failed]))
            raise VerifyError(
                f"{self._files[part[failed]].path} became shorter while it was read; delete "
                "manifests/tokens.json and build again"
            )

    def _read_documents(self, i: int, start: int, stop: int) -> np.ndarray:
        path = (self._root / self._parts[i]["path"]).with_suffix(".documents")
        ends = np.dtype("<u8")
        self._file(path, self._parts[i]["documents"], ends)
        if is_remote(path):
            return np.frombuffer(
                read_range(path, start * ends.itemsize, stop * ends.itemsize), ends
            )
        return np.fromfile(path, ends, stop - start, offset=start * ends.itemsize)

    def _file(self, path: Location, count: int, dtype: np.dtype[Any]) -> "_File":
        return _File(path, count, dtype.itemsize, self._listed.get(path))


def _listed_sizes(root: Location, parts: Sequence[Mapping[str, Any]]) -> dict[Location, int]:
    """Return the sizes of the files of parts on an object store, which has them by the folder;
    nothing of a disk, where asking for each costs nothing."""
    if not is_remote(root):
        return {}
    folders = {(root / part["path"]).parent for part in parts}
    try:
        return {folder / name: size for folder in folders for name, size in sizes(folder).items()}
    except OSError as error:
        raise VerifyError(f"{root} cannot be listed ({reason(error)})") from error


class _File:
    """A file of `count` integers of `width` bytes, opened when it is needed.

    Args:
      listed: its size, where it is known.
    """

    def __init__(self, path: Location, count: int, width: int, listed: int | None = None):
        self.path = path
        try:
            found = None if is_remote(path) else path.stat()
            size = listed if found is None else found.st_size
            if size is None:
                raise FileNotFoundError(errno.ENOENT, "it is not in the store")
        except OSError as error:
            raise VerifyError(
                f"{path}: {error.strerror}; delete manifests/tokens.json and build again"
            ) from error
        if size != count * width:
            raise VerifyError(
                f"{path} has {size} bytes, expected {count * width} ({count} integers of "
                f"{width} bytes); delete manifests/tokens.json and build again"
            )
        # Another file may come to have this name.
        self._identity = (found.st_dev, found.st_ino, found.st_mtime_ns) if found else (0, 0, 0)

    def open(self) -> "_Descriptor":
        return _open(self.path, self._identity)


class _Descriptor:
    """A file open for reading, closed when nobody holds it."""

    def __init__(self, number: int):
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


@lru_cache(OPEN_FILES)
def _open(path: Location, identity: tuple[int, int, int]) -> _Descriptor:
    return _Descriptor(os.open(str(path), os.O_RDONLY))
