"""Inverted index of the n-grams of test documents: which items hold a given shingle.

Texts are normalised as for deduplication (see `shingles`). A test document of fewer than `ngram`
words is one shingle, its whole normalised text; equally that is its n-gram of its own length, by
which `containment` looks for it inside longer documents. For that each short item has an anchor:
the hash of its first `MIN_WORDS` words, so that text is scanned for one length more, not for five.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numba import njit

from .document import text_buffers
from .mapped import arrow_file, map_array, open_arrow, save_array
from .shingles import normalise, shingle_normalised, sort_unique
from .storage import Location
from .test_sets import Item

# The shortest test document that is looked for inside others: fewer words are common phrases.
MIN_WORDS = 8

_BATCH_CHARACTERS = 4 << 20
_MAX_BUCKET_BITS = 28
# Filter bits for each key: one text shingle in 16 that is in no test document passes it.
_FILTER_DENSITY = 16
_MIN_FILTER_BITS, _MAX_FILTER_BITS = 10, 30
_ARRAYS = (
    "keys",
    "starts",
    "items",
    "sizes",
    "lengths",
    "sets",
    "buckets",
    "bits",
    "anchors",
    "anchor_lengths",
    "anchor_bits",
)


@dataclass(frozen=True)
class Index:
    """Inverted index of the shingles of `size` test documents, the items.

    `keys`: uint64 [k], sorted; `starts`: uint32 [k + 1], postings of key i are
    `items[starts[i]:starts[i + 1]]` (uint32, ascending); `buckets`: uint32 [2**bits + 1], where
    keys with a given prefix begin; `bits`: uint64, a filter that says of most other shingles that
    they are no keys. Of each item: `sizes`: uint32, its shingles, 0 when it has no words;
    `lengths`: uint32, its words, at most `ngram`; `sets`: uint32, the row of its test set in
    `set_names`; `names`: columns `test_set` and `test_id`. Of each item of `MIN_WORDS` to
    `ngram - 1` words: `anchors` (uint64, sorted), `anchor_keys` (uint32), `anchor_lengths`
    (uint32), and their filter `anchor_bits`.
    """

    ngram: int
    keys: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    sizes: np.ndarray
    lengths: np.ndarray
    sets: np.ndarray
    buckets: np.ndarray
    bits: np.ndarray
    anchors: np.ndarray
    anchor_lengths: np.ndarray
    anchor_bits: np.ndarray
    names: pa.Table = field(repr=False)
    set_names: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.sizes)

    @property
    def shift(self) -> np.uint64:
        """How far a shingle is shifted to the right to give its bucket."""
        return np.uint64(64 - (len(self.buckets) - 1).bit_length() + 1)

    @property
    def wordless(self) -> int:
        """How many items have no words, so that nothing can match them."""
        return int(np.count_nonzero(self.sizes == 0))

    @property
    def too_short(self) -> np.ndarray:
        """bool [size]: items with words, but too few to be looked for inside documents."""
        return (self.lengths > 0) & (self.lengths < min(self.ngram, MIN_WORDS))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays: what a worker maps into memory."""
        return sum(getattr(self, name).nbytes for name in _ARRAYS) + int(self.names.nbytes)

    def save(self, folder: Location) -> None:
        """Write the index below `folder`, for workers to map into memory with `open`."""
        for name in _ARRAYS:
            save_array(folder / f"{name}.npy", getattr(self, name))
        with arrow_file(folder / "names.arrow", self.names.schema) as writer:
            writer.write_table(self.names)

    @staticmethod
    def open(folder: Location, ngram: int) -> "Index":
        names = open_arrow(folder / "names.arrow").read_all()
        arrays = {name: map_array(folder / f"{name}.npy") for name in _ARRAYS}
        return Index(ngram, names=names, set_names=_set_names(names), **arrays)


def _set_names(names: pa.Table) -> tuple[str, ...]:
    """The test sets in order of their first item; `sets` numbers them so."""
    return tuple(dict.fromkeys(names.column("test_set").to_pylist()))


