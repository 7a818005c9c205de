"""Cross-entropy of the next token without ever holding the whole logits."""

import jax
import jax.numpy as jnp

CHUNK_TOKENS = 512

# The target of a position that is padding: it counts for nothing. Not the tokenizer's pad id,
# because a tokenizer without padding pads with its end of text, which elsewhere is a real target.
PADDING = -1


def cross_entropy(
    hidden: jax.Array, embedding: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the summed negative log-likelihood and the number of real targets.

    The logits of `CHUNK_TOKENS` tokens exist at a time, in float32 whatever the activations are
    (Gopher, section C), and are made again on the way back.

    Args:
      hidden: [B, T, D], float32 or bfloat16.
      embedding: [V, D]; the logits are `hidden` · `embedding`.
      targets: int32 [B, T], `PADDING` where there is none.

    Returns:
      `(nll, count)`: nats, summed over real targets, and how many there are; both float32.
    """
    batch, length = targets.shape
    # Chunks run along time so that a batch sharded over devices stays where it is.
    chunk = max(1, min(length, CHUNK_TOKENS // batch))
    rest = -length % chunk
    hidden = jnp.pad(hidden, [(0, 0), (0, rest), (0, 0)])
    targets = jnp.pad(targets, [(0, 0), (0, rest)], constant_values=PADDING)

    @jax.checkpoint
    def add(total: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        h, target = part
        # Cast here, not before the scan: gradients of the embedding then add up in its own dtype.
        table = embedding.astype(h.dtype)
        scores = jnp.einsum("bcd,vd->bcv", h, table, preferred_element_type=jnp.float32)
        log_normaliser = jax.nn.logsumexp(scores, axis=-1)
        chosen = jnp.take_along_axis(scores, target[..., None], axis=-1)[..., 0]
        return total + jnp.sum(jnp.where(target != PADDING, log_normaliser - chosen, 0.0)), None

    parts = (_split(hidden, chunk), _split(targets, chunk))
    nll, _ = jax.lax.scan(add, jnp.float32(0), parts)
    return nll, jnp.sum(targets != PADDING, dtype=jnp.float32)


def _split(array: jax.Array, chunk: int) -> jax.Array:
    """[B, T, ...] -> [T / chunk, B, chunk, ...]."""
    batch, length = array.shape[:2]
    return jnp.moveaxis(array.reshape(batch, length // chunk, chunk, *array.shape[2:]), 1, 0)
