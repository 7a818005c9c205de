"""Where arrays live: logical axes of the parameter table and of batches, mapped to a mesh.

The mesh has three axes. `data` splits the batch; `fsdp` splits the batch and every parameter along
`embed`, gathered layer by layer where it is used (ZeRO-3); `tensor` splits heads, feed-forward and
vocabulary (Megatron). The optimiser's state may be split over `data` as well (ZeRO-1; Gopher,
section 3.2). Axes are of type Auto: the compiler derives the rest from these shardings.
"""

import math
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from massivetext import config_train
from massivetext.errors import ConfigError

from .parameters import Dimensions, Params, table

AXES = ("data", "fsdp", "tensor")

# Logical axis -> axes of the mesh. Axes that are not here are never split: `layers` above all, or a
# step of the scan over layers would have to fetch its layer from another device.
RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "embed": ("fsdp",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "mlp": ("tensor",),
    "vocab": ("tensor",),
}


def make_mesh(mesh: config_train.Mesh, micro_batch: int) -> Mesh:
    """Return the mesh of `mesh.data` x `mesh.fsdp` x `mesh.tensor` devices.

    Where `data` is not given it takes all devices that are left, or as many as divide the micro
    batch of `micro_batch` sequences: a batch of 4 leaves half of 8 devices idle.

    Raises:
      ConfigError: there are too few devices, the micro batch does not divide evenly, or, with
        several processes, devices would be left over.
    """
    devices = jax.devices()
    inner = mesh.fsdp * mesh.tensor
    if inner > len(devices):
        _too_few(f"fsdp {mesh.fsdp} x tensor {mesh.tensor}", inner, devices)
    data = mesh.data
    if data is None:
        data = max(
            (n for n in range(1, len(devices) // inner + 1) if micro_batch % (n * mesh.fsdp) == 0),
            default=1,
        )
    count = data * inner
    shape = f"data {data} x fsdp {mesh.fsdp} x tensor {mesh.tensor}"
    if count > len(devices):
        _too_few(shape, count, devices)
    if micro_batch % (data * mesh.fsdp):
        ways = data * mesh.fsdp
        below, above = micro_batch // ways * ways, -(-micro_batch // ways) * ways
        fitting = " or ".join(f"{n}" for n in (below, above) if n)
        raise ConfigError(
            f"a micro batch of {micro_batch} sequences does not divide over data {data} x fsdp "
            f"{mesh.fsdp} = {ways} parts: set train.micro_batch_size, or batch_size without it, to "
            f"a multiple of {ways} ({fitting}), or make train.mesh.data or fsdp smaller"
        )
    if count < len(devices) and jax.process_count() > 1:
        raise ConfigError(
            f"train.mesh takes {count} devices ({shape}); the {jax.process_count()} processes have "
            f"{len(devices)} and each must take part: make train.mesh.data "
            f"{max(1, len(devices) // inner)}, and the micro batch a multiple of it"
        )
    sizes = (data, mesh.fsdp, mesh.tensor)
    return jax.make_mesh(sizes, AXES, devices=devices[:count], axis_types=(AxisType.Auto,) * 3)


def _too_few(shape: str, count: int, devices: Sequence[jax.Device]) -> None:
    raise ConfigError(
        f"train.mesh needs {count} devices ({shape}); there are {len(devices)}, "
        f"{count - len(devices)} too few: make an axis smaller, or start more processes"
    )


def for_axes(mesh: Mesh, axes: Sequence[str | None]) -> NamedSharding:
    """Return the sharding of an array whose dimensions have these logical names."""
    return NamedSharding(mesh, PartitionSpec(*(_entry(RULES.get(axis or "", ())) for axis in axes)))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of a batch [M, b, T]: M micro batches of b sequences of T tokens."""
    return for_axes(mesh, ("micro", "batch", "time"))


def param_sharding(mesh: Mesh, size: Dimensions) -> dict[str, NamedSharding]:
    """Return the sharding of every parameter by name.

    Raises:
      ConfigError: heads, feed-forward width, vocabulary or d_model do not divide evenly.
    """
    _require_even(mesh, size)
    shared = size.kv_heads < mesh.shape["tensor"]
    return {
        # Heads of keys that are fewer than the devices of an axis are whole on each (PaLM's one).
        name: for_axes(mesh, [None if a == "kv_heads" and shared else a for a in row.axes])
        for name, row in table(size).items()
    }


def optimiser_sharding(mesh: Mesh, size: Dimensions, partition: bool) -> dict[str, NamedSharding]:
    """Return the sharding of what the optimiser keeps of every parameter (moments, master copy).

    With `partition` the first dimension that divides evenly is split over `data` too. A parameter
    of which none does (the biases of few heads) stays whole along `data`.
    """
    params = param_sharding(mesh, size)
    ways = mesh.shape["data"]
    if not partition or ways == 1:
        return params
    return {
        name: NamedSharding(mesh, _also_over_data(mesh, params[name].spec, row.axes, row.shape))
        for name, row in table(size).items()
    }


def _also_over_data(
    mesh: Mesh, spec: PartitionSpec, axes: tuple[str, ...], shape: tuple[int, ...]
) -> PartitionSpec:
    for i, (axis, length) in enumerate(zip(axes, shape, strict=True)):
        taken = RULES.get(axis, ()) if spec[i] is not None else ()
        ways = math.prod(mesh.shape[name] for name in (*taken, "data"))
        if axis != "layers" and length % ways == 0:
            # `data` comes last: a device's part is then a slice of the part it has already.
            return PartitionSpec(*spec[:i], _entry((*taken, "data")), *spec[i + 1 :])
    return spec


def _entry(axes: tuple[str, ...]) -> str | tuple[str, ...] | None:
    return axes[0] if len(axes) == 1 else axes or None


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Return `x`, its dimensions held to these logical axes on the mesh of `make_step`.

    None leaves a dimension whole. Outside of a mesh, as in generation on one device, and where a
    dimension does not divide evenly it does nothing. Note that the `embed` axis is one of
    parameters: activations [B, T, D] are ("batch", None, None).
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    names = [
        RULES.get(axis or "", ())
        if length % math.prod(mesh.shape[n] for n in RULES.get(axis or "", ())) == 0
        else ()
        for axis, length in zip(axes, x.shape, strict=True)
    ]
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*map(_entry, names)))


def gathered(params: Params, size: Dimensions) -> Params:
    """Return `params` with those outside of the scan over layers whole along `embed`.

    The compiler gathers a layer's weights where the scan uses them. Of the embedding, looked up and
    not multiplied, it would rather split the activations, and then copy them to every device.
    """
    rows = table(size)
    return {
        name: array
        if rows[name].stacked
        else constrain(array, *(None if a == "embed" else a for a in rows[name].axes))
        for name, array in params.items()
    }


def _require_even(mesh: Mesh, size: Dimensions) -> None:
    """Raise ConfigError when a dimension does not divide over its axis of the mesh."""
    split = {
        "fsdp": {"d_model": size.d_model},
        "tensor": {"heads": size.heads, "ffw": size.ffw, "vocabulary": size.vocab_size},
    }

    def uneven(axis: str, ways: int) -> str | None:
        for name, length in split[axis].items():
            if length % ways:
                return f"the {name} of {length:,}"
        if axis == "tensor" and size.kv_heads > ways and size.kv_heads % ways:
            return f"the kv_heads of {size.kv_heads}"
        return None

    for axis in split:
        ways = mesh.shape[axis]
        what = uneven(axis, ways)
        if what is not None:
            fitting = ", ".join(str(n) for n in range(1, mesh.size + 1) if uneven(axis, n) is None)
            raise ConfigError(
                f"train.mesh.{axis} is {ways}, over which {what} does not divide evenly; of up to "
                f"{mesh.size} devices, {axis} {fitting} would fit this model"
            )
