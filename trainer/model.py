"""The decoder of Gopher and Chinchilla: tokens in, hidden states out (Gopher, section 2.1).

GPT-2's architecture with RMSNorm before each sublayer, relative attention (`attention`), a GELU
feed-forward layer and an embedding shared with the logits. No dropout, and no memory of earlier
segments: the papers mention neither.
"""

from functools import partial

import jax
import jax.numpy as jnp

from .attention import relative_attention, sinusoid
from .parameters import Dimensions, Params, table

NORM_EPSILON = 1e-6


def rms_norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    """Return x · scale / rms(x) over the last axis, computed in float32, in the dtype of x."""
    wide = x.astype(jnp.float32)
    mean_square = jnp.mean(wide * wide, axis=-1, keepdims=True)
    return (wide * jax.lax.rsqrt(mean_square + NORM_EPSILON) * scale).astype(x.dtype)


def _block(x: jax.Array, layer: Params, distances: jax.Array) -> jax.Array:
    """Apply one layer to x [B, T, D]; `distances` are the sinusoids [T, D]."""
    layer = {
        name: array if name.endswith("norm") else array.astype(x.dtype)
        for name, array in layer.items()
    }
    h = rms_norm(x, layer["attention_norm"])
    query, key, value = (
        jnp.einsum("btd,dhk->bthk", h, layer[name]) + layer[f"{name}_bias"]
        for name in ("query", "key", "value")
    )
    position = jnp.einsum("td,dhk->thk", distances.astype(x.dtype), layer["position"])
    attended = relative_attention(
        query, key, value, position, layer["content_bias"], layer["position_bias"]
    )
    x = x + jnp.einsum("bthk,hkd->btd", attended, layer["output"]) + layer["output_bias"]

    h = rms_norm(x, layer["ffw_norm"])
    h = jax.nn.gelu(jnp.einsum("btd,df->btf", h, layer["up"]) + layer["up_bias"])
    return x + jnp.einsum("btf,fd->btd", h, layer["down"]) + layer["down_bias"]


def hidden_states(
    params: Params, tokens: jax.Array, size: Dimensions, precision: str = "float32"
) -> jax.Array:
    """Return the final hidden states of `tokens`.

    Args:
      params: as `parameters.initialise` makes them.
      tokens: int32 [B, T]; T may differ from the length trained with.
      precision: `float32`, or `mixed`: float32 parameters, bfloat16 activations.

    Returns:
      [B, T, D] after the last norm. `loss.cross_entropy` and `logits` take it from there.
    """
    dtype = jnp.bfloat16 if precision == "mixed" else jnp.float32
    x = params["embedding"].astype(dtype)[tokens]
    distances = sinusoid(tokens.shape[1], size.d_model)
    stacked = {name: params[name] for name, row in table(size).items() if row.stacked}

    # What the weight matrices give is kept, the rest (attention's scores above all) is recomputed.
    @partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable)
    def step(x: jax.Array, layer: Params) -> tuple[jax.Array, None]:
        return _block(x, layer, distances), None

    x, _ = jax.lax.scan(step, x, stacked)
    return rms_norm(x, params["final_norm"])


def logits(params: Params, hidden: jax.Array) -> jax.Array:
    """Return float32 logits [..., V] of hidden states [..., D]."""
    embedding = params["embedding"].astype(hidden.dtype)
    return jnp.einsum("...d,vd->...v", hidden, embedding, preferred_element_type=jnp.float32)
