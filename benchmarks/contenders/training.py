"""What the contenders that train share: their options, threads, batches and clock.

All train a decoder of one shape: learned positions, LayerNorm with biases, GELU, four times the
width in between, one matrix for embedding and logits, no dropout; float32; AdamW with the rates
below and clipping. Options: `layers`, `heads`, `width`, `context`, `batch`, `vocab`, `threads`,
`steps` and `warm_up` (steps before the clock starts, which compile).

Each result has, besides what every contender's has, `step_seconds` (wall time of each step),
`parameters`, and `first_loss` and `last_loss`: the same work starts and ends alike.
"""

import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from contender import Stopwatch

LEARNING_RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.95, 1e-8
WEIGHT_DECAY, CLIP_NORM = 0.1, 1.0

RECIPE = "float32, AdamW, global-norm clipping"


def use_threads(threads: int) -> None:
    """Keep this process to `threads` cores; call it before the library is imported.

    XLA and OpenMP make as many threads as there are cores for the process.
    """
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def batches(options: dict[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return inputs and targets [B, T], int32: the next token is the last plus one, modulo V."""
    random = np.random.default_rng(1)
    count, length = options["warm_up"] + options["steps"], np.arange(options["context"] + 1)
    first = random.integers(0, options["vocab"], (count, options["batch"], 1))
    tokens = ((first + length) % options["vocab"]).astype(np.int32)
    return [(step[:, :-1].copy(), step[:, 1:].copy()) for step in tokens]


def timed(
    options: dict[str, Any],
    parameters: int,
    configuration: str,
    step: Callable[[np.ndarray, np.ndarray], float],
) -> dict[str, Any]:
    """Train with `step`, of (inputs, targets) to the loss when it is there; return the result."""
    watch = Stopwatch()
    losses, seconds = [], []
    for number, (inputs, targets) in enumerate(batches(options)):
        if number < options["warm_up"]:
            losses.append(step(inputs, targets))
            continue
        with watch:
            begin = time.perf_counter()
            losses.append(step(inputs, targets))
            seconds.append(time.perf_counter() - begin)
    if not math.isfinite(losses[-1]) or losses[-1] >= losses[0]:
        raise ValueError(f"nothing was learned: loss {losses[0]} -> {losses[-1]}")
    return {
        **watch.result(),
        "step_seconds": seconds,
        "parameters": parameters,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "configuration": f"{configuration}; {RECIPE}, {options['threads']} thread(s)",
    }
