"""Adam and AdamW with Gopher's schedule and clipping (Gopher, section 3.1)."""

import math
from typing import Any

import jax
import optax

from massivetext.config import Train
from massivetext.presets import MODELS

# Not given in the paper; the values GPT-3 (Appendix B) and most since then use.
BETA_1, BETA_2, EPSILON = 0.9, 0.95, 1e-8

WARMUP_START = 1e-7
FINAL_FRACTION = 0.1


def warmup_steps(train: Train) -> int:
    """Return the steps of warm-up: as configured, but at most a tenth of the run.

    Published runs have a million steps and keep their 1,500; a demo of 200 warms up for 20.
    """
    return min(train.warmup_steps, train.steps // 10)


def learning_rate(train: Train, step: int) -> float:
    """Return the rate of the update number `step`, counted from 0.

    Linear from 1e-7 to the maximum over the warm-up, then a cosine to a tenth of it at the last
    step. Computed on the host in double precision: exact, and no part of the compiled step.
    """
    peak = train.learning_rate or MODELS[train.model].learning_rate
    warmup = warmup_steps(train)
    if step < warmup:
        return WARMUP_START + (peak - WARMUP_START) * step / warmup
    progress = (step - warmup) / max(1, train.steps - 1 - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return peak * (FINAL_FRACTION + (1 - FINAL_FRACTION) * cosine)


def transformation(train: Train, decay_mask: dict[str, bool]) -> optax.GradientTransformation:
    """Return clipping, Adam's scaling and decay; the step multiplies by the learning rate.

    AdamW's decay is the coupled one of optax and PyTorch: the learning rate times
    `weight_decay` times the parameter, for matrices only.
    """
    chain = [
        optax.clip_by_global_norm(train.clip_norm),
        optax.scale_by_adam(BETA_1, BETA_2, EPSILON),
    ]
    if train.optimizer == "adamw":
        chain.append(optax.add_decayed_weights(train.weight_decay, decay_mask))
    return optax.chain(*chain)


def apply(params: Any, updates: Any, rate: jax.Array) -> Any:
    """Return `params` moved against `updates` by `rate`."""
    return jax.tree.map(lambda p, u: p - rate * u, params, updates)
