"""An update in which every token has its own share of the loss, found from all tokens' losses.

`trainer.step` minimises the mean over the tokens of a batch. Here a function of the tokens' losses
says what each counts: by its group (Group DRO), or as any other. Nothing is differentiated through
that function: its shares are numbers.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from massivetext.config import Train
from massivetext.trainer.loss import PADDING, chunks_of
from massivetext.trainer.model import hidden_states
from massivetext.trainer.parameters import Dimensions, Params
from massivetext.trainer.precision import cast
from massivetext.trainer.sharding import (
    batch_sharding,
    constrain,
    gathered,
    optimiser_sharding,
    param_sharding,
)
from massivetext.trainer.step import Metrics, State, make_update, state_sharding

# Arrays by name: what shares are made from besides losses, and what is told of them.
Arrays = dict[str, Any]
# (losses [M, b, T], real targets [M, b, T], given) -> (shares [M, b, T], told)
Weigh = Callable[[jax.Array, jax.Array, Arrays], tuple[jax.Array, Arrays]]
Scores = Callable[[Params, ArrayLike, ArrayLike, ArrayLike], jax.Array]
GroupStep = Callable[
    [State, ArrayLike, ArrayLike, ArrayLike, ArrayLike, Arrays], tuple[State, Metrics, Arrays]
]


def token_losses(
    hidden: jax.Array, embedding: jax.Array, targets: jax.Array, z_loss: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Return the negative log-likelihood of every target, and its z-loss.

    As `trainer.loss.cross_entropy` but not summed; the whole logits are never held either.

    Args:
      hidden: [B, T, D].
      embedding: [V, D]; the logits are `hidden` · `embedding`.
      targets: int32 [B, T], `PADDING` where there is none. Another value outside 0 ... V-1 has the
        loss NaN.
      z_loss: weight of log² Z.

    Returns:
      `(nll, z)`, float32 [B, T] each: nats, and 0 where there is no target.
    """
    batch, length = targets.shape
    mesh = jax.sharding.get_abstract_mesh()
    vocab, d_model = embedding.shape
    chunks = chunks_of(batch, length, vocab, d_model, 1 if mesh.empty else mesh.size)
    table = constrain(embedding.astype(hidden.dtype), "vocab", None)
    rest = -length % chunks
    hidden = jnp.pad(hidden, [(0, 0), (0, rest), (0, 0)])
    padded = jnp.pad(targets, [(0, 0), (0, rest)], constant_values=PADDING)

    # The logits of a chunk are made again on the way back instead of being kept.
    @jax.checkpoint
    def of_chunk(h: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = jnp.einsum("bcd,vd->bcv", h, table, preferred_element_type=jnp.float32)
        normaliser = jax.nn.logsumexp(scores, axis=-1)
        at = jnp.maximum(target, 0)[..., None]
        chosen = jnp.take_along_axis(scores, at, axis=-1, mode="fill")[..., 0]
        real = target != PADDING
        # A negative value that is not PADDING is no token either.
        nll = jnp.where(target < PADDING, jnp.nan, normaliser - chosen)
        return jnp.where(real, nll, 0.0), jnp.where(real, z_loss * normaliser**2, 0.0)

    if chunks == 1:
        return of_chunk(hidden, padded)

    def in_chunks(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x.reshape(batch, chunks, -1, *x.shape[2:]), 1, 0)

    nll, z = lax.map(lambda chunk: of_chunk(*chunk), (in_chunks(hidden), in_chunks(padded)))
    nll, z = (jnp.moveaxis(x, 0, 1).reshape(batch, -1)[:, :length] for x in (nll, z))
    return nll, z


def _losses(
    params: Params, inputs: jax.Array, targets: jax.Array, train: Train, size: Dimensions
) -> tuple[jax.Array, jax.Array]:
    """Return the losses of a micro batch, [b, T]: nats and z-loss, and nats alone."""
    params = gathered(params, size)
    hidden = hidden_states(params, inputs, size, train.precision, train.remat)
    hidden = constrain(hidden, "batch", None, None)
    nll, z = token_losses(hidden, params["embedding"], targets, train.z_loss)
    return nll + z, nll


def make_scores(train: Train, size: Dimensions, mesh: Mesh) -> Scores:
    """Return the compiled function of (params, inputs, targets, micro_batches) to every target's
    loss in nats, float32 [M, b, T]; arguments as of `make_group_step`."""

    def scores(
        params: Params, inputs: jax.Array, targets: jax.Array, micro_batches: jax.Array
    ) -> jax.Array:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return _all_losses(params, inputs, targets, micro_batches, train, size)

    everywhere, batch = NamedSharding(mesh, PartitionSpec()), batch_sharding(mesh)
    places = (param_sharding(mesh, size), batch, batch, everywhere)
    return jax.jit(scores, in_shardings=places, out_shardings=batch)


def _all_losses(
    params: Params,
    inputs: jax.Array,
    targets: jax.Array,
    micro_batches: jax.Array,
    train: Train,
    size: Dimensions,
) -> jax.Array:
    """Return the losses in nats of the first micro batches, float32 [M, b, T]; of others 0."""
    if len(inputs) == 1:
        return _losses(params, inputs[0], targets[0], train, size)[1][None]

    def fill(i: jax.Array, nll: jax.Array) -> jax.Array:
        return nll.at[i].set(_losses(params, inputs[i], targets[i], train, size)[1])

    return lax.fori_loop(0, micro_batches, fill, jnp.zeros(targets.shape, jnp.float32))


def make_group_step(train: Train, size: Dimensions, mesh: Mesh, weigh: Weigh) -> GroupStep:
    """Return the compiled function of (state, inputs, targets, micro_batches, rate, given).

    As `trainer.step.make_step`, except that the loss is the sum over targets of their losses times
    the shares that `weigh` gives them, and that `given`, arrays that `weigh` needs, is passed on to
    it. Returned are the next state, the metrics, whose `loss` is in nats and has no z-loss in it,
    and what `weigh` tells. Shares depend on the whole batch, so one that is cut in micro batches is
    computed twice: for its losses, and for their gradients.
    """
    update = make_update(train, size, mesh)
    places = state_sharding(train, size, mesh)
    parts = optimiser_sharding(mesh, size, train.mesh.partition_optimizer)

    def gradients_of(back: Callable[..., Any], shares: jax.Array) -> Params:
        (gradients,) = back(shares)
        gradients = cast(gradients, jnp.dtype(jnp.float32))
        summed: Params = lax.with_sharding_constraint(gradients, parts)
        return summed

    def differentiate(
        params: Params, inputs: jax.Array, targets: jax.Array
    ) -> tuple[Callable[..., Any], jax.Array]:
        losses = partial(_losses, inputs=inputs, targets=targets, train=train, size=size)
        _, back, nll = jax.vjp(losses, params, has_aux=True)
        return back, nll

    def step(
        state: State,
        inputs: jax.Array,
        targets: jax.Array,
        micro_batches: jax.Array,
        rate: jax.Array,
        given: Arrays,
    ) -> tuple[State, Metrics, Arrays]:
        params, real = state["params"], targets != PADDING
        if len(inputs) == 1:
            back, one = differentiate(params, inputs[0], targets[0])
            nll = one[None]
            shares, told = weigh(nll, real, given)
            gradients = gradients_of(back, shares[0])
        else:
            nll = _all_losses(params, inputs, targets, micro_batches, train, size)
            shares, told = weigh(nll, real, given)

            def add(i: jax.Array, total: Params) -> Params:
                back, _ = differentiate(params, inputs[i], targets[i])
                return jax.tree.map(jnp.add, total, gradients_of(back, shares[i]))

            zeros = {name: jnp.zeros(p.shape, jnp.float32) for name, p in params.items()}
            zeros = lax.with_sharding_constraint(zeros, parts)
            gradients = lax.fori_loop(0, micro_batches, add, zeros)
        loss = jnp.sum(shares * nll)
        state, about = update(state, gradients, jnp.isfinite(loss), rate)
        return state, {"loss": loss, **about}, told

    def on_mesh(*arguments: Any) -> tuple[State, Metrics, Arrays]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return step(*arguments)

    everywhere, batch = NamedSharding(mesh, PartitionSpec()), batch_sharding(mesh)
    return jax.jit(
        on_mesh,
        donate_argnums=0,
        in_shardings=(places, batch, batch, everywhere, everywhere, None),
        out_shardings=(places, everywhere, everywhere),
    )
