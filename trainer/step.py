"""One update: loss, gradients, clipping, Adam; skipped whole when anything is not finite."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from massivetext.config import Train

from . import optimiser
from .loss import cross_entropy
from .model import hidden_states
from .parameters import Dimensions, Params, decay_mask, initialise, table
from .sharding import for_axes

State = dict[str, Any]
Metrics = dict[str, jax.Array]


def initial_state(train: Train, size: Dimensions, seed: int, mesh: Mesh) -> State:
    """Return `params` and `optimiser` (Adam's moments, and the number of skipped steps)."""
    shardings = {name: for_axes(mesh, row.axes) for name, row in table(size).items()}
    params = jax.jit(partial(initialise, size, seed), out_shardings=shardings)()
    moments = optimiser.transformation(train, decay_mask(size)).init(params)
    state = {"params": params, "optimiser": {"moments": moments, "skipped": jnp.int32(0)}}
    # Moments inherit the shardings of the parameters; the counters are put beside them.
    everywhere = for_axes(mesh, ())
    return jax.tree.map(lambda x: x if x.ndim else jax.device_put(x, everywhere), state)


def make_step(
    train: Train, size: Dimensions
) -> Callable[[State, ArrayLike, ArrayLike, ArrayLike], tuple[State, Metrics]]:
    """Return the compiled function of (state, inputs, targets, rate) to (state, metrics).

    The state passed in is consumed. Metrics are `loss` (nats per target), `gradient_norm` before
    clipping, `finite` and `skipped`, the number of steps skipped so far. A step whose loss or
    gradient is not finite leaves parameters and moments as they were.
    """
    transformation = optimiser.transformation(train, decay_mask(size))

    def mean_loss(params: Params, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        hidden = hidden_states(params, inputs, size, train.precision)
        nll, count = cross_entropy(hidden, params["embedding"], targets)
        return nll / jnp.maximum(count, 1)

    @partial(jax.jit, donate_argnums=0)
    def step(
        state: State, inputs: jax.Array, targets: jax.Array, rate: jax.Array
    ) -> tuple[State, Metrics]:
        params, before = state["params"], state["optimiser"]
        loss, gradients = jax.value_and_grad(mean_loss)(params, inputs, targets)
        norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        updates, moments = transformation.update(gradients, before["moments"], params)
        moved = optimiser.apply(params, updates, rate)
        skipped = before["skipped"] + jnp.where(finite, 0, 1)

        def keep(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)

        state = {
            "params": keep(moved, params),
            "optimiser": {"moments": keep(moments, before["moments"]), "skipped": skipped},
        }
        return state, {"loss": loss, "gradient_norm": norm, "finite": finite, "skipped": skipped}

    return step
