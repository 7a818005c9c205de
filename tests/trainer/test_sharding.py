"""Meshes and layouts on eight simulated devices: what lives where, and that it changes nothing."""

import math
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from massivetext.config_train import Mesh
from massivetext.errors import ConfigError
from massivetext.trainer.parameters import table
from massivetext.trainer.precision import round_stochastically
from massivetext.trainer.sharding import (
    AXES,
    RULES,
    batch_sharding,
    constrain,
    for_axes,
    make_mesh,
    optimiser_sharding,
    param_sharding,
)
from massivetext.trainer.step import abstract_state

from .layouts import LENGTH, PLAN, SEQUENCES, batch, fresh, plan, run, size_of, step_of

ALL = Mesh(data=2, fsdp=2, tensor=2)
BATCHES = [batch(seed=i) for i in range(3)]


@pytest.mark.parametrize(
    ("mesh", "micro_batch", "shape"),
    [
        (Mesh(), 8, (8, 1, 1)),
        (Mesh(), 4, (4, 1, 1)),  # four devices would have nothing to do
        (Mesh(), 9, (3, 1, 1)),
        (Mesh(fsdp=4, tensor=2), 4, (1, 4, 2)),
        (Mesh(fsdp=2), 12, (3, 2, 1)),
        (Mesh(data=1), 5, (1, 1, 1)),
        (ALL, 4, (2, 2, 2)),
    ],
)
def test_a_mesh_takes_what_it_is_given_and_data_the_rest(mesh, micro_batch, shape):
    made = make_mesh(mesh, micro_batch)
    assert made.shape == dict(zip(AXES, shape, strict=True))
    assert batch_sharding(made).spec == P(None, ("data", "fsdp"), None)
    assert {axis for axes in RULES.values() for axis in axes} == set(AXES)


@pytest.mark.parametrize(
    ("mesh", "micro_batch", "message"),
    [
        (Mesh(data=16), 16, r"16 devices \(data 16 x fsdp 1 x tensor 1\); there are 8, 8 too few"),
        (Mesh(fsdp=3, tensor=3), 9, r"9 devices \(fsdp 3 x tensor 3\); there are 8, 1 too few"),
        (Mesh(data=4, fsdp=2), 12, r"12 sequences .* data 4 x fsdp 2 = 8 .* of 8 \(8 or 16\)"),
        (Mesh(fsdp=8), 4, r"4 sequences .* data 1 x fsdp 8 = 8 parts.* a multiple of 8 \(8\)"),
    ],
)
def test_a_mesh_that_does_not_fit_says_by_how_much(mesh, micro_batch, message):
    with pytest.raises(ConfigError, match=message):
        make_mesh(mesh, micro_batch)


@pytest.mark.parametrize(
    ("mesh", "changes", "message"),
    [
        (
            Mesh(data=1, tensor=3),
            {},
            r"tensor is 3, over which the heads of 8 .* tensor 1, 2 would",
        ),
        (Mesh(data=1, tensor=8), {"heads": 12}, r"the heads of 12 .* tensor 1, 2, 4 would fit"),
        (Mesh(data=1, tensor=2), {"ffw": 63}, r"tensor is 2, over which the ffw of 63"),
        (Mesh(data=1, fsdp=4), {"d_model": 6}, r"fsdp is 4, .* d_model of 6 .* fsdp 1, 2, 3 would"),
        (
            Mesh(data=1, tensor=4),
            {"heads": 24, "kv_heads": 6},
            r"tensor is 4, over which the kv_heads of 6 .* tensor 1, 2 would fit",
        ),
    ],
)
def test_a_model_that_does_not_divide_says_what_would(mesh, changes, message):
    override = replace(PLAN.override, positions="none", **changes)
    train = plan(mesh=mesh, override=override)
    with pytest.raises(ConfigError, match=message):
        param_sharding(make_mesh(mesh, 12), size_of(train))


def test_an_uneven_vocabulary_is_named():
    size = replace(size_of(PLAN), vocab_size=50_257)
    with pytest.raises(ConfigError, match=r"tensor is 2, over which the vocabulary of 50,257"):
        param_sharding(make_mesh(Mesh(tensor=2), 8), size)


def test_logical_axes_map_to_the_mesh():
    mesh = make_mesh(ALL, SEQUENCES)
    specs = {n: s.spec for n, s in param_sharding(mesh, size_of(plan("palm"))).items()}
    assert specs["embedding"] == P("tensor", "fsdp")
    assert specs["query"] == P(None, "fsdp", "tensor", None)
    assert specs["key"] == P(None, "fsdp", None, None)  # one head for all: whole on each device
    assert specs["down"] == P(None, "tensor", "fsdp")
    grouped = size_of(plan("palm", override=replace(PLAN.override, kv_heads=4)))
    assert param_sharding(mesh, grouped)["key"].spec == P(None, "fsdp", "tensor", None)


def test_the_optimisers_part_is_a_part_of_the_parameters_part():
    mesh, size = make_mesh(ALL, SEQUENCES), size_of(plan())
    assert optimiser_sharding(mesh, size, False) == param_sharding(mesh, size)
    specs = {n: s.spec for n, s in optimiser_sharding(mesh, size, True).items()}
    assert specs["embedding"] == P(("tensor", "data"), "fsdp")
    assert specs["query"] == P(None, ("fsdp", "data"), "tensor", None)
    assert specs["query_bias"] == P(None, ("tensor", "data"), None)
    odd = replace(size, layers=8, heads=2, kv_size=3)
    assert optimiser_sharding(mesh, odd, True)["query_bias"].spec == P(None, "tensor", None)


