"""What the token stores beside a folder of shards give for each of its records."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .construction import open_sequences
from .errors import VerifyError
from .mixture_plan import MixturePlan
from .shards import Records, Shards
from .tokens import TokenStore


class StoredSequences:
    """Sequences made anew from the token stores.

    Args:
      tokens: the manifest of the stage `tokens`, whose stores lie beside the folder of `shards`.

    Raises:
      VerifyError: the stores are of another tokenizer, or hold other tokens than the plan says.
    """

    def __init__(self, shards: Shards, planned: MixturePlan, tokens: Mapping[str, Any]):
        self._root, self._tokens = shards.folder.parent, tokens
        self._length = planned.sequence_length
        seed = shards.manifest["seed"]
        if tokens["tokenizer_sha256"] != shards.manifest["tokenizer_sha256"]:
            raise VerifyError(
                f"{shards.folder} and the token stores beside it are of different tokenizers; run "
                "massivetext mix again"
            )
        self._sources = []
        for subset in planned.subsets:
            store = TokenStore.open(self._root, subset.name, tokens)
            source = open_sequences(planned.construction, store, self._length, seed, subset.name)
            if source.stock != subset.stock:
                raise VerifyError(
                    f"{shards.folder} was made of {subset.stock.tokens:,} tokens of {subset.name} "
                    f"({subset.stock.crops:,} cropped documents), and the token store holds "
                    f"{source.stock.tokens:,} ({source.stock.crops:,}); run massivetext mix again"
                )
            self._sources.append(source)

    def training(self, records: Records) -> Iterator[np.ndarray]:
        """Yield the tokens that each of these training records must have."""
        expected = np.empty_like(records.tokens)
        for subset in np.unique(records.subset).tolist():
            rows = np.flatnonzero(records.subset == subset)
            source = self._sources[subset]
            expected[rows] = source.tokens(records.sequence[rows], records.epoch[rows])
        yield from expected

    def heldout(self, name: str, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield the tokens that the held-out records [start, stop) of a subset must have."""
        store = TokenStore.open(self._root, f"heldout/{name}", self._tokens)
        yield from store.sequence(np.arange(start, stop), self._length)
