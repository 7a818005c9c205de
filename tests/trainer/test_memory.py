"""Bytes per device: the state against real arrays, the estimates against what XLA sets aside."""

import math
import re

import jax
import jax.numpy as jnp
import pytest

from massivetext import config_train
from massivetext.config_train import Override, Train
from massivetext.errors import ConfigError
from massivetext.trainer.memory import per_device_bytes, require_fits
from massivetext.trainer.parameters import dimensions, table
from massivetext.trainer.sharding import make_mesh
from massivetext.trainer.step import abstract_state, initial_state, make_step

AXES = ("data", "fsdp", "tensor")
VOCAB = 2048


def plan(model="gopher-44m", shape=(1, 1, 1), partition=False, **changes):
    override = Override(layers=6, heads=4, kv_size=32, d_model=128)
    mesh = config_train.Mesh(*shape, partition_optimizer=partition)
    values = {"model": model, "override": override, "mesh": mesh, "batch_size": 4}
    return Train(**(values | changes))


def estimate(train, shape, length):
    size = dimensions(train, VOCAB, length)
    return size, per_device_bytes(size, train, dict(zip(AXES, shape, strict=True)), length)


def on_first_device(tree):
    first = jax.devices()[0]
    shards = (s for x in jax.tree.leaves(tree) for s in x.addressable_shards if s.device == first)
    return sum(shard.data.nbytes for shard in shards)


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ((1, 1, 1), {}),
        ((2, 2, 2), {"partition": True}),
        ((2, 1, 4), {"model": "palm-8b", "precision": "bfloat16", "partition": True}),
        ((1, 4, 1), {"model": "gpt3-125m", "optimizer": "adafactor"}),
    ],
)
def test_the_state_is_exact(shape, changes):
    train = plan(shape=shape, **changes)
    size, parts = estimate(train, shape, 64)
    state = initial_state(train, size, 1, make_mesh(train.mesh, 4))
    assert parts["parameters"] == on_first_device(state["params"])
    assert parts["optimiser"] == on_first_device(state["optimiser"])
    assert parts["total"] == sum(parts.values()) - parts["total"]


def test_by_hand():
    train = plan()
    size, parts = estimate(train, (1, 1, 1), 64)
    count = sum(math.prod(row.shape) for row in table(size).values())
    assert parts["parameters"] == parts["gradients"] == 4 * count
    assert parts["optimiser"] == 8 * count + 4 + 4  # two moments, two counters
    train = plan(precision="bfloat16", micro_batch_size=2)
    _, parts = estimate(train, (1, 1, 1), 64)
    assert parts["parameters"] == 2 * count
    assert parts["gradients"] == (2 + 4) * count  # as computed, and their float32 sum
    assert parts["optimiser"] == 12 * count + 4 + 4


@pytest.mark.parametrize(
    ("length", "shape", "changes"),
    [
        (128, (1, 1, 1), {"remat": "none"}),
        (512, (1, 1, 1), {"remat": "matrices"}),
        (512, (1, 1, 1), {"model": "gpt3-125m", "remat": "full"}),
        (512, (1, 1, 1), {"model": "palm-8b", "remat": "none"}),
        (512, (1, 4, 1), {"model": "palm-8b", "precision": "mixed", "micro_batch_size": 4}),
        (256, (2, 2, 2), {"partition": True}),
    ],
)
def test_estimates_are_within_a_factor_of_two(length, shape, changes):
    batch = 8 if "micro_batch_size" in changes else 4
    train = plan(shape=shape, batch_size=batch, **changes)
    size, parts = estimate(train, shape, length)
    mesh = make_mesh(train.mesh, 4)
    tokens = jax.ShapeDtypeStruct((batch // 4, 4, length), jnp.int32)
    scalars = jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
    state = abstract_state(train, size, mesh)
    compiled = make_step(train, size, mesh).lower(state, tokens, tokens, *scalars).compile()
    used = compiled.memory_analysis()
    held = parts["parameters"] + parts["optimiser"]
    assert 0 <= used.argument_size_in_bytes - held < 2 * 4 * batch * length + 64
    ratio = (parts["total"] - held) / used.temp_size_in_bytes
    assert 0.5 < ratio < 2


def test_uneven_meshes_are_refused():
    with pytest.raises(ConfigError, match=r"train\.mesh\.fsdp is 3, over which the d_model of 128"):
        estimate(plan(), (1, 3, 1), 64)


def fitting(train, shape, limit):
    size = dimensions(train, 32_000, 2048)
    require_fits(size, train, dict(zip(AXES, shape, strict=True)), limit)


def test_what_is_missing_and_what_would_help():
    train = Train(model="gopher-1.4b")
    size = dimensions(train, 32_000, 2048)
    need = per_device_bytes(size, train, dict.fromkeys(AXES, 1), 2048)["total"]
    fitting(train, (1, 1, 1), need)
    with pytest.raises(ConfigError) as error:
        fitting(train, (1, 1, 1), 24_000_000_000)
    text = str(error.value)
    numbers = re.search(r"needs ([\d.]+) GB .* there are 24.0 GB: ([\d.]+) GB missing", text)
    assert float(numbers[1]) == pytest.approx(need / 1e9, abs=0.06)
    assert float(numbers[2]) == pytest.approx(need / 1e9 - 24, abs=0.06)
    remedies = re.findall(r"axis (\w+)=(\d+) \(data=1, \d devices\) would bring it to", text)
    assert [name for name, _ in remedies] == ["fsdp", "tensor"]
    for name, count in remedies:
        # It fits with what the message says, and not with half of it.
        def shape(ways, name=name):
            return tuple(ways if axis == name else 1 for axis in AXES)

        fitting(train, shape(int(count)), 24_000_000_000)
        with pytest.raises(ConfigError):
            fitting(train, shape(int(count) // 2), 24_000_000_000)


def test_devices_of_the_data_axis_are_taken_first():
    with pytest.raises(ConfigError, match=r"axis fsdp=2 \(data=4, 8 devices\)"):
        fitting(Train(model="gopher-7.1b"), (8, 1, 1), 80_000_000_000)


def test_smaller_steps_help_where_activations_are_what_is_large():
    train = Train(model="gopher-44m", batch_size=64)
    with pytest.raises(ConfigError) as error:
        fitting(train, (1, 1, 1), 12_000_000_000)
    assert "micro_batch_size=" in str(error.value)
    micro = int(re.search(r"micro_batch_size=(\d+)", str(error.value))[1])
    fitting(Train(model="gopher-44m", batch_size=64, micro_batch_size=micro), (1,) * 3, 12 * 10**9)


def test_too_large_for_any_axis():
    train = Train(model="gopher-280b", batch_size=1)
    with pytest.raises(ConfigError, match="take a smaller model"):
        fitting(train, (1, 1, 1), 1_000_000_000)
