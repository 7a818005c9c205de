"""The parameter table of a decoder: one row per parameter gives initialisation, counts, decay.

Dimensions are single capital letters throughout the trainer:

    B  batch            T  time: position in the sequence     V  vocabulary
    D  d_model          H  attention heads                    K  size of one head (key, value)
    F  width of the feed-forward layer                        N  layers
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from massivetext.config import Train
from massivetext.errors import ConfigError
from massivetext.presets import MODELS

Params = dict[str, jax.Array]


@dataclass(frozen=True)
class Dimensions:
    """The size of one decoder; two models with equal dimensions have equal parameters."""

    family: str
    layers: int
    heads: int
    kv_size: int
    d_model: int
    ffw: int
    vocab_size: int

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
      shape: of the whole array; stacked parameters lead with the layer axis, for `lax.scan`.
      axes: the logical name of each dimension; `sharding` maps them to axes of the mesh.
      scale: standard deviation of the normal initialiser; 0 initialises to `fill`.
      decay: whether AdamW decays it: matrices do, biases and norm scales do not.
      counted: whether the papers count it: norm scales are left out of the published sizes.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    scale: float = 0.0
    fill: float = 0.0
    decay: bool = False
    counted: bool = True
    dtype: Any = jnp.float32

    @property
    def stacked(self) -> bool:
        return self.axes[0] == "layers"


def dimensions(train: Train, vocab_size: int) -> Dimensions:
    """Return the dimensions of the preset `train.model` after `train.override`.

    Raises:
      ConfigError: `d_model` is odd.
    """
    shape = MODELS[train.model]
    values = {
        "layers": shape.layers,
        "heads": shape.heads,
        "kv_size": shape.kv_size,
        "d_model": shape.d_model,
    }
    values.update(train.override or {})
    values.setdefault("ffw", 4 * values["d_model"])
    if values["d_model"] % 2:
        # Half of the position encoding is sines, half cosines.
        raise ConfigError(f"d_model is {values['d_model']}; it must be even")
    return Dimensions(family=shape.family, vocab_size=vocab_size, **values)


def table(size: Dimensions) -> dict[str, Parameter]:
    """Return every parameter of the Gopher family by name (Gopher, section 2.1).

    The biases are those of the formula that reproduces all 50 sizes of Chinchilla's Table A9:
    V·d + N·(5·d·a + 2·d·f + 3a + d + (d + f) + 2a) with a = heads·kv_size. Initialisation is not
    published; ours is normal with variance 1/fan-in, and the two projections that write to the
    residual stream are scaled down by sqrt(2N) so that its variance does not grow with depth. The
    embedding is taken as what it is at the other end, the matrix of the logits: those start with
    variance 1 at any width.
    """
    n, d, h, k, f = size.layers, size.d_model, size.heads, size.kv_size, size.ffw
    inward = d**-0.5
    residual = (2 * n) ** -0.5

    def projection() -> Parameter:
        axes = ("layers", "embed", "heads", "kv")
        return Parameter((n, d, h, k), axes, scale=inward, decay=True)

    def head_bias() -> Parameter:
        return Parameter((n, h, k), ("layers", "heads", "kv"))

    def norm() -> Parameter:
        return Parameter((n, d), ("layers", "embed"), fill=1.0, counted=False)

    return {
        "embedding": Parameter((size.vocab_size, d), ("vocab", "embed"), scale=inward, decay=True),
        "attention_norm": norm(),
        "query": projection(),
        "query_bias": head_bias(),
        "key": projection(),
        "key_bias": head_bias(),
        "value": projection(),
        "value_bias": head_bias(),
        "position": projection(),  # W_R of Transformer-XL, without bias
        "content_bias": head_bias(),  # u
        "position_bias": head_bias(),  # v
        "output": Parameter(
            (n, h, k, d),
            ("layers", "heads", "kv", "embed"),
            scale=(h * k) ** -0.5 * residual,
            decay=True,
        ),
        "output_bias": Parameter((n, d), ("layers", "embed")),
        "ffw_norm": norm(),
        "up": Parameter((n, d, f), ("layers", "embed", "mlp"), scale=inward, decay=True),
        "up_bias": Parameter((n, f), ("layers", "mlp")),
        "down": Parameter(
            (n, f, d), ("layers", "mlp", "embed"), scale=f**-0.5 * residual, decay=True
        ),
        "down_bias": Parameter((n, d), ("layers", "embed")),
        "final_norm": Parameter((d,), ("embed",), fill=1.0, counted=False),
    }


def initialise(size: Dimensions, seed: int) -> Params:
    """Return fresh parameters; each depends on `seed` and its own name only."""
    params = {}
    for name, row in table(size).items():
        if row.scale == 0.0:
            params[name] = jnp.full(row.shape, row.fill, row.dtype)
        else:
            key = jax.random.key(named_seed(seed, name))
            params[name] = row.scale * jax.random.normal(key, row.shape, row.dtype)
    return params


def named_seed(seed: int, name: str) -> int:
    """Return 32 bits for one use of the run's seed, unrelated to those of any other name."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "little")


def abstract(
    size: Dimensions, sharding: jax.sharding.Sharding | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
    """Return shapes and dtypes of the parameters without allocating them."""
    return {
        name: jax.ShapeDtypeStruct(row.shape, row.dtype, sharding=sharding)
        for name, row in table(size).items()
    }


def decay_mask(size: Dimensions) -> dict[str, bool]:
    return {name: row.decay for name, row in table(size).items()}


def parameter_count(size: Dimensions, *, norms: bool = False) -> int:
    """Return the number of parameters as the papers count them, or with `norms` all of them."""
    return sum(math.prod(row.shape) for row in table(size).values() if row.counted or norms)
