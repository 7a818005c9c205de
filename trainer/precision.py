"""What is stored in which precision, and how float32 updates reach bfloat16 parameters.

    float32    parameters and activations float32
    mixed      parameters float32, activations bfloat16 (Gopher below 7.1B)
    bfloat16   parameters and activations bfloat16. The optimiser keeps a float32 master copy of the
               parameters, split like its moments (Chinchilla; Gopher, Appendix C), or, with
               stochastic rounding, there is no copy (Gopher 7.1B and 280B)

The moments are float32 always. With a master copy the parameters are a rounded view of it: small
updates are never lost, and only the view is gathered over the devices.
"""

import jax
import jax.numpy as jnp

from massivetext.config import Train

from .parameters import Params, named_seed

MANTISSA_BITS_LOST = 16  # between float32 and bfloat16, which are alike in sign and exponent


def stored_dtype(train: Train) -> jnp.dtype:
    """Return the dtype of `state["params"]`."""
    return jnp.dtype(jnp.bfloat16 if train.precision == "bfloat16" else jnp.float32)


def has_master(train: Train) -> bool:
    """Return whether the optimiser keeps the parameters in float32 beside the stored ones."""
    return train.precision == "bfloat16" and not train.stochastic_rounding


def cast(params: Params, dtype: jnp.dtype) -> Params:
    return {name: array.astype(dtype) for name, array in params.items()}


def round_stochastically(params: Params, key: jax.Array) -> Params:
    """Return float32 `params` in bfloat16, each up or down at random.

    A value between two neighbours of bfloat16 becomes the upper with the probability of its share
    of the way there: the expectation is the value itself. The bits drawn for a parameter depend on
    `key` and its name only.
    """
    return {
        name: _round(array, jax.random.fold_in(key, named_seed(0, name)))
        for name, array in params.items()
    }


def _round(array: jax.Array, key: jax.Array) -> jax.Array:
    """Add uniform bits below the last kept one, and cut.

    The carry runs into the exponent where it must, and sign and magnitude are apart, so this is
    right for both signs and across powers of two.
    """
    noise = jax.random.bits(key, array.shape, jnp.uint16).astype(jnp.uint32)
    bits = jax.lax.bitcast_convert_type(array, jnp.uint32)
    cut = jax.lax.shift_right_logical(bits + noise, jnp.uint32(MANTISSA_BITS_LOST))
    rounded = jax.lax.bitcast_convert_type(cut.astype(jnp.uint16), jnp.bfloat16)
    return jnp.where(jnp.isfinite(array), rounded, array.astype(jnp.bfloat16))
