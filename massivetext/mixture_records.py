"""The records of a mixture, computed from the token stores: no shard is written.

They are those of the shards that `massivetext mix` writes for the same config, so a trainer takes
either. Many small mixtures of one build need no more than this.

A proxy of a run that is longer than itself sees less of the data, and would repeat none of it where
the real run repeats a lot. With `like_tokens`, the budget of the real run, each subset is a sample
of its sequences, smaller by as much as the budget is, and is repeated as often as the real run
would repeat the whole.
"""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from .config import Config
from .config_file import to_dict
from .construction import Sequences, open_sequences
from .dataset import read_json
from .errors import InputError, nearest
from .lineage import tokens_identity
from .mixture import MAX_SEQUENCES, plan, resolve_stages, resolve_weights
from .mixture_plan import MixturePlan, Stock
from .order import make_order
from .permutation import Permutation, epoch_order
from .record_files import Records
from .storage import Location, exists
from .tokens import HELDOUT, TokenStore

Integers = npt.NDArray[np.int64]

# What the records carry of the tokenizer, as shards do.
TOKENIZER_KEYS = ("dtype", "vocab_size", "eos_id", "pad_id", "tokenizer_sha256")


class MixtureRecords:
    """The records of `config.mixture` under `config.seed`, in training order.

    Args:
      root: the build whose token stores are mixed.
      like_tokens: training tokens of the run that this one stands for; see the module.
      heldout_root: the build whose held-out documents are evaluated on, `root` unless given.

    Attributes:
      folder: where the token stores are.
      manifest: as `manifest.json` of shards, less the files; with `tokens`, the identity of the
        stores, and of the held-out ones where they are another build's.
      planned: sequences and epochs per subset.

    Raises:
      InputError: there are no token stores, or those held out are of another tokenizer.
      ConfigError: weights, budget and tokens do not fit together (`mixture.plan`).
      VerifyError: a store is not what its manifest says.
    """

    def __init__(
        self,
        root: Location,
        config: Config,
        *,
        like_tokens: int | None = None,
        heldout_root: Location | None = None,
    ):
        mixture = config.mixture
        self.folder = root / "tokens"
        self.sequence_length = mixture.sequence_length
        self._seed = config.seed
        tokens = tokens_manifest(root)
        self._held_root = heldout_root or root
        self._held_tokens = tokens if heldout_root is None else tokens_manifest(heldout_root)
        _require_same_tokenizer(tokens, self._held_tokens, self._held_root)
        self._sources: dict[str, Sequences] = {}
        for name in tokens["subsets"]:
            store = TokenStore.open(root, name, tokens)
            self._sources[name] = open_sequences(
                mixture.construction, store, self.sequence_length, config.seed, name
            )
        stocks = {name: source.stock for name, source in self._sources.items()}
        if like_tokens is not None and like_tokens > mixture.tokens:
            # Of the real run: in the sample, the rounding of a few sequences could pass the limit.
            real = replace(mixture, tokens=like_tokens, stages=())
            plan(real, resolve_weights(mixture, config.subsets), stocks)
            share = Fraction(mixture.tokens, like_tokens)
            stocks = {n: _scaled(s, share, self.sequence_length) for n, s in stocks.items()}
            mixture = replace(mixture, max_epochs=float(MAX_SEQUENCES))
        self.planned: MixturePlan = plan(mixture, resolve_stages(mixture, config.subsets), stocks)
        self._order = make_order(self.planned, config.seed)
        self._dtype = np.dtype(tokens["dtype"]).newbyteorder("<")
        # Where the last reading ended and the counts there: a trainer reads on from it.
        self._next = 0, self._order.counts(0)
        stages = self.planned.stage_entries() if mixture.stages else None
        self.manifest: dict[str, Any] = {
            "sequence_length": self.sequence_length,
            **{name: tokens[name] for name in TOKENIZER_KEYS},
            "seed": config.seed,
            "sequences": self.planned.sequences,
            "subsets": [self.planned.entry(i) for i in range(len(self.planned.subsets))],
            **({"stages": stages} if stages else {}),
            "heldout": {
                name: {key: entry[key] for key in ("text_bytes", "documents")}
                | {"targets": entry["tokens"]}
                for name, entry in sorted(self._held_tokens["heldout"].items())
                if entry["tokens"] and name in self._sources
            },
            "mixture": to_dict(config.mixture),
            "tokens": sorted({tokens_identity(tokens), tokens_identity(self._held_tokens)}),
        }

    def __len__(self) -> int:
        return len(self._order)

    def read(self, start: int, stop: int) -> Records:
        """Return the records [start, stop).

        Raises:
          IndexError: they are not all there.
          VerifyError: a store has changed since it was opened.
        """
        at, counts = self._next
        known = counts if at == start else self._order.counts(start)
        subset, position, epoch = self._order.positions(start, stop, known)
        self._next = stop, known + np.bincount(subset, minlength=len(known))
        return self._records(subset, position, epoch)

    def uses(self, subset: Integers, ordinal: Integers) -> Records:
        """Return the records of some uses of subsets, in any order of training.

        Args:
          subset, ordinal: int64 [n]: index of a subset, and number of its use from 0 on; those
            past an epoch are in the next.

        Raises:
          VerifyError: a store has changed since it was opened.
        """
        position, epoch = np.empty_like(ordinal), np.empty_like(ordinal)
        for index in np.unique(subset).tolist():
            rows = np.flatnonzero(subset == index)
            available = int(self._order.available[index])
            name = self._order.names[index]
            position[rows], epoch[rows] = epoch_order(ordinal[rows], available, self._seed, name)
        return self._records(subset, position, epoch)

    def _records(self, subset: npt.NDArray[Any], position: Integers, epoch: Integers) -> Records:
        """Return the records at these positions of the permutations of subsets, all [n]."""
        tokens = np.empty((len(subset), self.sequence_length + 1), self._dtype)
        sequence, targets = np.empty_like(position), np.empty_like(position)
        for index in np.unique(subset).tolist():
            rows = np.flatnonzero(subset == index)
            name = self._order.names[index]
            numbers = self._sampled(name, index, position[rows])
            source = self._sources[name]
            tokens[rows] = source.tokens(numbers, epoch[rows])
            sequence[rows] = numbers
            left = source.stock.targets(self.sequence_length) - numbers * self.sequence_length
            targets[rows] = np.minimum(left, self.sequence_length)
        return Records(tokens, subset.astype(np.int64), sequence, epoch, targets)

    def _sampled(self, name: str, index: int, position: Integers) -> Integers:
        """Return which of all sequences of a subset those of its sample are."""
        everything = self._sources[name].stock.sequences(self.sequence_length)
        if self._order.available[index] == everything:
            return position
        return Permutation(everything, self._seed, f"{name}/sample", 0)(position)

    @property
    def heldout_names(self) -> tuple[str, ...]:
        return tuple(self.manifest["heldout"])

    def heldout(self, subset: str) -> "HeldOutStore":
        """Return the held-out records of `subset`.

        Raises:
          InputError: the subset has none.
          VerifyError: its store is not what the manifest says.
        """
        if subset not in self.manifest["heldout"]:
            raise InputError(
                f"{self._held_root} has no held-out set of {subset!r}"
                f"{nearest(subset, self.heldout_names)}"
            )
        store = TokenStore.open(self._held_root, HELDOUT + subset, self._held_tokens)
        return HeldOutStore(store, self.sequence_length, self._order.names.index(subset))


