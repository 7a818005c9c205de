"""A tiny model of each family whose every dimension divides by 8, and batches to train it on."""

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import numpy as np

from massivetext.config import Train
from massivetext.config_train import Mesh, Override
from massivetext.trainer.parameters import Dimensions, dimensions
from massivetext.trainer.sharding import make_mesh
from massivetext.trainer.step import Step, abstract_state, initial_state, make_step

VOCAB, LENGTH, SEQUENCES = 64, 8, 8
RATE = np.float32(1e-2)
PLAN = Train(
    override=Override(layers=2, heads=8, kv_size=8, d_model=16),
    steps=10,
    batch_size=SEQUENCES,
    learning_rate=1e-2,
    mesh=Mesh(data=1),
    remat="none",
)
MODELS = {"gopher": "gopher-44m", "palm": "palm-8b", "gpt3": "gpt3-125m"}


def plan(family: str = "gopher", **changes: Any) -> Train:
    return replace(PLAN, model=MODELS[family], **changes)


def size_of(train: Train) -> Dimensions:
    return dimensions(train, VOCAB, LENGTH)


def batch(micro_batches: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets [M, 8 / M, T]; the first sequences have less targets than the others."""
    rng = np.random.default_rng(seed)
    shape = (micro_batches, SEQUENCES // micro_batches, LENGTH)
    inputs, targets = rng.integers(0, VOCAB, (2, *shape)).astype(np.int32)
    targets[0, 0, 2:] = -1
    return inputs, targets


@cache
def _on_host(train: Train, seed: int) -> Any:
    state = initial_state(train, size_of(train), seed, make_mesh(train.mesh, SEQUENCES))
    return jax.tree.map(np.array, state)


def fresh(train: Train, seed: int = 0) -> Any:
    """The initial state where `train.mesh` wants it, made on one device: that compiles once."""
    places = abstract_state(train, size_of(train), make_mesh(train.mesh, SEQUENCES))
    state = _on_host(replace(train, mesh=Mesh(data=1)), seed)
    # Copies: on a CPU an array may share the memory it was made from, and steps write to it.
    return jax.tree.map(lambda x, to: jax.device_put(x.copy(), to.sharding), state, places)


@cache
def step_of(train: Train) -> Step:
    return make_step(train, size_of(train), make_mesh(train.mesh, SEQUENCES))


def run(train: Train, batches: list, state: Any = None) -> tuple[Any, list[dict[str, float]]]:
    """The state and the metrics of every step after training on `batches`."""
    state = fresh(train) if state is None else state
    metrics = []
    for inputs, targets in batches:
        state, values = step_of(train)(state, inputs, targets, np.int32(len(inputs)), RATE)
        metrics.append({name: float(value) for name, value in values.items()})
    return state, metrics
