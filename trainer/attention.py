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


def _grouped(query: jax.Array, key: jax.Array) -> jax.Array:
    """Return query · key [B, H, Q, S]; head h of the queries has head h // (H/G) of the keys."""
    batch, q, heads, size = query.shape
    groups, s = key.shape[2], key.shape[1]
    if groups == heads:
        return jnp.einsum("bqhk,bshk->bhqs", query, key)
    query = query.reshape(batch, q, groups, heads // groups, size)
    return jnp.einsum("bqgrk,bsgk->bgrqs", query, key).reshape(batch, heads, q, s)


def _weighted(weights: jax.Array, value: jax.Array) -> jax.Array:
    """Return the values [B, S, G, K] summed by weights [B, H, Q, S], as [B, Q, H, K]."""
    batch, heads, q, s = weights.shape
    groups, size = value.shape[2:]
    if groups == heads:
        return jnp.einsum("bhqs,bshk->bqhk", weights, value)
    weights = weights.reshape(batch, groups, heads // groups, q, s)
    return jnp.einsum("bgrqs,bsgk->bqgrk", weights, value).reshape(batch, q, heads, size)


def attend(
    query: jax.Array,
    start: jax.Array | int,
    key: jax.Array,
    value: jax.Array,
    bias: Bias = None,
) -> jax.Array:
    """Attend from the queries [B, Q, H, K] of the positions start.. to key and value [B, S, G, K].

    All scores are alive at once. The rows of `Relative` must go on for S-Q-start after distance 0.
    """
    q, s = query.shape[1], key.shape[1]
    if isinstance(bias, Relative):
        content = _grouped(query + bias.content_bias, key)
        # Rows for the distances start+Q-1 down, S of them; negative ones are of the future.
        distances = jax.lax.dynamic_slice_in_dim(bias.position, s - q - start, s)
        relative = jnp.einsum("bqhk,shk->bhqs", query + bias.position_bias, distances)
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
    if length <= max_block:
        return attend(query, 0, key, value, bias)
    blocks = -(-length // (SPANS * max_block))
    block = -(-length // (SPANS * blocks))
    span = blocks * block

    # Whole spans: what is added lies in the future of every real query.
    extra = SPANS * span - length
    query, key, value = (
        jnp.pad(x, [(0, 0), (0, extra), (0, 0), (0, 0)]) for x in (query, key, value)
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
        past = (key[:, :end], value[:, :end], part)
        own = query[:, end - span : end]
        if blocks == 1:
            spans.append(attend_again(own, jnp.int32(end - span), *past))
        else:
            spans.append(_in_blocks(own, end - span, past, block, attend_again))
    return jnp.concatenate(spans, axis=1)[:, :length]


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
    past = (key, value, bias)
    whole = query.shape[1] // max_block * max_block
    parts = []
    if whole:
        parts.append(_in_blocks(query[:, :whole], start, past, max_block, attend))
    if whole < query.shape[1]:
        parts.append(attend(query[:, whole:], start + whole, *past))
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)


def _in_blocks(
    query: jax.Array,
    start: jax.Array | int,
    past: tuple[jax.Array, jax.Array, Bias],
    block: int,
    attend: Callable[..., jax.Array],
) -> jax.Array:
    """Attend from `block` queries at a time."""
    batch, length, heads, size = query.shape
    blocks = jnp.moveaxis(query.reshape(batch, length // block, block, heads, size), 1, 0)
    starts = start + jnp.arange(0, length, block)
    out = jax.lax.map(lambda part: attend(*part, *past), (blocks, starts))
    return jnp.moveaxis(out, 0, 1).reshape(batch, length, heads, size)


def _fused(query: jax.Array) -> bool:
    """Return whether cuDNN has a kernel that never writes the scores of these queries to memory."""
    size = query.shape[-1]
    supported = query.dtype == jnp.bfloat16 and size % 8 == 0 and size <= 128
    return supported and jax.default_backend() == "gpu"
