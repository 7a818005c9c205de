"""What a block is made of besides attention: norms and the encodings of positions."""

import math

import jax
import jax.numpy as jnp

NORM_EPSILON = 1e-6
WAVELENGTH = 10000.0  # of sinusoids and of rotary angles alike


def rms_norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    """Return x · scale / rms(x) over the last axis, computed in float32, in the dtype of x."""
    wide = x.astype(jnp.float32)
    mean_square = jnp.mean(wide * wide, axis=-1, keepdims=True)
    return (wide * jax.lax.rsqrt(mean_square + NORM_EPSILON) * scale).astype(x.dtype)


def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Return (x - mean(x)) · scale / deviation(x) + bias, computed as `rms_norm` is."""
    wide = x.astype(jnp.float32)
    wide = wide - jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(wide * wide, axis=-1, keepdims=True)
    out = wide * jax.lax.rsqrt(variance + NORM_EPSILON) * scale
    return (out if bias is None else out + bias).astype(x.dtype)


def sinusoid(distance: jax.Array, d_model: int) -> jax.Array:
    """Return the encodings [T, D] of the distances [T], in float32.

    Each is the sines, then the cosines of distance · 10000^(-2m/D). Any distance works: nothing
    about it is learned, which is why a longer context can be used at evaluation.
    """
    frequency = WAVELENGTH ** (-jnp.arange(0, d_model, 2, dtype=jnp.float32) / d_model)
    angle = distance.astype(jnp.float32)[:, None] * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def rotate(x: jax.Array, angles: jax.Array) -> jax.Array:
    """Return x [B, T, H, K] turned by rotary position (Su et al. 2021, section 3.2).

    Component m of the first half and m of the second are the two coordinates that turn together.

    Args:
      angles: float32 [T, K/2], of `rotary_angles`. In bfloat16 neighbours would turn alike.
    """
    cosine, sine = jnp.cos(angles)[:, None, :], jnp.sin(angles)[:, None, :]
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def rotary_angles(position: jax.Array, kv_size: int) -> jax.Array:
    """Return the angles [T, K/2] of the positions [T]: position · 10000^(-2m/K), in float32."""
    frequency = WAVELENGTH ** (-jnp.arange(0, kv_size, 2, dtype=jnp.float32) / kv_size)
    return position.astype(jnp.float32)[:, None] * frequency


def alibi_slopes(heads: int) -> list[float]:
    """Return how much each head takes off per position of distance (Press et al. 2022, section 3).

    A power of two has the slopes 2^(-8h/H). Any other number of heads has those of the largest
    power of two below it, then every second one of the next power of two (the authors' code).
    """
    power = 2 ** int(math.log2(heads))
    slopes = [2.0 ** (-8 * h / power) for h in range(1, power + 1)]
    return slopes + [2.0 ** (-4 * h / power) for h in range(1, 2 * (heads - power), 2)]
