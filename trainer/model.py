"""The decoder: tokens in, hidden states out. `families` says where the papers differ.

GPT-2's stack of pre-norm blocks with an embedding that is shared with the logits. No dropout, and
no memory of earlier segments: the papers mention neither.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from massivetext.errors import ConfigError

from .attention import Bias, Relative, causal_attention
from .families import FAMILIES
from .layers import alibi_slopes, layer_norm, rms_norm, rotary_angles, rotate, sinusoid
from .parameters import Dimensions, Params, table

MOST_UNROLLED = 12  # layers, each of which takes time to compile

# (query [B, T, H, K], key [B, T, G, K], value [B, T, G, K], its layer's parameters)
# -> ([B, T, H, K], what the layer keeps)
Attention = Callable[[jax.Array, jax.Array, jax.Array, Params], tuple[jax.Array, Any]]


def norm(x: jax.Array, params: Params, name: str, size: Dimensions) -> jax.Array:
    """Apply the family's norm with the scale `name`, and its bias where there is one."""
    if FAMILIES[size.family].norm == "rms":
        return rms_norm(x, params[name])
    return layer_norm(x, params[name], params.get(f"{name}_bias"))


def product(h: jax.Array, matrix: jax.Array) -> jax.Array:
    """Return h [B, T, *X] times a matrix [*X, *Y], as [B, T, *Y]."""
    # Two dimensions each: for the gradient of a matrix, XLA's CPU would copy a longer h transposed.
    inner = h.shape[2:]
    flat = h.reshape(-1, math.prod(inner)) @ matrix.reshape(math.prod(inner), -1)
    return flat.reshape(*h.shape[:2], *matrix.shape[len(inner) :])


def project(h: jax.Array, layer: Params, name: str) -> jax.Array:
    out = product(h, layer[name])
    return out + layer[f"{name}_bias"] if f"{name}_bias" in layer else out


def add(x: jax.Array, h: jax.Array, layer: Params, name: str) -> jax.Array:
    """Add to the residual stream x what `name` projects h to."""
    x = x + product(h, layer[name])
    return x + layer[f"{name}_bias"] if f"{name}_bias" in layer else x


def block(
    x: jax.Array, layer: Params, size: Dimensions, position: jax.Array, attention: Attention
) -> tuple[jax.Array, Any]:
    """Apply one layer to x [B, T, D], whose tokens are at `position` [T]."""
    family = FAMILIES[size.family]
    layer = {
        name: array if name.endswith(("_norm", "_norm_bias")) else array.astype(x.dtype)
        for name, array in layer.items()
    }
    h = norm(x, layer, "block_norm" if family.parallel else "attention_norm", size)
    query, key, value = (project(h, layer, name) for name in ("query", "key", "value"))
    if size.qk_norm:
        query, key = rms_norm(query, layer["query_norm"]), rms_norm(key, layer["key_norm"])
    if size.positions == "rotary":
        angles = rotary_angles(position, size.kv_size)
        query, key = rotate(query, angles), rotate(key, angles)
    attended, kept = attention(query, key, value, layer)
    x = add(x, attended, layer, "output")

    if not family.parallel:
        h = norm(x, layer, "ffw_norm", size)
    up = project(h, layer, "up")
    h = jax.nn.silu(project(h, layer, "gate")) * up if family.gated else jax.nn.gelu(up)
    return add(x, h, layer, "down"), kept


def embed(
    params: Params, tokens: jax.Array, position: jax.Array, size: Dimensions, dtype: jnp.dtype
) -> jax.Array:
    """Return [B, T, D]: the embeddings of `tokens` [B, T], with learned positions their sum."""
    x = params["embedding"][tokens]
    if size.positions == "learned":
        x = x + params["position_embedding"][position]
    return x.astype(dtype)


def stacked(params: Params, size: Dimensions) -> Params:
    """Return the parameters that lead with the layer axis."""
    return {name: params[name] for name, row in table(size).items() if row.stacked}


