"""Group DRO as a `weight_run.Method`: what DoReMi's proxy is trained with (see `doremi`)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from massivetext.record_files import Records
from massivetext.trainer.parameters import Params
from massivetext.trainer.run import Task
from massivetext.trainer.sharding import param_sharding

from .group_step import Arrays, make_scores
from .weight_run import PlacedBatch


def ascended(
    weights: jax.Array, excess: jax.Array, step_size: float, smoothing: float
) -> jax.Array:
    """Return the weights, [K], after a step of exponentiated gradient ascent, smoothed."""
    risen = jax.nn.softmax(jnp.log(weights) + step_size * excess)
    return (1 - smoothing) * risen + smoothing / len(weights)


def by_group(values: jax.Array, groups: jax.Array, count: int) -> jax.Array:
    """Return the sum of `values` [M, b] of each group, [count]; `groups` are int32 [M, b]."""
    # Not a matrix product, which accelerators round, and not a scatter, whose order is theirs.
    member = groups == jnp.arange(count)[:, None, None]
    return jnp.sum(jnp.where(member, values, 0), axis=(1, 2))


def weigh(
    nll: jax.Array, real: jax.Array, given: Arrays, *, step_size: float, smoothing: float
) -> tuple[jax.Array, Arrays]:
    """Return what each target counts, [M, b, T], and `weights` and `excess` after the step, [K].

    Args:
      nll: nats, [M, b, T]; `real` says which targets are.
      given: `weights` and `excess` [K] before the step, `groups` int32 [M, b] and `reference`, the
        losses of the reference, [M, b, T].
    """
    groups, count = given["groups"], len(given["weights"])
    tokens = by_group(jnp.sum(real, axis=-1, dtype=jnp.float32), groups, count)
    above = jnp.where(real, jnp.maximum(nll - given["reference"], 0), 0)
    present = tokens > 0
    tokens = jnp.maximum(tokens, 1)
    excess = by_group(jnp.sum(above, axis=-1), groups, count) / tokens
    excess = jnp.where(present, excess, given["excess"])
    weights = ascended(given["weights"], excess, step_size, smoothing)
    all_to_present = count / jnp.maximum(jnp.sum(present), 1)
    shares = (all_to_present * weights / tokens)[groups][..., None] * real
    return shares, {"weights": weights, "excess": excess}


class GroupDRO:
    """Weights that rise where the proxy is behind the `reference`.

    `task.shards` must be records of all subsets alike: `subsets` of them, in the order of its
    manifest, are the groups.
    """

    def __init__(self, task: Task, reference: Params, *, step_size: float, smoothing: float):
        self.names = tuple(subset["name"] for subset in task.shards.manifest["subsets"])
        self.weights = np.full(len(self.names), 1 / len(self.names))
        self.weigh = partial(weigh, step_size=step_size, smoothing=smoothing)
        self._excess = np.zeros(len(self.names))
        self._records = task.shards
        self._reference = jax.device_put(reference, param_sharding(task.mesh, task.size))
        self._scores = make_scores(task.plan, task.size, task.mesh)

    def draw(self, step: int, start: int, size: int) -> Records:
        return self._records.read(start, start + size)

    def given(self, batch: PlacedBatch) -> Arrays:
        scores = self._scores(self._reference, batch.inputs, batch.targets, batch.micro_batches)
        return {
            "weights": self.weights.astype(np.float32),
            "excess": self._excess.astype(np.float32),
            "groups": batch.subsets,
            "reference": scores,
        }

    def learn(self, told: Arrays, records: Records) -> None:
        self.weights = np.asarray(told["weights"], np.float64)
        self._excess = np.asarray(told["excess"], np.float64)

    def to_json(self) -> dict[str, Any]:
        return {"weights": self.weights.tolist(), "excess": self._excess.tolist()}

    def restore(self, about: dict[str, Any]) -> None:
        self.weights, self._excess = np.array(about["weights"]), np.array(about["excess"])
