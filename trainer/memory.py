"""Memory that training takes on each device: the state exactly, what a step needs by estimate.

The estimates are of what `model`, `loss` and `step` keep alive; compilers find savings and waste
that no formula sees. Tests hold their sum to between half and twice of what XLA sets aside for a
step on a CPU.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, Mesh

from massivetext.config_train import Train
from massivetext.errors import ConfigError
from massivetext.progress import human_bytes

from .attention import MAX_BLOCK
from .families import FAMILIES
from .loss import chunks_of
from .model import activation_dtype
from .parameters import Dimensions, table
from .ramp import micro_batch_size
from .sharding import AXES, optimiser_sharding, param_sharding
from .step import abstract_state

MOST_DEVICES = 4096


def per_device_bytes(
    size: Dimensions, train: Train, mesh_shape: Mapping[str, int], sequence_length: int
) -> dict[str, int]:
    """Return bytes on each device, by what they are for.

    `parameters` and `optimiser` are the state of `step`, exactly. Estimates are `gradients`;
    `activations`, which are those kept for the backward pass, those of the layer it is in, and that
    layer's weights as gathered over `fsdp`; and `logits`, all that the loss needs. `total` is their
    sum: too much, by the logits, where activations are gone before gradients are made.

    Args:
      mesh_shape: devices along `data`, `fsdp` and `tensor`.

    Raises:
      ConfigError: the model does not divide evenly over the mesh.
    """
    sizes = tuple(mesh_shape[axis] for axis in AXES)
    # Shardings need the shape of a mesh alone: its devices need not exist.
    mesh = cast(Mesh, AbstractMesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES)))
    state = abstract_state(train, size, mesh)
    parts = {
        "parameters": _held(state["params"]),
        "gradients": _gradients(train, size, mesh),
        "optimiser": _held(state["optimiser"]),
        "activations": _activations(train, size, mesh_shape, sequence_length),
        "logits": _loss(train, size, mesh_shape, sequence_length),
    }
    return parts | {"total": sum(parts.values())}


def _held(tree: Any) -> int:
    """Return the bytes on one device of arrays that have a sharding."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
    )


def _gradients(train: Train, size: Dimensions, mesh: Mesh) -> int:
    """What a backward pass makes, and the float32 sum in the optimiser's parts if it is apart."""
    raw = abstract_state(train, size, mesh)["params"]
    partition = train.mesh.partition_optimizer
    of_params = param_sharding(mesh, size)
    of_sum = optimiser_sharding(mesh, size, partition)
    summed = {
        name: jax.ShapeDtypeStruct(row.shape, jnp.float32, sharding=of_sum[name])
        for name, row in table(size).items()
    }
    apart = accumulates(train) or train.precision == "bfloat16" or of_params != of_sum
    return _held(raw) + (_held(summed) if apart else 0)


def accumulates(train: Train) -> bool:
    """Return whether a batch is made of several micro batches."""
    return micro_batch_size(train) < train.batch_size


