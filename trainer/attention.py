"""Relative attention of Transformer-XL (Dai et al. 2019, section 3.3), as Gopher uses it.

    score(i, j) = [(q_i + u)·k_j + (q_i + v)·(W_R r_{i-j})] / sqrt(K)        for j <= i

where r is a fixed sinusoid of the distance. Queries are taken in blocks, one after another, so that
memory grows with T · block and not with T².
"""

import jax
import jax.numpy as jnp

MAX_BLOCK = 256

# A loop needs one shape for all its blocks, hence as many keys as the last block has. Four loops,
# each over a quarter of the queries, leave out three eighths of the scores: those of the future.
SPANS = 4


def sinusoid(length: int, d_model: int) -> jax.Array:
    """Return the encodings [T, D] of the distances T-1, T-2, ..., 0, in float32.

    Each is the sines, then the cosines of distance · 10000^(-2m/D). Any length works: nothing about
    it is learned, which is why a longer context can be used at evaluation.
    """
    frequency = 10000.0 ** (-jnp.arange(0, d_model, 2, dtype=jnp.float32) / d_model)
    distance = jnp.arange(length - 1, -1, -1, dtype=jnp.float32)
    angle = distance[:, None] * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


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


def _attend(
    query: jax.Array,
    start: jax.Array,
    key: jax.Array,
    value: jax.Array,
    position: jax.Array,
    content_bias: jax.Array,
    position_bias: jax.Array,
) -> jax.Array:
    """Attend from the queries [B, Q, H, K] of the positions start.. to key and value [B, S, H, K].

    `position` leads with the distances S-1, ..., 0 and goes on with at least S-Q-start other rows.
    """
    q, s = query.shape[1], key.shape[1]
    content = jnp.einsum("bqhk,bshk->bhqs", query + content_bias, key)
    # Rows for the distances start+Q-1 down, S of them; negative ones are of the future.
    distances = jax.lax.dynamic_slice_in_dim(position, s - q - start, s)
    relative = jnp.einsum("bqhk,shk->bhqs", query + position_bias, distances)
    scores = content.astype(jnp.float32) + relative_shift(relative).astype(jnp.float32)
    past = jnp.arange(s) <= start + jnp.arange(q)[:, None]
    scores = jnp.where(past, scores * query.shape[-1] ** -0.5, -jnp.inf)
    # The softmax is float32 whatever the activations are (Gopher, section C).
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum("bhqs,bshk->bqhk", weights, value)


def relative_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    position: jax.Array,
    content_bias: jax.Array,
    position_bias: jax.Array,
    *,
    max_block: int = MAX_BLOCK,
) -> jax.Array:
    """Return causal relative attention.

    Args:
      query, key, value: [B, T, H, K].
      position: [T, H, K]: `sinusoid(T, D)` projected by W_R, so distances T-1 down to 0.
      content_bias, position_bias: u and v, [H, K].
      max_block: a block has a quarter of the queries, but at most so many.

    Returns:
      [B, T, H, K], in the dtype of `value`.
    """
    batch, length, heads, size = query.shape
    span = -(-length // SPANS)
    blocks = -(-span // max_block)
    block = -(-span // blocks)
    span = blocks * block

    # Whole spans: what is added lies in the future of every real query.
    extra = SPANS * span - length
    query, key, value = (
        jnp.pad(x, [(0, 0), (0, extra), (0, 0), (0, 0)]) for x in (query, key, value)
    )
    position = jnp.pad(position, [(extra, span - block), (0, 0), (0, 0)])

    # Scores of a block are made again on the way back: only one block's are ever alive.
    attend = jax.checkpoint(_attend)
    spans = []
    for end in range(span, SPANS * span + 1, span):
        distances = position[SPANS * span - end :]

        operands = (key[:, :end], value[:, :end], distances, content_bias, position_bias)
        own = query[:, end - span : end]
        if blocks == 1:
            spans.append(attend(own, jnp.int32(end - span), *operands))
            continue
        own = jnp.moveaxis(own.reshape(batch, blocks, block, heads, size), 1, 0)
        starts = jnp.arange(end - span, end, block)
        out = jax.lax.map(lambda part, rest=operands: attend(*part, *rest), (own, starts))
        spans.append(jnp.moveaxis(out, 0, 1).reshape(batch, span, heads, size))
    return jnp.concatenate(spans, axis=1)[:, :length]