def final_norm(x: jax.Array, params: Params, size: Dimensions) -> jax.Array:
    """Return what the logits are made from; PaLM's factor 1/sqrt(D) on them is already in it."""
    last = {name: array for name, array in params.items() if name.startswith("final_norm")}
    if FAMILIES[size.family].unit_embedding:
        # Into the float32 scale of the norm: no extra rounding and no pass over the logits.
        last = {
            name: array.astype(jnp.float32) * size.d_model**-0.5 for name, array in last.items()
        }
    return norm(x, last, "final_norm", size)


def relative_terms(layer: Params, distance: jax.Array, size: Dimensions) -> Relative:
    """Return the terms of a layer's parameters (cast to the activations' dtype) for `distance`."""
    encoding = sinusoid(distance, size.d_model).astype(layer["position"].dtype)
    projected = jnp.einsum("td,dhk->thk", encoding, layer["position"])
    return Relative(projected, layer["content_bias"], layer["position_bias"])


def activation_dtype(precision: str) -> jnp.dtype:
    return jnp.dtype(jnp.float32 if precision == "float32" else jnp.bfloat16)


def check_context(length: int, size: Dimensions) -> None:
    """Raise ConfigError when learned positions end before `length`."""
    if size.positions == "learned" and length > size.context:
        raise ConfigError(
            f"{length} tokens are longer than the {size.context} learned positions of this model; "
            "shorten the text, or train with positions that go on (relative, rotary, alibi)"
        )


def hidden_states(
    params: Params,
    tokens: jax.Array,
    size: Dimensions,
    precision: str = "float32",
    remat: str = "matrices",
) -> jax.Array:
    """Return the final hidden states of `tokens`.

    Args:
      params: as `parameters.initialise` makes them, in float32 or bfloat16.
      tokens: int32 [B, T]; T may differ from the length trained with.
      precision: `float32`, or `mixed` or `bfloat16` for bfloat16 activations. Norms, softmax and
        rotary angles are float32 in each.
      remat: what the backward pass finds in memory: `none` all it needs; `matrices` what weight
        matrices gave, the rest (attention's scores above all) is computed again; `full` nothing
        but the input of each layer.

    Returns:
      [B, T, D] after the last norm. Times the embedding they are the logits, in every family:
      `loss.cross_entropy` and `logits` take it from there.

    Raises:
      ConfigError: T is more than the learned positions.
    """
    length = tokens.shape[1]
    check_context(length, size)
    position = jnp.arange(length)
    slopes = jnp.array(alibi_slopes(size.heads)) if size.positions == "alibi" else None

    def attention(
        query: jax.Array, key: jax.Array, value: jax.Array, layer: Params
    ) -> tuple[jax.Array, None]:
        bias: Bias = slopes
        if size.positions == "relative":
            bias = relative_terms(layer, position[::-1], size)
        return causal_attention(query, key, value, bias), None

    step: Callable[[jax.Array, Params], tuple[jax.Array, None]] = partial(
        block, size=size, position=position, attention=attention
    )
    if remat == "matrices":
        policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
        step = jax.checkpoint(step, policy=policy)
    elif remat == "full":
        step = jax.checkpoint(step)
    x = embed(params, tokens, position, size, activation_dtype(precision))
    x, _ = jax.lax.scan(step, x, stacked(params, size), unroll=_unrolled(size, remat))
    return final_norm(x, params, size)


def _unrolled(size: Dimensions, remat: str) -> bool:
    """Return whether to compile every layer for itself: longer to compile, and faster on a CPU.

    There a loop copies what each layer keeps for the way back into one array of all, and out again.
    With rematerialisation it stays a loop: without one, XLA would find what is computed again to be
    the same as before, and keep it.
    """
    mesh = jax.sharding.get_abstract_mesh()
    on_cpu = jax.default_backend() == "cpu" and (mesh.empty or mesh.size == 1)
    return on_cpu and remat == "none" and size.layers <= MOST_UNROLLED


def logits(params: Params, hidden: jax.Array) -> jax.Array:
    """Return float32 logits [..., V] of hidden states [..., D]."""
    embedding = params["embedding"].astype(hidden.dtype)
    return jnp.einsum("...d,vd->...v", hidden, embedding, preferred_element_type=jnp.float32)