def _activations(train: Train, size: Dimensions, mesh_shape: Mapping[str, int], length: int) -> int:
    """Kept for the backward pass, in the activations' dtype, per token and layer:

        full      D, the layer's input
        matrices  D, and what weights gave and the way back needs: queries H·K, keys and values
                  G·K each, F (2·F if gated), and D after attention unless parallel
        none      those, and what elementwise functions and norms kept besides

    and, once, what computing a layer's gradient takes: float32 scores and two copies of the like
    of one block of queries; the feed-forward layer's hidden units and their gradients; float32
    norms; the weights, gathered, and their gradients.
    """
    family = FAMILIES[size.family]
    wide, dtype = 4, activation_dtype(train.precision).itemsize
    split = mesh_shape["tensor"]
    tokens = max(1, micro_batch_size(train) // (mesh_shape["data"] * mesh_shape["fsdp"])) * length
    d = size.d_model
    heads = math.ceil(size.heads / split)
    keys = math.ceil(size.kv_heads / split)
    hidden = math.ceil(size.ffw / split) * (2 if family.gated else 1)
    matrices = (heads + 2 * keys) * size.kv_size + hidden + (0 if family.parallel else d)
    scores = tokens * heads * min(length, MAX_BLOCK)

    per_token = d
    if train.remat != "full":
        per_token += matrices
    kept = size.layers * tokens * per_token * dtype
    if train.remat == "none":
        elementwise = 2 * d * wide + (2 * d + heads * size.kv_size + 3 * hidden) * dtype
        kept += size.layers * tokens * elementwise
        if length <= MAX_BLOCK:  # longer ones are made again, block by block
            kept += size.layers * scores * (wide + dtype)
    weights = sum(math.prod(row.shape[1:]) for row in table(size).values() if row.stacked) // split
    working = scores * (2 * wide + dtype) + tokens * (3 * hidden * dtype + 3 * d * wide)
    return kept + working + weights * (dtype + wide)


def _loss(train: Train, size: Dimensions, mesh_shape: Mapping[str, int], length: int) -> int:
    """Two float32 chunks of logits; the embedding's gradient and copy; that of hidden states."""
    wide, dtype = 4, activation_dtype(train.precision).itemsize
    batch, devices = micro_batch_size(train), math.prod(mesh_shape.values())
    chunks = chunks_of(batch, length, size.vocab_size, size.d_model, devices)
    tokens = batch * length
    chunk = 2 * wide * tokens * size.vocab_size // (chunks * devices)
    of_table = size.vocab_size * size.d_model // mesh_shape["tensor"] * (wide + dtype)
    split = mesh_shape["data"] * mesh_shape["fsdp"]
    return chunk + of_table + tokens * size.d_model * dtype // split


def require_fits(
    size: Dimensions, train: Train, mesh_shape: Mapping[str, int], bytes_per_device: int
) -> None:
    """Raise ConfigError when training needs more memory than a device has.

    The message says how much is missing, what takes most, and which axis of the mesh or which other
    setting alone would do. Sequences are as long as `size.context`.
    """
    parts = per_device_bytes(size, train, mesh_shape, size.context)
    need = parts.pop("total")
    if need <= bytes_per_device:
        return
    largest = sorted(parts, key=lambda name: -parts[name])[:2]
    what = " and ".join(f"{name} {human_bytes(parts[name])}" for name in largest)
    ways = []
    for candidates in (
        partial(_more, "fsdp"),
        partial(_more, "tensor"),
        _smaller_micro_batch,
        _recompute,
    ):
        for label, other, shape in candidates(train, mesh_shape):
            total = _total(size, other, shape)
            if total is not None and total <= bytes_per_device:
                ways.append(f"{label} would bring it to {human_bytes(total)}")
                break
    remedy = "; ".join(ways) or (
        f"no one axis of up to {MOST_DEVICES:,} devices does, nor a smaller micro batch: take a "
        "smaller model, or both"
    )
    raise ConfigError(
        f"training needs {human_bytes(need)} a device (estimated; most for {what}) and there are "
        f"{human_bytes(bytes_per_device)}: {human_bytes(need - bytes_per_device)} missing; {remedy}"
    )


def _total(size: Dimensions, train: Train, mesh_shape: Mapping[str, int]) -> int | None:
    """Return all bytes on a device; None when the model does not divide over such a mesh."""
    try:
        return per_device_bytes(size, train, mesh_shape, size.context)["total"]
    except ConfigError:
        return None


Candidate = tuple[str, Train, dict[str, int]]


def _more(axis: str, train: Train, mesh_shape: Mapping[str, int]) -> Iterator[Candidate]:
    """Make `axis` longer, with devices of `data` before there are more of them."""
    times = 2
    while math.prod(mesh_shape.values()) * times <= MOST_DEVICES * mesh_shape["data"]:
        shape = dict(mesh_shape)
        shape[axis] *= times
        shape["data"] = max(1, shape["data"] // times)
        if micro_batch_size(train) % (shape["data"] * shape["fsdp"]) == 0:
            count = math.prod(shape.values())
            yield f"axis {axis}={shape[axis]} (data={shape['data']}, {count} devices)", train, shape
        times *= 2


def _smaller_micro_batch(train: Train, mesh_shape: Mapping[str, int]) -> Iterator[Candidate]:
    ways = mesh_shape["data"] * mesh_shape["fsdp"]
    for micro in range(micro_batch_size(train) - ways, 0, -ways):
        if micro_batch_size(train) % micro == 0:
            label = f"micro_batch_size={micro}"
            yield label, replace(train, micro_batch_size=micro), dict(mesh_shape)


def _recompute(train: Train, mesh_shape: Mapping[str, int]) -> Iterator[Candidate]:
    if train.remat != "full":
        yield "remat=full", replace(train, remat="full"), dict(mesh_shape)
