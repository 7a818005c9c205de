"""Token stores: the tokens of each subset, kept apart so that new weights need no tokenising.

Each part of a subset has two files of little-endian integers:

    part-00000.tokens      uint16 or uint32: the tokens of every document, each closed by EOS
    part-00000.documents   uint64: where each document ends, in tokens from the start of the part

The stream of a subset is EOS, then all parts in the manifest's order. Its first EOS stands only for
the context of the first token. Sequence i of length L is `stream[i * L : i * L + L + 1]`:
neighbours share one token, so in an epoch every stored token is a target exactly once.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConfigError, VerifyError, nearest

HELDOUT = "heldout/"
# Well below the number of maps that Linux gives a process (65,530).
OPEN_FILES = 1024
# Well below the number of files that a process may usually have open (1,024).
OPEN_DESCRIPTORS = 256


def close_documents(tokens: np.ndarray, offsets: np.ndarray, eos_id: int) -> np.ndarray:
    """Return `tokens` with `eos_id` after each document.

    Args:
      tokens: tokens of n documents; document i is `tokens[offsets[i]:offsets[i + 1]]`.
      offsets: int64 [n + 1], from 0.
    """
    return np.insert(tokens, offsets[1:], eos_id)


class TokenStore:
    """A subset's tokens as one stream: nothing is read before it is used, and nothing is kept.

    Attributes:
      documents: number of documents.
      text_bytes: UTF-8 bytes of their original texts (for bits per byte).
      dtype, eos_id, pad_id: of the tokens.
    """

    def __init__(self, root: Path, entry: Mapping[str, Any], manifest: Mapping[str, Any]):
        self.documents: int = entry["documents"]
        self.text_bytes: int = entry["text_bytes"]
        self.dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
        self.eos_id: int = manifest["eos_id"]
        self.pad_id: int = manifest["pad_id"]
        self._root = root
        self._parts = [part for part in entry["parts"] if part["tokens"]]
        self._maps = [_map(root / part["path"], self.dtype, part["tokens"]) for part in self._parts]
        self._ends = np.cumsum([0, *(len(tokens) for tokens in self._maps)])
        self._document_starts = np.cumsum([0, *(part["documents"] for part in self._parts)])
        self._descriptor = lru_cache(OPEN_DESCRIPTORS)(self._open_part)
        self._document_map = lru_cache(OPEN_FILES)(self._open_documents)
        if len(self) != entry["tokens"]:
            raise VerifyError(
                f"the manifest of {root} gives a subset {entry['tokens']} tokens, its parts "
                f"{len(self)}; delete manifests/tokens.json and build again"
            )

    @classmethod
    def open(cls, root: Path, name: str, manifest: Mapping[str, Any]) -> "TokenStore":
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

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Return stored tokens `start` to `stop` (without the stream's first EOS), read-only.

        Read, not mapped: the pages that a map touches count as a process's own, and where the
        system keeps files in large pages, some sequences of each are the whole store.

        Raises:
          VerifyError: a file has become shorter since it was opened.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"tokens {start} to {stop} of {len(self)}")
        if start == stop:
            return np.zeros(0, self.dtype)
        first = int(np.searchsorted(self._ends, start, "right")) - 1
        last = int(np.searchsorted(self._ends, stop, "left")) - 1
        pieces = [
            self._read(
                i, max(start - self._ends[i], 0), min(stop, self._ends[i + 1]) - self._ends[i]
            )
            for i in range(first, last + 1)
        ]
        return pieces[0] if first == last else np.concatenate(pieces)

    def sequences(self, length: int) -> int:
        """Number of sequences with `length` targets in an epoch; the last may be short of it."""
        return -(-len(self) // length)

    def targets(self, i: int, length: int) -> int:
        """Number of real targets of sequence `i`: `length`, or what is left for the last one."""
        self._check(i, length)
        return min(length, len(self) - i * length)

    def sequence(self, i: int, length: int) -> np.ndarray:
        """Return sequence `i`, `dtype` [length + 1]: inputs are all but the last, targets all but
        the first token; after `targets(i, length)` targets comes `pad_id`.
        """
        self._check(i, length)
        start, stop = i * length, min((i + 1) * length, len(self))
        if start > 0 and stop - start == length:
            return self.slice(start - 1, stop)
        out = np.full(length + 1, self.pad_id, self.dtype)
        out[0] = self.eos_id if start == 0 else self.slice(start - 1, start)[0]
        out[1 : 1 + stop - start] = self.slice(start, stop)
        return out

    def _check(self, i: int, length: int) -> None:
        if not 0 <= i < self.sequences(length):
            raise IndexError(f"sequence {i} of {self.sequences(length)}")

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
            piece = self._document_map(i)[max(start - counts[i], 0) : stop - counts[i]]
            ends.append(piece + np.uint64(self._ends[i]))
        return np.concatenate(ends)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Return the stored tokens at `positions`, int64 [k] in any order, as `dtype` [k]."""
        part = np.searchsorted(self._ends, positions, "right") - 1
        if not positions.size or part.min() == part.max():
            i = int(part[0]) if positions.size else 0
            return self._maps[i][positions - self._ends[i]]
        out = np.empty(len(positions), self.dtype)
        for i in np.unique(part):
            here = part == i
            out[here] = self._maps[i][positions[here] - self._ends[i]]
        return out

    def _read(self, i: int, start: int, stop: int) -> np.ndarray:
        size = self.dtype.itemsize
        count = int(stop - start) * size
        data = os.pread(self._descriptor(i).number, count, int(start) * size)
        if len(data) != count:
            raise VerifyError(
                f"{self._root / self._parts[i]['path']} became shorter while it was read; delete "
                "manifests/tokens.json and build again"
            )
        return np.frombuffer(data, self.dtype)

    def _open_part(self, i: int) -> "_Descriptor":
        return _Descriptor(os.open(self._root / self._parts[i]["path"], os.O_RDONLY))

    def _open_documents(self, i: int) -> np.ndarray:
        path = (self._root / self._parts[i]["path"]).with_suffix(".documents")
        return _map(path, np.dtype("<u8"), self._parts[i]["documents"])


class _Descriptor:
    """A file open for reading, closed when nobody holds it."""

    def __init__(self, number: int):
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


def _map(path: Path, dtype: np.dtype, count: int) -> np.ndarray:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise VerifyError(
            f"{path}: {error.strerror}; delete manifests/tokens.json and build again"
        ) from error
    if size != count * dtype.itemsize:
        raise VerifyError(
            f"{path} has {size} bytes, expected {count * dtype.itemsize} ({count} integers of "
            f"{dtype.itemsize} bytes); delete manifests/tokens.json and build again"
        )
    # A plain array over the map: slicing np.memmap itself costs microseconds a time.
    return np.asarray(np.memmap(path, dtype, "r")).view(np.ndarray)
