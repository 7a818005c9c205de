"""One update: loss, gradients, clipping, optimiser; skipped whole when anything is not finite."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.tree_util import DictKey
from jax.typing import ArrayLike

from massivetext.config import Train

from . import optimiser
from .loss import cross_entropy
from .model import hidden_states
from .parameters import Dimensions, Params, Seeds, from_seeds, seeds
from .precision import cast, has_master, round_stochastically, stored_dtype
from .sharding import batch_sharding, constrain, gathered, optimiser_sharding, param_sharding

State = dict[str, Any]
Metrics = dict[str, jax.Array]
Step = Callable[[State, ArrayLike, ArrayLike, ArrayLike, ArrayLike], tuple[State, Metrics]]
Update = Callable[[State, Params, jax.Array, jax.Array], tuple[State, Metrics]]

# Kept of each kind, for runs that one process trains one after another.
PROGRAMS = 4


def initial_state(train: Train, size: Dimensions, seed: int, mesh: Mesh) -> State:
    """Return `params` and `optimiser`, every array made where it is to live.

    `optimiser` has `moments`, the number of `skipped` steps, and by precision the `master` copy of
    the parameters (float32) or the key of the stochastic `rounding`. `seed` has 32 bits.

    Raises:
      ConfigError: the model does not divide evenly over the mesh.
    """
    return _compiled_fresh(train, size, mesh)(np.uint32(seed), seeds(size, seed))


@lru_cache(PROGRAMS)
def _compiled_fresh(train: Train, size: Dimensions, mesh: Mesh) -> Callable[..., State]:
    return jax.jit(partial(_fresh, train, size), out_shardings=state_sharding(train, size, mesh))


def abstract_state(train: Train, size: Dimensions, mesh: Mesh) -> State:
    """Return the shapes, dtypes and shardings of the state without allocating it.

    The optimiser's arrays are dicts by the parameter's name, however deep; counters are everywhere.
    """
    places = {
        "params": param_sharding(mesh, size),
        "optimiser": optimiser_sharding(mesh, size, train.mesh.partition_optimizer),
    }
    everywhere = NamedSharding(mesh, PartitionSpec())

    def placed(path: tuple[Any, ...], x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        name = path[-1].key if isinstance(path[-1], DictKey) else ""
        place = places[path[0].key].get(name, everywhere)
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)

    fresh = jax.eval_shape(partial(_fresh, train, size, 0, seeds(size, 0)))
    return jax.tree.map_with_path(placed, fresh)


def state_sharding(train: Train, size: Dimensions, mesh: Mesh) -> State:
    """Return the sharding of every array of the state."""
    return jax.tree.map(lambda x: x.sharding, abstract_state(train, size, mesh))


def _fresh(train: Train, size: Dimensions, seed: ArrayLike, named: Seeds) -> State:
    params = from_seeds(size, named)
    moments = optimiser.transformation(train, size).init(params)
    about: dict[str, Any] = {"moments": moments, "skipped": jnp.int32(0)}
    if has_master(train):
        about["master"] = params
    if train.stochastic_rounding:
        about["rounding"] = jax.random.key_data(jax.random.key(seed))
    return {"params": cast(params, stored_dtype(train)), "optimiser": about}


def make_update(train: Train, size: Dimensions, mesh: Mesh) -> Update:
    """Return the function, to be compiled in a step, of (state, gradients, sound, rate).

    `gradients` are float32, by the parameter's name; `sound` says whether the loss is finite. It
    returns the next state and the metrics `gradient_norm`, `finite` and `skipped` of `make_step`.
    """
    rule = optimiser.transformation(train, size)
    parts = optimiser_sharding(mesh, size, train.mesh.partition_optimizer)

    def stored(params: Params, about: State) -> Params:
        """Return the float32 parameters as they are stored."""
        if not train.stochastic_rounding:
            return cast(params, stored_dtype(train))
        key = jax.random.wrap_key_data(about["rounding"])
        updates = optax.tree.get(about["moments"], "count")
        return round_stochastically(params, jax.random.fold_in(key, updates))

    def update(
        state: State, gradients: Params, sound: jax.Array, rate: jax.Array
    ) -> tuple[State, Metrics]:
        params, before = state["params"], state["optimiser"]
        norm = optax.tree.norm(gradients)
        finite = sound & jnp.isfinite(norm)

        wide = before.get("master") or cast(params, jnp.dtype(jnp.float32))
        wide = jax.lax.with_sharding_constraint(wide, parts)
        updates, moments = rule.update(gradients, before["moments"], wide, rate=rate)
        moved = optax.apply_updates(wide, updates)
        after = {**before, "moments": moments}
        if "master" in before:
            after["master"] = moved
        new = {"params": stored(moved, before), "optimiser": after}

        state = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
        skipped = before["skipped"] + jnp.where(finite, 0, 1)
        state["optimiser"]["skipped"] = skipped
        return state, {"gradient_norm": norm, "finite": finite, "skipped": skipped}

    return update


@lru_cache(PROGRAMS)
def make_step(train: Train, size: Dimensions, mesh: Mesh) -> Step:
    """Return the compiled function of (state, inputs, targets, micro_batches, rate).

    `inputs` and `targets` are int32 [M, b, T], split as `sharding.batch_sharding` says; the first
    `micro_batches` of the M count, so that a batch can grow without compiling again. It returns the
    next state, for which the one passed in is consumed, and metrics: `loss` and `z_loss` (nats per
    target), `gradient_norm` before clipping, `finite`, and `skipped`, the steps skipped so far.

    Loss and gradients are means over all targets of the batch, however it is cut. A step whose loss
    or gradient is not finite leaves everything but `skipped` as it was.
    """
    update = make_update(train, size, mesh)
    places = state_sharding(train, size, mesh)
    # Gradients are summed over devices into the parts that the optimiser needs of them.
    parts = optimiser_sharding(mesh, size, train.mesh.partition_optimizer)

    def summed_loss(
        params: Params, inputs: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        params = gathered(params, size)
        hidden = hidden_states(params, inputs, size, train.precision, train.remat)
        hidden = constrain(hidden, "batch", None, None)
        nll, count, z = cross_entropy(hidden, params["embedding"], targets, train.z_loss)
        return nll + z, jnp.stack([nll, z, count])

    def of_micro_batch(
        params: Params, inputs: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, Params]:
        (_, sums), gradients = jax.value_and_grad(summed_loss, has_aux=True)(
            params, inputs, targets
        )
        gradients = cast(gradients, jnp.dtype(jnp.float32))
        return sums, jax.lax.with_sharding_constraint(gradients, parts)

    def of_batch(
        params: Params, inputs: jax.Array, targets: jax.Array, micro_batches: jax.Array
    ) -> tuple[jax.Array, Params]:
        if inputs.shape[0] == 1:
            return of_micro_batch(params, inputs[0], targets[0])

        def add(i: jax.Array, total: tuple[jax.Array, Params]) -> tuple[jax.Array, Params]:
            one = of_micro_batch(params, inputs[i], targets[i])
            return jax.tree.map(jnp.add, total, one)

        zeros = {name: jnp.zeros(p.shape, jnp.float32) for name, p in params.items()}
        zeros = jax.lax.with_sharding_constraint(zeros, parts)
        return jax.lax.fori_loop(0, micro_batches, add, (jnp.zeros(3), zeros))

    def step(
        state: State,
        inputs: jax.Array,
        targets: jax.Array,
        micro_batches: jax.Array,
        rate: jax.Array,
    ) -> tuple[State, Metrics]:
        sums, gradients = of_batch(state["params"], inputs, targets, micro_batches)
        nll, z, count = sums
        count = jnp.maximum(count, 1)
        gradients = jax.tree.map(lambda g: g / count, gradients)
        state, about = update(state, gradients, jnp.isfinite(nll + z), rate)
        return state, {"loss": nll / count, "z_loss": z / count, **about}

    def on_mesh(*arguments: Any) -> tuple[State, Metrics]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return step(*arguments)

    everywhere = NamedSharding(mesh, PartitionSpec())
    batch = batch_sharding(mesh)
    return jax.jit(
        on_mesh,
        donate_argnums=0,
        in_shardings=(places, batch, batch, everywhere, everywhere),
        out_shardings=(places, everywhere),
    )
