"""Adam, AdamW and Adafactor, each after clipping by the global norm.

Gopher trained with Adam, Chinchilla with AdamW, PaLM with Adafactor (section 5 of each of the
three papers' training descriptions). Everything here is float32 whatever the parameters are: see
`precision` for what is stored.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from massivetext.config import Train

from .parameters import Dimensions, Params, table
from .schedule import peak_rate

# Not given by Gopher or Chinchilla; the values GPT-3 (Appendix B) and most since then use.
BETA_1, BETA_2, EPSILON = 0.9, 0.95, 1e-8

# Adafactor's: PaLM, section 5, and the defaults of Shazeer and Stern (2018), section 9.
SECOND_MOMENT_POWER = 0.8
SQUARE_FLOOR = 1e-30
SCALE_FLOOR = 1e-3


class AdafactorState(NamedTuple):
    """What Adafactor remembers; both moments have the shapes of the parameters."""

    count: jax.Array  # type: ignore[assignment]  # optax's name for it, over tuple's method
    momentum: Params
    second: Params


def transformation(train: Train, size: Dimensions) -> optax.GradientTransformationExtraArgs:
    """Return the update rule of `train.optimizer`, for parameters and gradients in float32.

    Its `update(gradients, state, params, rate=rate)` takes the learning rate of the step and gives
    what `optax.apply_updates` adds. Matrices are decayed, biases and norm scales are not:

      adam       no decay.
      adamw      `train.decay` says how much of a parameter a step takes away:
                 coupled       rate · weight_decay, as in optax and PyTorch
                 independent   rate / peak · weight_decay (Loshchilov and Hutter 2019): the decay
                               follows the schedule and not the peak rate
                 squared_rate  rate² (PaLM); `weight_decay` plays no part
      adafactor  rate², as PaLM set it.
    """
    rows = table(size)
    decayed = {name: row.decay for name, row in rows.items()}
    if train.optimizer == "adafactor":
        # A stacked parameter is one matrix per layer, and each has its own scale.
        stacked = {name: row.stacked for name, row in rows.items()}
        scaling: optax.GradientTransformation = scale_by_adafactor(stacked)
        decay = "squared_rate"
    else:
        scaling = optax.scale_by_adam(BETA_1, BETA_2, EPSILON)
        decay = train.decay if train.optimizer == "adamw" else "none"
    share = train.weight_decay
    if decay == "independent":
        share /= peak_rate(train)
    return optax.chain(
        optax.clip_by_global_norm(train.clip_norm), scaling, _descend(decay, share, decayed)
    )


def scale_by_adafactor(stacked: dict[str, bool]) -> optax.GradientTransformation:
    """Return Adafactor without factorisation: Adam at the scale of each parameter.

    The second moment is a mean with beta2 = 1 - k^-0.8 at step k, so it needs no correction of
    bias. The direction is scaled by the root mean square of the parameter, or by 1e-3 where that is
    less, and averaged with beta1 = 0.9. PaLM clips by the global norm, not per parameter.
    """

    def init(params: Params) -> AdafactorState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdafactorState(jnp.int32(0), zeros, jax.tree.map(jnp.zeros_like, params))

    def update(
        gradients: Params, state: AdafactorState, params: Params | None = None
    ) -> tuple[Params, AdafactorState]:
        assert params is not None
        count = optax.safe_increment(state.count)
        new = count.astype(jnp.float32) ** -SECOND_MOMENT_POWER
        second = jax.tree.map(
            lambda v, g: (1 - new) * v + new * (g * g + SQUARE_FLOOR), state.second, gradients
        )
        momentum = {
            name: BETA_1 * state.momentum[name]
            + (1 - BETA_1)
            * (g * jax.lax.rsqrt(second[name]) * parameter_scale(params[name], stacked[name]))
            for name, g in gradients.items()
        }
        return momentum, AdafactorState(count, momentum, second)

    return optax.GradientTransformation(init, update)


def parameter_scale(param: jax.Array, stacked: bool) -> jax.Array:
    """Return the root mean square of `param`, of each layer's when stacked, at least 1e-3."""
    over = tuple(range(1 if stacked else 0, param.ndim))
    square = jnp.mean(jnp.square(param), axis=over, keepdims=True)
    return jnp.maximum(jnp.sqrt(square), SCALE_FLOOR)


def _descend(
    decay: str, share: float, decayed: dict[str, bool]
) -> optax.GradientTransformationExtraArgs:
    """Return the last link: against the direction by `rate`, and decay of the `decayed`."""

    def update(
        directions: Params,
        state: optax.EmptyState,
        params: Params | None = None,
        *,
        rate: jax.Array,
        **unused: Any,
    ) -> tuple[Params, optax.EmptyState]:
        assert params is not None
        if decay == "none":
            return jax.tree.map(lambda u: -rate * u, directions), state
        lost = rate if decay == "squared_rate" else share
        return {
            name: -rate * (u + lost * params[name] if decayed[name] else u)
            for name, u in directions.items()
        }, state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
