"""Bits per byte of each subset's held-out documents (The Pile, section 3.1; Gopher, section 3.2).

    bits per byte = sum of the targets' negative log-likelihood (nats) / (ln 2 · bytes of text)

Bytes are those of the original text in UTF-8, so the measure does not depend on the tokenizer. The
end-of-text tokens are targets too: a document's end is part of what a model must predict.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jax.typing import ArrayLike

from massivetext.config import Config
from massivetext.errors import InputError
from massivetext.shards import HeldOut, Records, Shards

from . import checkpoint
from .data import Batch, fingerprint, to_batch
from .loss import PADDING, cross_entropy
from .metrics import say
from .model import hidden_states
from .parameters import Dimensions, Params, dimensions

Score = Callable[[Params, ArrayLike, ArrayLike], tuple[jax.Array, jax.Array]]


@dataclass(frozen=True)
class SubsetLoss:
    """The loss on the held-out documents of one subset.

    When only some of the sequences were evaluated, `text_bytes` is the subset's bytes times the
    share of its targets that were: bytes are known for the whole set, not for one sequence.
    """

    bits_per_byte: float
    loss: float  # nats per target
    targets: int
    text_bytes: float
    sequences: int
    of_sequences: int


def make_score(size: Dimensions, precision: str) -> Score:
    """Return the compiled function of (params, inputs, targets) to (summed nats, targets)."""

    @jax.jit
    def score(params: Params, inputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = hidden_states(params, inputs, size, precision)
        return cross_entropy(hidden, params["embedding"], targets)

    return score


def evaluate_params(
    params: Params, shards: Shards, score: Score, batch_size: int, sequences: int
) -> dict[str, SubsetLoss]:
    """Return the loss of each held-out set, on at most `sequences` of its sequences."""
    losses = {}
    for name in sorted(shards.heldout_names):
        held_out = shards.heldout(name)
        if held_out.text_bytes:  # else every document is empty and there is no byte to share
            losses[name] = _evaluate_subset(params, held_out, score, batch_size, sequences)
    return losses


def _evaluate_subset(
    params: Params, held_out: HeldOut, score: Score, batch_size: int, sequences: int
) -> SubsetLoss:
    count = min(sequences, len(held_out))
    # Spread evenly, so that a large set is not judged by its first documents alone.
    chosen = [i * len(held_out) // count for i in range(count)]
    nats, targets = 0.0, 0
    for start in range(0, count, batch_size):
        rows = [held_out.read(i, i + 1) for i in chosen[start : start + batch_size]]
        batch = to_batch(Records(*(np.concatenate(column) for column in zip(*rows, strict=True))))
        batch = _fill(batch, batch_size)
        batch_nats, batch_targets = score(params, batch.inputs, batch.targets)
        nats += float(batch_nats)
        targets += int(batch_targets)
    text_bytes = held_out.text_bytes * targets / held_out.targets
    return SubsetLoss(
        bits_per_byte=nats / (math.log(2) * text_bytes),
        loss=nats / targets,
        targets=targets,
        text_bytes=text_bytes,
        sequences=count,
        of_sequences=len(held_out),
    )


def _fill(batch: Batch, batch_size: int) -> Batch:
    """Complete a batch with rows of padding: one shape, so one compilation."""
    missing = batch_size - len(batch.inputs)
    rows = ((0, missing), (0, 0))
    return Batch(np.pad(batch.inputs, rows), np.pad(batch.targets, rows, constant_values=PADDING))


def evaluate(root: Path, config: Config) -> dict[str, float]:
    """Return, per subset, the bits per byte of the last checkpoint on the held-out documents.

    Says on stderr of which subsets only `train.evaluate_sequences` sequences were evaluated.

    Raises:
      InputError: there is no checkpoint or no held-out document.
      ConfigError: the checkpoint is of another model, or was trained on other shards.
    """
    shards = Shards.open(root / "shards")
    size = dimensions(config.train, shards.manifest["vocab_size"])
    params = checkpoint.load_params(root, size, fingerprint(shards))
    score = make_score(size, config.train.precision)
    losses = evaluate_params(
        params, shards, score, config.train.batch_size, config.train.evaluate_sequences
    )
    if not losses:
        raise InputError(
            f"no held-out documents in {root / 'shards'}: set heldout.fraction and build again"
        )
    for name, loss in losses.items():
        if loss.sequences < loss.of_sequences:
            say(
                f"{name}: {loss.sequences:,} of {loss.of_sequences:,} sequences; bytes scaled by "
                "their share of the targets"
            )
    return {name: loss.bits_per_byte for name, loss in losses.items()}
