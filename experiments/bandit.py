"""The bandit of `exp3` as a `weight_run.Method`: its policy draws the batches it learns from."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from massivetext.mixture_records import MixtureRecords
from massivetext.record_files import Records

from . import exp3
from .group_step import Arrays
from .weight_run import PlacedBatch


def weigh(nll: jax.Array, real: jax.Array, given: Arrays) -> tuple[jax.Array, Arrays]:
    """Return the same share for every target, [M, b, T], and each sequence's mean loss, [M, b]."""
    tokens = jnp.sum(real, axis=-1, dtype=jnp.float32)
    shares = real / jnp.maximum(jnp.sum(tokens), 1)
    return shares, {"loss": jnp.sum(nll, axis=-1) / jnp.maximum(tokens, 1)}


class Bandit:
    """Weights that are Exp3's policy over the subsets of `records`."""

    weigh = staticmethod(weigh)

    def __init__(self, records: MixtureRecords, seed: int):
        self.names = tuple(subset.name for subset in records.planned.subsets)
        self.weights = exp3.policy(np.zeros(len(self.names)), 0)
        self._rewards = np.zeros(len(self.names))
        self._used = np.zeros(len(self.names), np.int64)  # sequences of each subset
        self._updates = 0
        self._records, self._seed = records, seed

    def draw(self, step: int, start: int, size: int) -> Records:
        self.weights = exp3.policy(self._rewards, self._updates)
        drawn = exp3.draw(self.weights, size, self._seed, step)
        ordinals = np.empty_like(drawn)
        for subset in np.unique(drawn).tolist():
            rows = np.flatnonzero(drawn == subset)
            ordinals[rows] = self._used[subset] + np.arange(len(rows))
        self._used += np.bincount(drawn, minlength=len(self._used))
        return self._records.uses(drawn, ordinals)

    def given(self, batch: PlacedBatch) -> Arrays:
        return {}

    def learn(self, told: Arrays, records: Records) -> None:
        losses = np.asarray(told["loss"], np.float64).reshape(-1)[: len(records.subset)]
        self._rewards = exp3.rewarded(self._rewards, self.weights, records.subset, losses)
        self._updates += 1

    def to_json(self) -> dict[str, Any]:
        return {
            "rewards": self._rewards.tolist(),
            "used": self._used.tolist(),
            "updates": self._updates,
        }

    def restore(self, about: dict[str, Any]) -> None:
        self._rewards = np.array(about["rewards"])
        self._used = np.array(about["used"], np.int64)
        self._updates = about["updates"]
