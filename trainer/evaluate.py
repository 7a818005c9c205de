"""Bits per byte of each subset's held-out documents (The Pile, section 3.1; Gopher, 3.2).

    bits per byte = sum of the targets' negative log-likelihood (nats) / (ln 2 · bytes of text)

Bytes are those of the original text in UTF-8, so the measure does not depend on the tokenizer. The
end-of-text tokens are targets too: a document's end is part of what a model must predict.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import jax
import numpy as np
from jax.typing import ArrayLike

from massivetext.shards import Records
from massivetext.training_records import HeldOutRecords, TrainingRecords

from .data import Batch, to_batch
from .loss import PADDING, cross_entropy
from .model import hidden_states
from .parameters import Dimensions, Params

Score = Callable[[Params, ArrayLike, ArrayLike], tuple[jax.Array, jax.Array]]


@dataclass(frozen=True)
class TextLoss:
    """The loss on one text: the held-out documents of a subset, or a file.

    When only some of a subset's sequences were evaluated, `text_bytes` is its bytes times the share
    of its targets that were: bytes are known for the whole set, not for one sequence.
    """

    bits_per_byte: float
    loss: float  # nats per target
    targets: int
    text_bytes: float
    sequences: int
    of_sequences: int


@lru_cache(maxsize=4)
def make_score(size: Dimensions, precision: str) -> Score:
    """Return the compiled function of (params, inputs, targets) to (summed nats, targets)."""

    @jax.jit
    def score(params: Params, inputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = hidden_states(params, inputs, size, precision)
        nats, count, _ = cross_entropy(hidden, params["embedding"], targets)
        return nats, count

    return score


def evaluate_params(
    params: Params, shards: TrainingRecords, score: Score, batch_size: int, sequences: int
) -> dict[str, TextLoss]:
    """Return the loss of each held-out set, on at most `sequences` of its sequences."""
    losses = {}
    for name in sorted(shards.heldout_names):
        held_out = shards.heldout(name)
        if held_out.text_bytes:  # else every document is empty and there is no byte to share
            losses[name] = _evaluate_subset(params, held_out, score, batch_size, sequences)
    return losses


def _evaluate_subset(
    params: Params, held_out: HeldOutRecords, score: Score, batch_size: int, sequences: int
) -> TextLoss:
    count = min(sequences, len(held_out))
    # Spread evenly, so that a large set is not judged by its first documents alone.
    chosen = [i * len(held_out) // count for i in range(count)]

    def batches() -> Iterator[Batch]:
        for start in range(0, count, batch_size):
            rows = [held_out.read(i, i + 1) for i in chosen[start : start + batch_size]]
            yield to_batch(Records(*(np.concatenate(column) for column in zip(*rows, strict=True))))

    nats, targets, _ = sum_losses(params, score, batches(), batch_size)
    text_bytes = held_out.text_bytes * targets / held_out.targets
    return TextLoss(
        bits_per_byte=nats / (math.log(2) * text_bytes),
        loss=nats / targets,
        targets=targets,
        text_bytes=text_bytes,
        sequences=count,
        of_sequences=len(held_out),
    )


def sum_losses(
    params: Params, score: Score, batches: Iterable[Batch], batch_size: int
) -> tuple[float, int, int]:
    """Return the nats, the targets and the sequences of all batches."""
    nats, targets, sequences = 0.0, 0, 0
    for batch in batches:
        filled = _fill(batch, batch_size)
        batch_nats, batch_targets = score(params, filled.inputs, filled.targets)
        nats += float(batch_nats)
        targets += int(batch_targets)
        sequences += len(batch.inputs)
    return nats, targets, sequences


def _fill(batch: Batch, batch_size: int) -> Batch:
    """Complete a batch with rows of padding: one shape, so one compilation."""
    missing = batch_size - len(batch.inputs)
    rows = ((0, missing), (0, 0))
    return Batch(np.pad(batch.inputs, rows), np.pad(batch.targets, rows, constant_values=PADDING))