class HeldOutStore:
    """The held-out documents of one subset, packed like training sequences, in their order.

    Attributes: `targets`, `text_bytes` and `documents` as of `shards.HeldOut`.
    """

    def __init__(self, store: TokenStore, length: int, index: int):
        self._store, self._length, self._index = store, length, index
        self.targets = len(store)
        self.text_bytes = store.text_bytes
        self.documents = store.documents

    def __len__(self) -> int:
        return self._store.sequences(self._length)

    def read(self, start: int, stop: int) -> Records:
        """Return the records [start, stop); errors as of `MixtureRecords.read`."""
        sequence = np.arange(start, stop)
        return Records(
            self._store.sequence(sequence, self._length),
            np.full_like(sequence, self._index),
            sequence,
            np.zeros_like(sequence),
            np.minimum(self.targets - sequence * self._length, self._length),
        )


def tokens_manifest(root: Location) -> dict[str, Any]:
    """Return the manifest of the stage `tokens` of the build in `root`.

    Raises:
      InputError: there is none.
    """
    path = root / "manifests" / "tokens.json"
    if not exists(path):
        raise InputError(f"no token stores in {root} ({path} is missing); run massivetext tokenize")
    manifest: dict[str, Any] = read_json(path)
    return manifest


def _require_same_tokenizer(tokens: dict[str, Any], held: dict[str, Any], root: Location) -> None:
    if tokens["tokenizer_sha256"] != held["tokenizer_sha256"]:
        raise InputError(
            f"the held-out documents of {root} were made with another tokenizer than the tokens to "
            "train on; tokenise both with the same tokenizer.model"
        )


def _scaled(stock: Stock, share: Fraction, length: int) -> Stock:
    """Return `share` of a stock in whole sequences: at least one where there is one."""
    everything = stock.sequences(length)
    sequences = max(1, round(share * everything))
    if not everything or sequences == everything:
        return stock
    # Sequences of a sample are not all of one kind; only how many they are counts for a plan.
    return Stock(sequences * length, 0, sequences * length)
