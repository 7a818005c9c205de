"""How a subset's documents become training sequences: the tokens of (sequence, epoch).

`Packed` lays the documents end to end and cuts the stream: nothing is dropped, and a sequence has
the same tokens in every epoch.

`Drawn` follows Gopher's Algorithm 1 (2112.11446, appendix A, as it is remembered): documents are
drawn uniformly, long ones are cropped at random, short ones are packed. Here an epoch draws every
document once. A document of more than L tokens gives one sequence: L consecutive targets, all
starts equally likely; what lies outside is not used in that epoch, and the next epoch draws another
start. The others are packed end to end, in blocks of `BLOCK` consecutive documents whose order is
permuted anew each epoch. A crop fills its sequence, so no joint of crops lies inside one: EOS marks
every boundary of documents in both constructions.

Any sequence of any epoch is computed on its own. Memory: 16 bytes a block, and some blocks.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .config_mixture import Construction, Mixture
from .errors import VerifyError
from .mixture_plan import Stock
from .permutation import Permutation, mix, round_keys
from .pieces import cut
from .storage import Location
from .tokens import TokenStore, sequence_numbers

# Documents that are permuted together. More of them cost more time for each sequence, whose
# documents are found by permuting its block.
BLOCK = 4096
INDEX_BLOCKS = 256
CACHED_BLOCKS = 128

Integers = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.unsignedinteger]


class Sequences(Protocol):
    """The sequences of one subset; `stock` says how many there are."""

    stock: Stock

    def tokens(self, sequence: int | Integers, epoch: int | Integers) -> Tokens:
        """Return one sequence, [L + 1], or several, [n, L + 1]: its targets are all but the first;
        the last sequence of an epoch is padded."""
        ...


def open_sequences(
    construction: Construction, store: TokenStore, length: int, seed: int, subset: str
) -> Sequences:
    """Return the sequences with `length` targets that `construction` makes of a subset's store.

    Raises:
      VerifyError: the store's documents do not fit its tokens.
    """
    if construction is Construction.GOPHER:
        return Drawn(store, length, seed, subset)
    return Packed(store, length)


def stocks(
    root: Location, tokens: Mapping[str, Any], mixture: Mixture, seed: int
) -> dict[str, Stock]:
    """Return what each subset of the token stores below `root` holds for the construction.

    Args:
      tokens: the manifest of the stage `tokens`.

    Raises:
      VerifyError: a store is not what the manifest says.
    """
    if mixture.construction is Construction.PACK:
        counts = {name: int(entry["tokens"]) for name, entry in tokens["subsets"].items()}
        return {name: Stock(count, 0, count) for name, count in counts.items()}
    return {
        name: Drawn(TokenStore.open(root, name, tokens), mixture.sequence_length, seed, name).stock
        for name in tokens["subsets"]
    }


class Packed:
    """Documents end to end in the order of the store."""

    def __init__(self, store: TokenStore, length: int):
        self.store, self.length = store, length
        self.stock = Stock(len(store), 0, len(store))

    def tokens(self, sequence: int | Integers, epoch: int | Integers) -> Tokens:
        return self.store.sequence(sequence, self.length)


class _Documents(NamedTuple):
    """Documents of a block: `starts` [n] in the store, `bounds` [n + 1] in the packed stream."""

    starts: Integers
    bounds: Integers


class _Runs(NamedTuple):
    """What is taken from the store, as `TokenStore.gather` takes it; all int64 [runs]."""

    starts: Integers
    sizes: Integers
    at: Integers


_NO_RUNS = _Runs(*[np.zeros(0, np.int64)] * 3)


class Drawn:
    """Sequences 0 to `stock.crops` are crops of the long documents, in the order of the store; the
    rest hold the packed stream of the others."""

    def __init__(self, store: TokenStore, length: int, seed: int, subset: str):
        self.store, self.length, self.seed, self.subset = store, length, seed, subset
        self._crops, self._packed = _index(store, length, subset)
        self.stock = Stock(len(store), int(self._crops[-1]), int(self._packed[-1]))
        self._sizes = lru_cache(CACHED_BLOCKS)(self._read_sizes)
        self._order = lru_cache(CACHED_BLOCKS)(self._permute)
        self._crop_key = lru_cache(CACHED_BLOCKS)(self._make_crop_key)

    def tokens(self, sequence: int | Integers, epoch: int | Integers) -> Tokens:
        numbers = sequence_numbers(sequence, self.stock.sequences(self.length))
        epochs = np.broadcast_to(np.asarray(epoch, np.int64), numbers.shape)
        out = np.empty((len(numbers), self.length + 1), self.store.dtype)
        cropped = numbers < self.stock.crops
        rows = np.flatnonzero(cropped)
        runs = [self._crops_of(rows, numbers[rows], epochs[rows], out)]
        rows = np.flatnonzero(~cropped)
        runs.append(self._packed_of(rows, numbers[rows] - self.stock.crops, epochs[rows], out))
        starts, sizes, at = (np.concatenate(column) for column in zip(*runs, strict=True))
        self.store.gather(starts, sizes, out.reshape(-1), at)
        return out[0] if np.ndim(sequence) == 0 else out

    def _crops_of(self, rows: Integers, crop: Integers, epoch: Integers, out: Tokens) -> _Runs:
        """Return what crops take from the store, for these rows of `out`."""
        start = np.empty(len(rows), np.int64)
        block = np.searchsorted(self._crops, crop, "right") - 1
        for (number,), some in _groups(block):
            starts, sizes = self._sizes(number)
            within = np.flatnonzero(sizes > self.length)[crop[some] - self._crops[number]]
            keys = np.array([self._crop_key(e) for e in epoch[some].tolist()], np.uint64)
            keys += (number * BLOCK + within).astype(np.uint64)
            spans = (sizes[within] - self.length + 1).astype(np.uint64)
            # Of arrays, the function that is compiled for single numbers elsewhere.
            start[some] = starts[within] + (mix.py_func(keys) % spans).astype(np.int64)
        # A document's first token has the EOS before it as its context.
        opening = (start == 0).astype(np.int64)
        out[rows[start == 0], 0] = self.store.eos_id
        at = rows * (self.length + 1) + opening
        return _Runs(start - 1 + opening, self.length + 1 - opening, at)

    def _packed_of(self, rows: Integers, number: Integers, epoch: Integers, out: Tokens) -> _Runs:
        """Return what sequences of the packed stream take from the store, for these rows."""
        start = number * self.length
        stop = np.minimum(start + self.length, self.stock.packed)
        out[rows[stop - start < self.length]] = self.store.pad_id
        out[rows[start == 0], 0] = self.store.eos_id
        first = np.maximum(start - 1, 0)
        at = rows * (self.length + 1) + (start == 0)
        row, block, begin, end = cut(first, stop, self._packed)
        at = at[row] + begin - first[row]
        runs = [_NO_RUNS]
        for (in_epoch, of_block), some in _groups(epoch[row], block):
            starts, bounds = self._order(of_block, in_epoch)
            piece, document, low, high = cut(begin[some], end[some], bounds)
            runs.append(
                _Runs(
                    starts[document] + low - bounds[document],
                    high - low,
                    at[some][piece] + low - begin[some][piece],
                )
            )
        return _Runs(*(np.concatenate(column) for column in zip(*runs, strict=True)))

    def _read_sizes(self, block: int) -> tuple[Integers, Integers]:
        """Return where the documents of a block start and their sizes, in stored tokens."""
        first, last = block * BLOCK, min((block + 1) * BLOCK, self.store.documents)
        return _starts_and_sizes(self.store, first, last)

    def _permute(self, block: int, epoch: int) -> _Documents:
        starts, sizes = self._sizes(block)
        short = np.flatnonzero(sizes <= self.length)
        name = f"{self.subset}/documents/{block}"
        chosen = short[Permutation(len(short), self.seed, name, epoch)(np.arange(len(short)))]
        bounds = np.concatenate([[0], np.cumsum(sizes[chosen])]) + self._packed[block]
        return _Documents(starts[chosen], bounds)

    def _make_crop_key(self, epoch: int) -> int:
        return int(round_keys(self.seed, f"{self.subset}/crops", epoch)[0])


def _groups(*keys: Integers) -> Iterator[tuple[tuple[int, ...], Integers]]:
    """Yield every combination of keys there is, ascending, and the rows that have it."""
    order = np.lexsort(keys[::-1])
    columns = np.stack([key[order] for key in keys])
    firsts = np.flatnonzero((columns[:, 1:] != columns[:, :-1]).any(axis=0)) + 1
    for rows in np.split(order, firsts) if len(order) else ():
        yield tuple(int(key[rows[0]]) for key in keys), rows


def _starts_and_sizes(store: TokenStore, first: int, last: int) -> tuple[Integers, Integers]:
    before = max(first - 1, 0)
    ends = store.document_ends(before, last).astype(np.int64)
    if first == 0:
        ends = np.insert(ends, 0, 0)
    return ends[:-1], np.diff(ends)


def _index(store: TokenStore, length: int, subset: str) -> tuple[Integers, Integers]:
    """Return, before each block of documents and at the end, int64 [blocks + 1] each: the number of
    documents of more than `length` tokens, and the tokens of the others."""
    blocks = -(-store.documents // BLOCK)
    crops, packed = np.zeros(blocks + 1, np.int64), np.zeros(blocks + 1, np.int64)
    end = 0
    for block in range(0, blocks, INDEX_BLOCKS):
        first, last = block * BLOCK, min((block + INDEX_BLOCKS) * BLOCK, store.documents)
        starts, sizes = _starts_and_sizes(store, first, last)
        if sizes.min() < 1:
            raise VerifyError(
                f"the documents of {subset!r} do not fit its tokens: document "
                f"{first + int(sizes.argmin())} has no end of its own; delete "
                "manifests/tokens.json and build again"
            )
        end = int(starts[-1] + sizes[-1])
        long = sizes > length
        at = np.arange(0, last - first, BLOCK)
        here = slice(block + 1, block + 1 + len(at))
        crops[here] = np.add.reduceat(long.astype(np.int64), at)
        packed[here] = np.add.reduceat(np.where(long, 0, sizes), at)
    if end != len(store):
        raise VerifyError(
            f"the documents of {subset!r} end at token {end:,} of {len(store):,}; delete "
            "manifests/tokens.json and build again"
        )
    return np.cumsum(crops), np.cumsum(packed)
