"""Causal attention of every family: the scores of query i with the keys j <= i, softmax, values.

    score(i, j) = q_i·k_j / sqrt(K)                                           plain
    score(i, j) = q_i·k_j / sqrt(K) + slope · (j - i)                         ALiBi
    score(i, j) = [(q_i + u)·k_j + (q_i + v)·(W_R r_{i-j})] / sqrt(K)         Transformer-XL

where r is a fixed sinusoid of the distance (Dai et al. 2019, section 3.3). Queries are taken in
blocks, one after another, so that memory grows with T · block and not with T².
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

MAX_BLOCK = 256

# A loop needs one shape for all its blocks, hence as many keys as the last block has. Four loops,
# each over a quarter of the queries, leave out three eighths of the scores: those of the future.
SPANS = 4


class Relative(NamedTuple):
    """Transformer-XL's terms of one layer.

    Attributes:
      position: [S, H, K]: `sinusoid` projected by W_R, for the distances S-1 down to 0. Rows may
        follow; they stand for the negative distances of keys in the future and are never used.
      content_bias, position_bias: u and v, [H, K].
    """

    position: jax.Array
    content_bias: jax.Array
    position_bias: jax.Array


# How scores depend on distance: Transformer-XL's terms, ALiBi's slopes float32 [H], or not at all.
Bias = Relative | jax.Array | None


def relative_shift(scores: jax.Array) -> jax.Array:
    """Align scores by distance with scores by key.

    Args:
      scores: [..., Q, S]; row a of the last Q of S positions, column n for distance S-1-n.

    Returns:
      [..., Q, S] whose entry (a, j) is the score of distance S-Q+a-j. Entries of keys in the
      future (negative distances) hold other rows' scores and must be masked.
    """
    *lead, q, s = scores.shape
    padded = jnp.pad(scores, [(0, 0)] * len(lead) + [(0, 0), (1, 0)])
    return padded.reshape(*lead, s + 1, q)[..., 1:, :].reshape(*lead, q, s)


@jax.custom_vjp
def _products(query: jax.Array, key: jax.Array) -> jax.Array:
    """Return query [B, H, Q, K] · key [B, H, S, K], as [B, H, Q, S]."""
    return jnp.einsum("bhqk,bhsk->bhqs", query, key)


def _products_backward(
    operands: tuple[jax.Array, jax.Array], of_scores: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the gradients, the keys' by a product that takes XLA's CPU half the time of JAX's."""
    query, key = operands
    of_query = jnp.einsum("bhqs,bhsk->bhqk", of_scores, key)
    return of_query, jnp.einsum("bhqk,bhqs->bhks", query, of_scores).swapaxes(2, 3)


_products.defvjp(lambda query, key: (_products(query, key), (query, key)), _products_backward)


