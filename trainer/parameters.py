"""The parameter table of a decoder: one row per parameter gives initialisation, counts, decay.

Dimensions are single capital letters throughout the trainer:

    B  batch            T  time: position in the sequence     V  vocabulary
    D  d_model          H  attention heads                    K  size of one head (key, value)
    F  width of the feed-forward layer                        N  layers
    G  heads of keys and values: G divides H
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from massivetext.config import Train
from massivetext.errors import ConfigError
from massivetext.presets import MODELS

from .families import FAMILIES

Params = dict[str, jax.Array]
Seeds = Mapping[str, ArrayLike]


@dataclass(frozen=True)
class Dimensions:
    """The size of one decoder; two models with equal dimensions have equal parameters.

    `context` is the length of the table of learned positions; nothing else depends on it.
    """

    family: str
    layers: int
    heads: int
    kv_heads: int
    kv_size: int
    d_model: int
    ffw: int
    vocab_size: int
    positions: str
    qk_norm: bool
    context: int

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
      counted: whether the papers count it: norms are left out of the published sizes.
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


def dimensions(train: Train, vocab_size: int, context: int) -> Dimensions:
    """Return the dimensions of the preset `train.model` after `train.override`.

    Args:
      context: tokens of a training sequence, the length of learned positions.

    Raises:
      ConfigError: the heads do not share their keys evenly, or a width that positions halve is odd.
    """
    shape = MODELS[train.model]
    family = FAMILIES[shape.family]
    values: dict[str, Any] = {
        "layers": shape.layers,
        "heads": shape.heads,
        "kv_size": shape.kv_size,
        "d_model": shape.d_model,
        "positions": family.positions,
        "qk_norm": False,
    }
    values.update(train.override.given())
    values.setdefault("ffw", 4 * values["d_model"])
    values.setdefault("kv_heads", family.kv_heads or values["heads"])
    size = Dimensions(family=shape.family, vocab_size=vocab_size, context=context, **values)
    if size.heads % size.kv_heads:
        raise ConfigError(
            f"heads is {size.heads}; kv_heads, {size.kv_heads}, must divide it: each head of keys "
            "serves equally many heads of queries"
        )
    # Half of a relative position's encoding is sines, half cosines; rotary turns pairs.
    halved = {"relative": "d_model", "rotary": "kv_size"}.get(size.positions)
    if halved is not None and getattr(size, halved) % 2:
        raise ConfigError(
            f"{halved} is {getattr(size, halved)}; it must be even for {size.positions} positions"
        )
    return size


def table(size: Dimensions) -> dict[str, Parameter]:
    """Return every parameter of the decoder by name.

    The biases of Gopher are those of the formula that reproduces all 50 sizes of Chinchilla's Table
    A9: V·d + N·(5·d·a + 2·d·f + 3a + d + (d + f) + 2a) with a = heads·kv_size. The embedding is
    also the matrix of the logits, which start with variance 1 at any width.
    """
    family = FAMILIES[size.family]
    layers = {"layers": size.layers}
    embed = {"embed": size.d_model}
    mlp = {"mlp": size.ffw}
    heads = {"heads": size.heads, "kv": size.kv_size}
    kv_heads = {"kv_heads": size.kv_heads, "kv": size.kv_size}
    residual = (2 * size.layers) ** -0.5 if family.residual_scaling else 1.0
    rows: dict[str, Parameter] = {}

    def deviation(fan_in: int) -> float:
        return fan_in**-0.5 if family.fan_in else (3 * size.d_model) ** -0.5

    def add(name: str, axes: Mapping[str, int], **attributes: Any) -> None:
        rows[name] = Parameter(tuple(axes.values()), tuple(axes), **attributes)

    def dense(
        name: str,
        inputs: dict[str, int],
        outputs: dict[str, int],
        *,
        scale: float = 1.0,
        bias: bool = family.biases,
    ) -> None:
        scale *= deviation(math.prod(inputs.values()))
        add(name, layers | inputs | outputs, scale=scale, decay=True)
        if bias:
            add(f"{name}_bias", layers | outputs)

    def norm(name: str, axes: dict[str, int], *, bias: bool = family.norm_bias) -> None:
        add(name, axes, fill=1.0, counted=False)
        if bias:
            add(f"{name}_bias", axes, counted=False)

    vocabulary = 1.0 if family.unit_embedding else deviation(size.d_model)
    add("embedding", {"vocab": size.vocab_size} | embed, scale=vocabulary, decay=True)
    if size.positions == "learned":
        add("position_embedding", {"context": size.context} | embed, scale=vocabulary, decay=True)
    norm("block_norm" if family.parallel else "attention_norm", layers | embed)
    dense("query", embed, heads)
    dense("key", embed, kv_heads)
    dense("value", embed, kv_heads)
    if size.qk_norm:
        norm("query_norm", layers | {"kv": size.kv_size}, bias=False)
        norm("key_norm", layers | {"kv": size.kv_size}, bias=False)
    if size.positions == "relative":
        dense("position", embed, heads, bias=False)  # W_R of Transformer-XL
        add("content_bias", layers | heads)  # u
        add("position_bias", layers | heads)  # v
    dense("output", heads, embed, scale=residual)
    if not family.parallel:
        norm("ffw_norm", layers | embed)
    if family.gated:
        dense("gate", embed, mlp)
    dense("up", embed, mlp)
    dense("down", mlp, embed, scale=residual)
    norm("final_norm", embed)
    return rows


def initialise(size: Dimensions, seed: int) -> Params:
    """Return fresh parameters; each depends on `seed` and its own name only."""
    return from_seeds(size, seeds(size, seed))


def seeds(size: Dimensions, seed: int) -> dict[str, np.uint32]:
    """Return the seed of every parameter by name."""
    return {name: np.uint32(named_seed(seed, name)) for name in table(size)}


def from_seeds(size: Dimensions, seeds: Seeds) -> Params:
    """Return what `initialise` does; compiled with the seeds as arguments, it serves any."""
    params = {}
    for name, row in table(size).items():
        if row.scale == 0.0:
            params[name] = jnp.full(row.shape, row.fill, row.dtype)
        else:
            key = jax.random.key(seeds[name])
            params[name] = row.scale * jax.random.normal(key, row.shape, row.dtype)
    return params


def named_seed(seed: int, name: str) -> int:
    """Return 32 bits for one use of the run's seed, unrelated to those of any other name."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "little")


def parameter_count(size: Dimensions, *, norms: bool = False) -> int:
    """Return the number of parameters as the papers count them, or with `norms` all of them."""
    return sum(math.prod(row.shape) for row in table(size).values() if row.counted or norms)
