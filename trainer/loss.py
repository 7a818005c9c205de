"""Cross-entropy of the next token without ever holding the whole logits.

The gradient of a cross-entropy is known as soon as its logits are: the probabilities less one at
the target. So when a gradient is wanted, each chunk of logits gives its share of it at once and is
forgotten: three matrix products, as with the whole logits, where making the logits again on the way
back takes four.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from .sharding import constrain

# What the float32 logits of one chunk may take on each device. More only makes sense where the
# gradient of the embedding, which every chunk reads and writes, is larger still: see `chunks_of`.
CHUNK_BYTES = 32 << 20

# The target of a position that is padding: it counts for nothing. Not the tokenizer's pad id,
# because a tokenizer without padding pads with its end of text, which elsewhere is a real target.
PADDING = -1


def cross_entropy(
    hidden: jax.Array, embedding: jax.Array, targets: jax.Array, z_loss: float = 0.0
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the summed negative log-likelihood, the number of real targets, and the z-loss.

    Logits, softmax and sums are float32 whatever the activations are (Gopher, section C); matrix
    products are in the dtype of `hidden`, and the gradient of `embedding` adds up in float32.

    With a z-loss, differentiate the sum of the two losses, times anything: their gradients are kept
    as one. The gradient of a mixture in other proportions is NaN rather than wrong; to weigh the
    z-loss, use `z_loss`. Only reverse-mode differentiation works.

    On the mesh of `make_step` the embedding is gathered once, not for every chunk, and the devices
    add up their gradients of it once.

    Args:
      hidden: [B, T, D], float32 or bfloat16.
      embedding: [V, D]; the logits are `hidden` · `embedding`.
      targets: int32 [B, T], `PADDING` where there is none. Another value outside 0 ... V-1 makes
        the loss NaN.
      z_loss: weight of log² Z, which keeps Z near 1 (PaLM, section 5: 1e-4).

    Returns:
      `(nll, count, z)`, float32: nats, summed over real targets; how many there are;
      `z_loss` · Σ log² Z over them.
    """
    batch, length = targets.shape
    mesh = jax.sharding.get_abstract_mesh()
    devices = 1 if mesh.empty else mesh.size
    parts = 1 if mesh.empty else mesh.shape["data"] * mesh.shape["fsdp"]
    parts = 1 if batch % parts else parts
    vocab, d_model = embedding.shape
    chunks = chunks_of(batch, length, vocab, d_model, devices)
    rest = -length % chunks
    if rest:
        hidden = jnp.pad(hidden, [(0, 0), (0, rest), (0, 0)])
        targets = jnp.pad(targets, [(0, 0), (0, rest)], constant_values=PADDING)
    nll, z = _losses(hidden, embedding, targets, z_loss, chunks, parts)
    return nll, jnp.sum(targets != PADDING, dtype=jnp.float32), z