def _grouped(query: jax.Array, key: jax.Array) -> jax.Array:
    """Return query · key [B, H, Q, S]; head h of the queries has head h // (H/G) of the keys."""
    batch, heads, q, size = query.shape
    groups, s = key.shape[1:3]
    if groups == heads:
        return _products(query, key)
    query = query.reshape(batch, groups, heads // groups, q, size)
    return jnp.einsum("bgrqk,bgsk->bgrqs", query, key).reshape(batch, heads, q, s)


def _weighted(weights: jax.Array, value: jax.Array) -> jax.Array:
    """Return the values [B, G, S, K] summed by weights [B, H, Q, S], as [B, H, Q, K]."""
    batch, heads, q, s = weights.shape
    groups, size = value.shape[1], value.shape[3]
    if groups == heads:
        return jnp.einsum("bhqs,bhsk->bhqk", weights, value)
    weights = weights.reshape(batch, groups, heads // groups, q, s)
    return jnp.einsum("bgrqs,bgsk->bgrqk", weights, value).reshape(batch, heads, q, size)


def attend(
    query: jax.Array, start: jax.Array | int, key: jax.Array, value: jax.Array, bias: Bias = None
) -> jax.Array:
    """Attend from the queries [B, H, Q, K] of the positions start.. to key and value [B, G, S, K].

    All scores are alive at once. The rows of `Relative` must go on for S-Q-start after distance 0.
    """
    q, s = query.shape[2], key.shape[2]
    if isinstance(bias, Relative):
        content = _grouped(query + bias.content_bias[:, None], key)
        # Rows for the distances start+Q-1 down, S of them; negative ones are of the future.
        distances = jax.lax.dynamic_slice_in_dim(bias.position, s - q - start, s)
        relative = jnp.einsum("bhqk,shk->bhqs", query + bias.position_bias[:, None], distances)
        scores = content.astype(jnp.float32) + relative_shift(relative).astype(jnp.float32)
    else:
        scores = _grouped(query, key).astype(jnp.float32)
    scores = scores * query.shape[-1] ** -0.5
    behind = start + jnp.arange(q)[:, None] - jnp.arange(s)
    if isinstance(bias, jax.Array):
        scores = scores - bias[:, None, None] * behind
    scores = jnp.where(behind >= 0, scores, -jnp.inf)
    # The softmax is float32 whatever the activations are (Gopher, section C).
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return _weighted(weights, value)


def causal_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: Bias = None,
    *,
    max_block: int = MAX_BLOCK,
) -> jax.Array:
    """Return causal attention over whole sequences.

    Args:
      query: [B, T, H, K].
      key, value: [B, T, G, K]; each of the G heads serves H/G of the query's, next to each other.
      bias: a `Relative` of T distances, the slopes of ALiBi, or None.
      max_block: queries whose scores are alive at once.

    Returns:
      [B, T, H, K], in the dtype of `value`.
    """
    length = query.shape[1]
    if bias is None and _fused(query):
        return jax.nn.dot_product_attention(
            query, key, value, is_causal=True, implementation="cudnn"
        )
    # Heads before time: each head's products are then of matrices that lie in one piece.
    query, key, value = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))
    if length <= max_block:
        return jnp.swapaxes(attend(query, 0, key, value, bias), 1, 2)
    blocks = -(-length // (SPANS * max_block))
    block = -(-length // (SPANS * blocks))
    span = blocks * block

    # Whole spans: what is added lies in the future of every real query.
    extra = SPANS * span - length
    query, key, value = (
        jnp.pad(x, [(0, 0), (0, 0), (0, extra), (0, 0)]) for x in (query, key, value)
    )
    if isinstance(bias, Relative):
        padding = [(extra, span - block), (0, 0), (0, 0)]
        bias = bias._replace(position=jnp.pad(bias.position, padding))

    # Scores of a block are made again on the way back: only one block's are ever alive.
    attend_again = jax.checkpoint(attend)
    spans = []
    for end in range(span, SPANS * span + 1, span):
        part = bias
        if isinstance(bias, Relative):
            part = bias._replace(position=bias.position[SPANS * span - end :])
        past = (key[:, :, :end], value[:, :, :end], part)
        own = query[:, :, end - span : end]
        if blocks == 1:
            spans.append(attend_again(own, jnp.int32(end - span), *past))
        else:
            spans.append(_in_blocks(own, end - span, past, block, attend_again))
    return jnp.swapaxes(jnp.concatenate(spans, axis=2)[:, :, :length], 1, 2)


def cached_attention(
    query: jax.Array,
    start: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: Bias = None,
    *,
    max_block: int = MAX_BLOCK,
) -> jax.Array:
    """Return attention from the queries [B, Q, H, K] of the positions start.. to a cache.

    Args:
      key, value: [B, S, G, K], filled up to position start+Q-1 at least.
      bias: as for `causal_attention`; the rows of a `Relative` go on for S-1 after distance 0.
    """
    query, key, value = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))
    past = (key, value, bias)
    whole = query.shape[2] // max_block * max_block
    parts = []
    if whole:
        parts.append(_in_blocks(query[:, :, :whole], start, past, max_block, attend))
    if whole < query.shape[2]:
        parts.append(attend(query[:, :, whole:], start + whole, *past))
    return jnp.swapaxes(jnp.concatenate(parts, axis=2), 1, 2)


def _in_blocks(
    query: jax.Array,
    start: jax.Array | int,
    past: tuple[jax.Array, jax.Array, Bias],
    block: int,
    attend: Callable[..., jax.Array],
) -> jax.Array:
    """Attend from `block` of the queries [B, H, Q, K] at a time, as `attend` does."""
    batch, heads, length, size = query.shape
    blocks = jnp.moveaxis(query.reshape(batch, heads, length // block, block, size), 2, 0)
    starts = start + jnp.arange(0, length, block)
    out = jax.lax.map(lambda part: attend(*part, *past), (blocks, starts))
    return jnp.moveaxis(out, 0, 2).reshape(batch, heads, length, size)


def _fused(query: jax.Array) -> bool:
    """Return whether cuDNN has a kernel that never writes the scores of these queries to memory."""
    size = query.shape[-1]
    supported = query.dtype == jnp.bfloat16 and size % 8 == 0 and size <= 128
    return supported and jax.default_backend() == "gpu"