@dataclass
class _Batches:
    """What the items' texts have come to so far, a list entry for each batch."""

    hashes: list[np.ndarray] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)
    words: list[np.ndarray] = field(default_factory=list)
    anchors: list[np.ndarray] = field(default_factory=list)

    def add(self, texts: list[str], ngram: int) -> None:
        normal = normalise(*text_buffers(pa.array(texts, pa.large_string())))
        values, starts = sort_unique(*shingle_normalised(normal, ngram))
        self.hashes.append(values)
        self.sizes.append(np.diff(starts))
        self.words.append(normal.words)
        firsts, starts = shingle_normalised(normal, MIN_WORDS)
        short = (normal.words >= MIN_WORDS) & (normal.words < ngram)
        self.anchors.append(firsts[starts[:-1][short]])


def build_index(items: Iterable[Item], ngram: int) -> Index:
    """Build the index of test documents; they are numbered in the order given, in which the
    items of a test set stand together."""
    batches = _Batches()
    texts: list[str] = []
    names: list[tuple[str, str]] = []
    pending = 0
    for item in items:
        names.append((item.test_set, item.id))
        texts.append(item.text)
        pending += len(item.text)
        if pending >= _BATCH_CHARACTERS:
            batches.add(texts, ngram)
            texts, pending = [], 0
    batches.add(texts, ngram)
    sizes = np.concatenate(batches.sizes)
    words = np.concatenate(batches.words)
    flat = np.concatenate(batches.hashes)
    if len(flat) >= 2**32:
        raise ValueError(f"the test sets have {len(flat):,} n-grams; an index holds 2**32 - 1")
    postings = np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes)
    order = np.argsort(flat, kind="stable")
    flat, postings = flat[order], postings[order]
    del order
    first = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
    keys = flat[first]
    table = pa.table(
        {
            "test_set": pa.array([name for name, _ in names], pa.string()),
            "test_id": pa.array([key for _, key in names], pa.string()),
        }
    )
    set_names = _set_names(table)
    numbers = {name: number for number, name in enumerate(set_names)}
    short = words[(words >= MIN_WORDS) & (words < ngram)].astype(np.uint32)
    anchors, anchor_lengths = _distinct_pairs(np.concatenate(batches.anchors), short)
    return Index(
        ngram,
        keys,
        np.append(first, len(flat)).astype(np.uint32),
        postings,
        sizes.astype(np.uint32),
        np.minimum(words, ngram).astype(np.uint32),
        np.array([numbers[name] for name, _ in names], np.uint32),
        _bucket_starts(keys),
        _filter(keys),
        anchors,
        anchor_lengths,
        _filter(anchors),
        table,
        set_names,
    )


def _distinct_pairs(anchors: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((lengths, anchors))
    anchors, lengths = anchors[order], lengths[order]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(anchors) != 0) | (np.diff(lengths) != 0)
    return anchors[new], lengths[new]


def _bucket_starts(keys: np.ndarray) -> np.ndarray:
    """About one key a bucket: keys are hashes, so a prefix of their bits spreads them evenly."""
    bits = min(_MAX_BUCKET_BITS, max(1, len(keys).bit_length()))
    prefixes = (keys >> np.uint64(64 - bits)).astype(np.int64)
    starts = np.zeros((1 << bits) + 1, np.uint32)
    np.cumsum(np.bincount(prefixes, minlength=1 << bits), out=starts[1:])
    return starts


def _filter(values: np.ndarray) -> np.ndarray:
    wanted = (_FILTER_DENSITY * len(values)).bit_length()
    bits = np.zeros(1 << (min(_MAX_FILTER_BITS, max(_MIN_FILTER_BITS, wanted)) - 6), np.uint64)
    _set_bits(values, bits)
    return bits


@njit(cache=True, nogil=True)
def _set_bits(values, bits):
    # The lowest bits, which have nothing to do with the highest ones, the key's bucket.
    mask = np.uint64(len(bits) * 64 - 1)
    for value in values:
        at = value & mask
        bits[at >> np.uint64(6)] |= np.uint64(1) << (at & np.uint64(63))