def chunks_of(batch: int, length: int, vocab: int, d_model: int, devices: int = 1) -> int:
    """Return into how many chunks of time the logits are cut.

    Logits of a chunk take at most `CHUNK_BYTES` on a device, or half of what the gradient of the
    embedding takes if that is more: its D / 2 tokens keep the products, not the traffic of that
    gradient, what a chunk costs. A number that divides `length` is taken if one is near.
    """
    # Chunks run along time so that a batch that is split over devices stays where it is.
    tokens = max(CHUNK_BYTES // (4 * vocab), d_model // 2) * devices
    least = -(-length // max(1, min(length, tokens // batch)))
    return next((n for n in range(least, 2 * least) if length % n == 0), least)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _losses(
    hidden: jax.Array,
    embedding: jax.Array,
    targets: jax.Array,
    z_loss: float,
    chunks: int,
    parts: int,
) -> tuple[jax.Array, jax.Array]:
    """Return nll and z; what runs when no gradient is asked for."""
    table = _table(embedding, hidden.dtype)
    if chunks == 1:
        return _chunk(hidden, table, targets, z_loss)[:2]

    def add(i: jax.Array, sums: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        nll, z, *_ = _chunk(_slice(hidden, i, chunks), table, _slice(targets, i, chunks), z_loss)
        return sums[0] + nll, sums[1] + z

    return lax.fori_loop(0, chunks, add, (jnp.float32(0), jnp.float32(0)))


def _losses_and_gradients(
    hidden: jax.Array,
    embedding: jax.Array,
    targets: jax.Array,
    z_loss: float,
    chunks: int,
    parts: int,
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
    """Return nll and z, and what `_scaled` needs: the gradients of nll + z.

    They are of `hidden` [B, T, D], and of `embedding` [P, D, V] in float32, where P are the parts
    that the batch is split into on the mesh: their sums become one when all chunks are done.
    """
    table = _table(embedding, hidden.dtype)
    like = jnp.zeros((0,), embedding.dtype)  # says of which dtype the embedding was
    if chunks == 1:
        nll, z, of_hidden, of_table = _gradients(hidden, table, targets, z_loss, parts)
        # Or XLA would multiply into [V, D] after all, to spare itself the transposition.
        return (nll, z), (of_hidden, lax.optimization_barrier(of_table), like)

    def add(i: jax.Array, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        h, target = _slice(hidden, i, chunks), _slice(targets, i, chunks)
        nll, z, of_hidden, of_table = _gradients(h, table, target, z_loss, parts)
        of_hidden = lax.dynamic_update_slice_in_dim(sums[2], of_hidden, i * h.shape[1], axis=1)
        return sums[0] + nll, sums[1] + z, of_hidden, sums[3] + of_table

    of_table = jnp.zeros((parts, *embedding.shape[::-1]), jnp.float32)
    of_table = constrain(of_table, "batch", None, "vocab")
    zeros = (jnp.float32(0), jnp.float32(0), jnp.zeros_like(hidden), of_table)
    nll, z, of_hidden, of_table = lax.fori_loop(0, chunks, add, zeros)
    return (nll, z), (of_hidden, of_table, like)


def _scaled(
    z_loss: float,
    chunks: int,
    parts: int,
    kept: tuple[jax.Array, jax.Array, jax.Array],
    upstream: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array, None]:
    """Return the gradients times the gradient of the sum of both losses."""
    of_hidden, of_table, like = kept
    factor, of_z = upstream
    if z_loss:
        factor = jnp.where(factor == of_z, factor, jnp.nan)
    of_embedding = jnp.sum(of_table, axis=0).T * factor
    return (of_hidden * factor).astype(of_hidden.dtype), of_embedding.astype(like.dtype), None


_losses.defvjp(_losses_and_gradients, _scaled)


def _chunk(
    h: jax.Array, table: jax.Array, target: jax.Array, z_loss: float
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return nll, z, the probabilities p [B, C, V] and log Z [B, C] of the tokens h [B, C, D]."""
    scores = jnp.einsum("bcd,vd->bcv", h, table, preferred_element_type=jnp.float32)
    highest = jnp.max(scores, axis=-1, keepdims=True)
    p = jnp.exp(scores - highest)
    normaliser = jnp.sum(p, axis=-1, keepdims=True)
    log_normaliser = (highest + jnp.log(normaliser))[..., 0]
    chosen = jnp.take_along_axis(scores, target[..., None], axis=-1, mode="clip")[..., 0]
    known = (target >= 0) & (target < table.shape[0])
    nll = jnp.where(known, log_normaliser - chosen, jnp.nan)
    real = target != PADDING
    nll = jnp.sum(jnp.where(real, nll, 0))
    z = z_loss * jnp.sum(jnp.where(real, log_normaliser**2, 0))
    return nll, z, p / normaliser, log_normaliser


def _gradients(
    h: jax.Array, table: jax.Array, target: jax.Array, z_loss: float, parts: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return nll, z, and the gradients of nll + z: of h [B, C, D], and of the table [P, D, V]."""
    nll, z, slope, log_normaliser = _chunk(h, table, target, z_loss)
    # d nll = p - 1[target]; d z = 2 · z_loss · log Z · p.
    if z_loss:
        slope *= 1 + 2 * z_loss * log_normaliser[..., None]
    at_target = lax.broadcasted_iota(target.dtype, slope.shape, 2) == target[..., None]
    slope = jnp.where(at_target, slope - 1, slope)
    # In the dtype of h, or both products would be float32.
    slope = jnp.where((target != PADDING)[..., None], slope, 0).astype(h.dtype)
    of_h = jnp.einsum("bcv,vd->bcd", slope, table)
    # [D, V], because XLA's CPU multiplies into [V, D] at half the speed.
    split_h, slope = (x.reshape(parts, -1, x.shape[-1]) for x in (h, slope))
    of_table = jnp.einsum("pnd,pnv->pdv", split_h, slope, preferred_element_type=jnp.float32)
    return nll, z, of_h, of_table


def _table(embedding: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Return the embedding as every chunk multiplies with it: cast and gathered once."""
    return constrain(embedding.astype(dtype), "vocab", None)


def _slice(array: jax.Array, i: jax.Array, chunks: int) -> jax.Array:
    """Return chunk `i` along time of an array [B, T, ...]."""
    size = array.shape[1] // chunks
    return lax.dynamic_slice_in_dim(array, i * size, size, axis=1)
