"""Where arrays live: logical axes of the parameter table and of batches, mapped to a mesh.

The mesh has one axis, `data`: the batch is split over it and everything else is replicated.
"""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# Logical axis -> mesh axis. Axes that are not here are replicated.
RULES = {"batch": "data"}


def make_mesh(batch_size: int) -> Mesh:
    """Return a mesh of as many local devices as divide the batch evenly."""
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    return jax.make_mesh((count,), ("data",), devices=devices[:count], axis_types=(AxisType.Auto,))


def for_axes(mesh: Mesh, axes: tuple[str, ...]) -> NamedSharding:
    """Return the sharding of an array whose dimensions have these logical names."""
    return NamedSharding(mesh, PartitionSpec(*(RULES.get(axis) for axis in axes)))