def bytes_of(tree):
    """Bytes on each device, and of the whole arrays."""
    arrays = [x for x in jax.tree.leaves(tree) if x.ndim]
    devices = {d: 0 for d in jax.devices()}
    for x in arrays:
        for shard in x.addressable_shards:
            devices[shard.device] += shard.data.nbytes
    return set(devices.values()), sum(x.nbytes for x in arrays)


@pytest.mark.parametrize(
    ("mesh", "of_params", "of_moments"),
    [
        (Mesh(data=8), 1, 1),
        (Mesh(data=8, partition_optimizer=True), 1, 8),  # ZeRO-1
        (Mesh(fsdp=8), 8, 8),  # ZeRO-3
        (Mesh(data=4, fsdp=2, partition_optimizer=True), 2, 8),
    ],
)
def test_a_device_holds_its_share_of_bytes_and_no_more(mesh, of_params, of_moments):
    state = fresh(plan("palm", mesh=mesh, precision="bfloat16"))
    used, whole = bytes_of(state["params"])
    assert used == {whole // of_params}
    used, whole = bytes_of(state["optimiser"])
    assert used == {whole // of_moments}


def test_tensor_parallel_bytes_are_the_tables():
    mesh = Mesh(data=4, tensor=2)
    state = fresh(plan("palm", mesh=mesh))
    # Norms, and the one head of keys and of values, are whole on each device.
    split = {"embedding", "query", "output", "up", "gate", "down"}
    rows = table(size_of(plan("palm")))
    share = sum(4 * math.prod(row.shape) // (2 if n in split else 1) for n, row in rows.items())
    assert bytes_of(state["params"])[0] == {share}


LAYOUTS = [
    ("gopher", Mesh(data=8)),
    ("gopher", Mesh(fsdp=4, tensor=2)),
    ("palm", Mesh(fsdp=8)),
    ("palm", Mesh(data=8, partition_optimizer=True)),
    ("gpt3", replace(ALL, partition_optimizer=True)),
]


@pytest.mark.parametrize(("family", "mesh"), LAYOUTS)
def test_every_layout_trains_the_same_model(family, mesh):
    one, losses = run(plan(family), BATCHES)
    other, again = run(plan(family, mesh=mesh), BATCHES)
    for a, b in zip(losses, again, strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    second = one["optimiser"]["moments"][1].nu
    compared = 0
    for name, wanted in one["params"].items():
        # Where the gradient is zero but for rounding (biases of keys shift a softmax), Adam makes
        # the rounding as large as any gradient.
        real = np.asarray(second[name]) > 1e-10
        compared += real.sum()
        got = np.asarray(other["params"][name])
        np.testing.assert_allclose(got[real], np.asarray(wanted)[real], atol=1e-5)
    assert compared > 0.8 * sum(p.size for p in one["params"].values())


def test_stochastic_rounding_draws_the_same_bits_on_every_layout():
    x = {"x": jnp.full((16, 8), 1.001)}
    draw = jax.jit(round_stochastically)
    mesh = make_mesh(ALL, SEQUENCES)
    split = jax.device_put(x, for_axes(mesh, ("batch", "heads")))
    key = jax.random.key(1)
    np.testing.assert_array_equal(draw(x, key)["x"], draw(split, key)["x"])


def compiled(train):
    mesh = make_mesh(train.mesh, SEQUENCES)
    tokens = jax.ShapeDtypeStruct((1, SEQUENCES, LENGTH), jnp.int32)
    scalars = [jax.ShapeDtypeStruct((), d) for d in (jnp.int32, jnp.float32)]
    state = abstract_state(train, size_of(train), mesh)
    return state, step_of(train).lower(state, tokens, tokens, *scalars).compile()


def test_zero_1_gathers_the_parameters_and_nothing_else():
    train = plan("palm", mesh=Mesh(data=8, partition_optimizer=True))
    state, program = compiled(train)
    after, _ = program.output_shardings
    for wanted, got in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert got.is_equivalent_to(wanted.sharding, wanted.ndim)
    gathers = re.findall(r"= (\S+?)(?:\{\S*)? all-gather\(", program.as_text())
    shapes = [f"f32[{','.join(map(str, x.shape))}]" for x in state["params"].values()]
    assert sorted(gathers) == sorted(shapes)


def test_zero_3_never_holds_all_layers_of_a_parameter():
    train = plan("palm", mesh=Mesh(fsdp=8))
    _, program = compiled(train)
    stacked = table(size_of(train))["up"].shape
    assert f"f32[{','.join(map(str, stacked[1:]))}]" in program.as_text()  # one layer, gathered
    assert f"f32[{','.join(map(str, stacked))}]" not in program.as_text()


def test_constrain_is_for_arrays_on_a_mesh():
    x = jnp.zeros((8, 4, 6))
    assert constrain(x, "batch", None, "heads") is x
    mesh = make_mesh(ALL, SEQUENCES)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        traced = jax.make_jaxpr(lambda x: constrain(x, "batch", None, "heads"))(x)
        uneven = jax.make_jaxpr(lambda x: constrain(x, None, "batch", "heads"))(x[:, :3])
    assert "('data', 'fsdp'), None, 'tensor'" in str(traced)
    assert "None, None, 'tensor'" in str(uneven)
