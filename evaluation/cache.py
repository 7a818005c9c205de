"""The forward pass a few tokens at a time: keys and values of the past are kept, not made again.

The hidden states are those of `model.hidden_states` on the whole sequence.
"""

from functools import partial

import jax
import jax.numpy as jnp

from massivetext.trainer.attention import Bias, Relative, cached_attention
from massivetext.trainer.layers import alibi_slopes
from massivetext.trainer.model import (
    activation_dtype,
    block,
    check_context,
    embed,
    final_norm,
    relative_terms,
    stacked,
)
from massivetext.trainer.parameters import Dimensions, Params

# length: int32, the positions filled so far. key, value: [N, B, L, G, K]. position: W_R r of
# Transformer-XL, [N, 2L-1, H, K], of the distances L-1 down to 0, then zeros, as `Relative` asks.
Cache = dict[str, jax.Array]


def empty_cache(size: Dimensions, batch: int, length: int, dtype: jnp.dtype) -> Cache:
    """Return room for `length` positions of `batch` sequences.

    Args:
      dtype: of the activations, `model.activation_dtype(precision)`.

    Raises:
      ConfigError: `length` is more than the learned positions.
    """
    check_context(length, size)
    shape = (size.layers, batch, length, size.kv_heads, size.kv_size)
    cache = {
        "length": jnp.int32(0),
        "key": jnp.zeros(shape, dtype),
        "value": jnp.zeros(shape, dtype),
    }
    if size.positions == "relative":
        rows = (size.layers, 2 * length - 1, size.heads, size.kv_size)
        cache["position"] = jnp.zeros(rows, dtype)
    return cache


def extend(
    params: Params, cache: Cache, tokens: jax.Array, size: Dimensions, precision: str = "float32"
) -> tuple[jax.Array, Cache]:
    """Return the hidden states [B, n, D] of `tokens` [B, n] that follow those of `cache`.

    The caller sees to it that the cache has room: under `jax.jit` its length is not known.

    Returns:
      the hidden states, as `model.hidden_states` gives them, and the cache with n more positions.
    """
    start, n = cache["length"], tokens.shape[1]
    room = cache["key"].shape[2]
    position = start + jnp.arange(n)
    slopes = jnp.array(alibi_slopes(size.heads)) if size.positions == "alibi" else None

    def step(x: jax.Array, xs: tuple[Params, Cache]) -> tuple[jax.Array, Cache]:
        layer, past = xs

        def attention(
            query: jax.Array, key: jax.Array, value: jax.Array, layer: Params
        ) -> tuple[jax.Array, Cache]:
            at = partial(jax.lax.dynamic_update_slice_in_dim, axis=1)
            now = {
                "key": at(past["key"], key, start),
                "value": at(past["value"], value, start),
            }
            bias: Bias = slopes
            if size.positions == "relative":
                new = relative_terms(layer, position[::-1], size)
                # Distance L-1 comes first: those of the new positions end at row L-1-start.
                rows = jax.lax.dynamic_update_slice_in_dim(
                    past["position"], new.position, room - n - start, axis=0
                )
                now["position"] = rows
                bias = Relative(rows, new.content_bias, new.position_bias)
            return cached_attention(query, start, now["key"], now["value"], bias), now

        return block(x, layer, size, position, attention)

    x = embed(params, tokens, position, size, activation_dtype(precision))
    kept = {name: array for name, array in cache.items() if name != "length"}
    x, kept = jax.lax.scan(step, x, (stacked(params, size), kept))
    return final_norm(x, params, size), {**kept, "length": start + n}
