"""Test-set overlap: which training documents copy a test document (Gopher, section A.1.1).

The rule is exact: the Jaccard similarity of the sets of 13-gram shingles of a document and of
every test document that shares at least one, found through an inverted index of the test shingles.
Both texts are normalised as for deduplication (see `shingles`); a test document of fewer than 13
words is one shingle, its whole normalised text.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from .config import Overlap
from .document import text_buffers
from .errors import InputError
from .shingles import shingle_hashes, sort_unique
from .test_sets import Item, read_items

_BATCH_CHARACTERS = 4 << 20
_ARRAYS = ("keys", "starts", "items", "sizes", "buckets")
_MAX_BITS = 28


@dataclass(frozen=True)
class Index:
    """Inverted index of the shingles of `size` test documents.

    `keys`: uint64 [k], sorted; `starts`: int64 [k + 1], postings of key i are
    `items[starts[i]:starts[i + 1]]` (uint32); `sizes`: int64 [size], shingles of each item, 0 when
    it has no words; `buckets`: int64 [2**bits + 1], where keys with a given prefix begin;
    `names`: columns `test_set` and `test_id`, a row for each item.
    """

    ngram: int
    keys: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    sizes: np.ndarray
    buckets: np.ndarray
    names: pa.Table

    @property
    def size(self) -> int:
        return len(self.sizes)

    @property
    def wordless(self) -> int:
        """How many test documents have no words, so that nothing can match them."""
        return int(np.count_nonzero(self.sizes == 0))

    def save(self, folder: Path) -> None:
        """Write the index below `folder`, for workers to map into memory with `open`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        path = str(folder / "names.arrow")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, self.names.schema) as writer:
            writer.write_table(self.names)

    @staticmethod
    def open(folder: Path, ngram: int) -> "Index":
        def array(name: str) -> np.ndarray:
            path = folder / f"{name}.npy"
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

        with pa.memory_map(str(folder / "names.arrow")) as file:
            names = pa.ipc.open_file(file).read_all()
        return Index(ngram, names=names, **{name: array(name) for name in _ARRAYS})


class Matches(NamedTuple):
    """The most similar test document of each row: its number in the index (-1 when no shingle is
    shared) and the exact Jaccard similarity. int64 [n], float64 [n]."""

    item: np.ndarray
    jaccard: np.ndarray


def load_index(config: Overlap) -> Index:
    """Build the index of `config.test_sets`.

    Raises:
      ConfigError, InputError: a test set is missing, malformed or empty.
    """
    index = build_index(read_items(config.test_sets, config.text_field), config.ngram)
    if index.size == index.wordless:
        raise InputError(
            f"the test sets {', '.join(config.test_sets)} hold no document with words; an empty "
            "test set would let all pass"
        )
    return index


def build_index(items: Iterable[Item], ngram: int) -> Index:
    """Build the index of test documents; they are numbered in the order given."""
    hashes: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    texts: list[str] = []
    names: list[tuple[str, str]] = []
    pending = 0

    def flush() -> None:
        column = pa.array(texts, pa.large_string())
        values, starts = sort_unique(*shingle_hashes(*text_buffers(column), ngram))
        hashes.append(values)
        counts.append(np.diff(starts))
        texts.clear()

    for item in items:
        names.append((item.test_set, item.id))
        texts.append(item.text)
        pending += len(item.text)
        if pending >= _BATCH_CHARACTERS:
            flush()
            pending = 0
    flush()
    sizes = np.concatenate(counts).astype(np.int64)
    flat = np.concatenate(hashes)
    postings = np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes)
    order = np.argsort(flat, kind="stable")
    keys, first = np.unique(flat[order], return_index=True)
    # About one key a bucket: keys are hashes, so a prefix of their bits spreads them evenly.
    bits = min(_MAX_BITS, max(1, len(keys).bit_length()))
    edges = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    table = pa.table(
        {
            "test_set": pa.array([name for name, _ in names], pa.string()),
            "test_id": pa.array([key for _, key in names], pa.string()),
        }
    )
    return Index(
        ngram,
        keys,
        np.append(first, len(flat)).astype(np.int64),
        postings[order],
        sizes,
        np.append(np.searchsorted(keys, edges), len(keys)).astype(np.int64),
        table,
    )


@njit(cache=True, nogil=True)
def _best(values, rows, keys, starts, items, sizes, buckets, shift, best, similarity):
    shared = np.zeros(len(sizes), np.int64)
    touched = np.empty(len(sizes), np.int64)
    for row in range(len(rows) - 1):
        count = 0
        for v in range(rows[row], rows[row + 1]):
            value = values[v]
            bucket = np.int64(value >> shift)
            key = buckets[bucket]
            end = buckets[bucket + 1]
            while key < end and keys[key] < value:
                key += 1
            if key == end or keys[key] != value:
                continue
            for p in range(starts[key], starts[key + 1]):
                item = np.int64(items[p])
                if shared[item] == 0:
                    touched[count] = item
                    count += 1
                shared[item] += 1
        best[row] = -1
        similarity[row] = 0.0
        for t in range(count):
            item = touched[t]
            common = shared[item]
            shared[item] = 0
            jaccard = common / (rows[row + 1] - rows[row] + sizes[item] - common)
            if jaccard > similarity[row] or (jaccard == similarity[row] and item < best[row]):
                similarity[row] = jaccard
                best[row] = item


def best_matches(data: np.ndarray, offsets: np.ndarray, index: Index) -> Matches:
    """Compare every row of text with every test document it shares a shingle with.

    Args:
      data: uint8; `offsets`: int64 [n + 1], as `document.text_buffers` returns them.

    Returns:
      The best test document of each row; of equally similar ones the first.
    """
    values, rows = sort_unique(*shingle_hashes(data, offsets, index.ngram))
    n = len(offsets) - 1
    matches = Matches(np.empty(n, np.int64), np.empty(n, np.float64))
    shift = np.uint64(64 - (len(index.buckets) - 1).bit_length() + 1)
    _best(
        values,
        rows,
        index.keys,
        index.starts,
        index.items,
        index.sizes,
        index.buckets,
        shift,
        *matches,
    )
    return matches
