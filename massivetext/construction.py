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

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .config_mixture import Construction, Mixture
from .errors import VerifyError
from .mixture_plan import Stock
from .permutation import Permutation, mix, round_keys
from .tokens import TokenStore

# Documents that are permuted together. More of them cost more time for each sequence, whose
# documents are found by permuting its block.
BLOCK = 4096
INDEX_BLOCKS = 256
CACHED_BLOCKS = 128

Integers = npt.NDArray[np.int64]


class Sequences(Protocol):
    """The sequences of one subset; `stock` says how many there are."""

    stock: Stock

    def tokens(self, sequence: int, epoch: int) -> npt.NDArray[np.unsignedinteger]:
        """Return one sequence, [L + 1]: its targets are all but the first; the last sequence is
        padded."""
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


def stocks(root: Path, tokens: Mapping[str, Any], mixture: Mixture, seed: int) -> dict[str, Stock]:
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

    def tokens(self, sequence: int, epoch: int) -> npt.NDArray[np.unsignedinteger]:
        return self.store.sequence(sequence, self.length)


class _Documents(NamedTuple):
    """Documents of a block: `starts` [n] in the store, `bounds` [n + 1] in the packed stream."""

    starts: Integers
    bounds: Integers


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

    def tokens(self, sequence: int, epoch: int) -> npt.NDArray[np.unsignedinteger]:
        if not 0 <= sequence < self.stock.sequences(self.length):
            raise IndexError(f"sequence {sequence} of {self.stock.sequences(self.length)}")
        if sequence < self.stock.crops:
            return self._crop(sequence, epoch)
        start = (sequence - self.stock.crops) * self.length
        stop = min(start + self.length, self.stock.packed)
        out = np.full(self.length + 1, self.store.pad_id, self.store.dtype)
        out[0] = self.store.eos_id
        first = max(start - 1, 0)
        at = 1 - (start - first)
        out[at : at + stop - first] = self.store.take(self._positions(first, stop, epoch))
        return out

    def _crop(self, sequence: int, epoch: int) -> npt.NDArray[np.unsignedinteger]:
        block = int(np.searchsorted(self._crops, sequence, "right")) - 1
        starts, sizes = self._sizes(block)
        within = int(np.flatnonzero(sizes > self.length)[sequence - self._crops[block]])
        key = self._crop_key(epoch) + block * BLOCK + within
        draw = int(mix(np.uint64(key % 2**64))) % int(sizes[within] - self.length + 1)
        start = int(starts[within]) + draw
        if start > 0:  # a document's first token has the EOS before it as its context
            return self.store.slice(start - 1, start + self.length)
        return np.insert(self.store.slice(0, self.length), 0, self.store.eos_id)

    def _positions(self, start: int, stop: int, epoch: int) -> Integers:
        """Return where in the store the tokens [start, stop) of the packed stream lie."""
        pieces = []
        while start < stop:
            block = int(np.searchsorted(self._packed, start, "right")) - 1
            starts, bounds = self._order(block, epoch)
            end = min(stop, int(bounds[-1]))
            first = int(np.searchsorted(bounds, start, "right")) - 1
            last = int(np.searchsorted(bounds, end, "left"))
            begin = np.maximum(bounds[first:last], start)
            sizes = np.minimum(bounds[first + 1 : last + 1], end) - begin
            # Position in the store minus position in the stream, which is the same in a document.
            shift = starts[first:last] - bounds[first:last]
            pieces.append(np.repeat(shift, sizes) + np.arange(start, end))
            start = end
        return np.concatenate(pieces)

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
