"""bfloat16 parameters: the master copy behind them, and rounding that is right on average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.trainer.precision import round_stochastically
from massivetext.trainer.sharding import make_mesh
from massivetext.trainer.step import initial_state

from .layouts import SEQUENCES, batch, fresh, plan, run, size_of, step_of

BATCHES = [batch(seed=i) for i in range(3)]


@jax.jit
def rounded(x, seed):
    return round_stochastically({"x": x}, jax.random.key(seed))["x"].astype(jnp.float32)


def neighbours(x):
    """The numbers of bfloat16 at and next above `x` in magnitude; `x` itself where it is one."""
    low = (np.float32(x).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return low, (low.view(np.uint32) + np.uint32(1 << 16)).view(np.float32)


@given(
    st.floats(-(2.0**126), 2.0**126, width=32, allow_subnormal=False),
    st.integers(0, 2**31 - 1),
)
def test_rounding_gives_a_neighbour_and_keeps_what_needs_none(x, seed):
    low, high = neighbours(x)
    got = np.asarray(rounded(jnp.full(8, x, jnp.float32), seed))
    assert set(got.tolist()) <= (
        {float(low)} if low == np.float32(x) else {float(low), float(high)}
    )


@pytest.mark.parametrize("x", [1.001, -1.001, 1.999, 3e-5, -0.0078125 * 1.0001])
def test_rounding_is_right_on_average(x):
    n = 1 << 16
    low, high = neighbours(x)
    got = np.asarray(rounded(jnp.full(n, x, jnp.float32), 7), np.float64)
    share = (np.float64(np.float32(x)) - low) / (np.float64(high) - low)
    deviation = np.sqrt(share * (1 - share) / n)
    assert (got == high).mean() == pytest.approx(share, abs=5 * deviation)


def test_what_is_not_finite_stays_what_it_is():
    x = np.array([np.inf, -np.inf, np.nan], np.float32)
    x = np.append(x, np.array([0x7FFFFFFF, 0x7F800001], np.uint32).view(np.float32))
    got = np.asarray(rounded(jnp.asarray(x), 3))
    np.testing.assert_array_equal(got[:2], x[:2])
    assert np.isnan(got[2:]).all()


def test_bits_depend_on_the_key_and_the_name():
    x = jnp.full(64, 1.001)
    drawn = [
        round_stochastically({name: x}, jax.random.key(seed))[name].tolist()
        for name, seed in (("a", 0), ("a", 0), ("b", 0), ("a", 1))
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert drawn[0] != drawn[3]


def test_the_parameters_are_the_master_copy_rounded():
    state, _ = run(plan("palm", precision="bfloat16"), BATCHES)
    master = state["optimiser"]["master"]
    for name, param in state["params"].items():
        assert (param.dtype, master[name].dtype) == (jnp.bfloat16, jnp.float32)
        np.testing.assert_array_equal(param, master[name].astype(jnp.bfloat16))
    moments = [x for x in jax.tree.leaves(state["optimiser"]["moments"]) if x.ndim]
    assert {x.dtype for x in moments} == {jnp.dtype(jnp.float32)}


def tiny_steps(steps=200, rate=np.float32(2e-6), **changes):
    """How far the embedding has gone after steps each too small for bfloat16."""
    train = plan("palm", **changes)
    state = fresh(train)
    about = state["optimiser"]
    before = np.asarray(about.get("master", state["params"])["embedding"], np.float32)
    for _ in range(steps):
        state, _ = step_of(train)(state, *BATCHES[0], np.int32(1), rate)
    about = state["optimiser"]
    return np.asarray(about.get("master", state["params"])["embedding"], np.float32) - before


def test_updates_too_small_for_bfloat16_are_not_lost():
    # Adam moves a parameter by about the rate, and neighbours near 1, where PaLM's embedding is,
    # lie 0.004 apart: added in bfloat16, 2e-6 would change nothing ever.
    exact = tiny_steps()
    assert 2e-4 < np.abs(exact).mean() < 5e-4
    master = tiny_steps(precision="bfloat16")
    assert np.abs(master - exact).mean() < 0.1 * np.abs(exact).mean()

    rounding = {"precision": "bfloat16", "stochastic_rounding": True}
    drawn = tiny_steps(**rounding)
    assert (drawn * np.sign(exact)).mean() == pytest.approx(np.abs(exact).mean(), rel=0.3)
    np.testing.assert_array_equal(drawn, tiny_steps(**rounding))


def test_rounding_differs_between_seeds():
    train = plan("palm", precision="bfloat16", stochastic_rounding=True)
    mesh, size = make_mesh(train.mesh, SEQUENCES), size_of(train)
    states = [initial_state(train, size, seed, mesh) for seed in (1, 2)]
    keys = [state["optimiser"]["rounding"].tolist() for state in states]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("precision", ["mixed", "bfloat16"])
def test_bfloat16_learns_about_as_float32_does(precision):
    _, exact = run(plan("palm"), BATCHES)
    state, rounded_ = run(plan("palm", precision=precision), BATCHES)
    for a, b in zip(exact, rounded_, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=0.05)
        assert a["loss"] != b["loss"]
    stored = {p.dtype for p in state["params"].values()}
    assert stored == {jnp.dtype(jnp.float32 if precision == "mixed" else jnp.bfloat16)}
