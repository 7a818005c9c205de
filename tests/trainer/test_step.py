"""A step: micro batches, one compilation, bad steps, and what it reports."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from massivetext.config_train import Mesh
from massivetext.trainer.model import hidden_states
from massivetext.trainer.sharding import make_mesh
from massivetext.trainer.step import initial_state

from .layouts import RATE, batch, fresh, plan, run, size_of, step_of

TRAIN = plan("palm", z_loss=1e-2)


def assert_same(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.fixture(scope="module")
def whole():
    """State and metrics after one step on a batch in one piece."""
    return run(TRAIN, [batch(1)])


def test_loss_and_gradient_norm_are_means_over_all_targets(whole):
    inputs, targets = batch(1)
    train = TRAIN
    size = size_of(train)
    params = fresh(train)["params"]

    def losses(params):
        hidden = hidden_states(params, inputs[0], size)
        scores = hidden @ params["embedding"].T
        real = targets[0] >= 0
        nll = optax.softmax_cross_entropy_with_integer_labels(scores, jnp.maximum(targets[0], 0))
        z = 1e-2 * jax.nn.logsumexp(scores, axis=-1) ** 2
        nll, z = (jnp.sum(x * real) / jnp.sum(real) for x in (nll, z))
        return nll + z, (nll, z)

    gradients, (nll, z) = jax.grad(losses, has_aux=True)(params)
    _, [metrics] = whole
    assert metrics["loss"] == pytest.approx(float(nll), rel=1e-5)
    assert metrics["z_loss"] == pytest.approx(float(z), rel=1e-5)
    assert metrics["gradient_norm"] == pytest.approx(float(optax.tree.norm(gradients)), rel=1e-4)
    assert (metrics["finite"], metrics["skipped"]) == (1, 0)


def test_a_batch_cut_in_micro_batches_is_the_same_batch(whole):
    # Micro batches have different numbers of targets: the mean is over all, not of their means.
    inputs, targets = (x.reshape(4, -1, x.shape[-1]) for x in batch(1))
    state, [metrics] = run(TRAIN, [(inputs, targets)])
    assert metrics == pytest.approx(whole[1][0], rel=2e-6)
    # Adam hides the size of the gradient, its moments do not.
    moments = [state["optimiser"]["moments"] for state in (state, whole[0])]
    assert_same(*moments, rtol=1e-3, atol=1e-7)


def test_a_growing_batch_is_compiled_once_and_padding_counts_for_nothing():
    train = TRAIN
    step = step_of(train)
    inputs, targets = batch(4)
    losses = {}
    compiled = step._cache_size()
    for used in (1, 2, 4):
        garbled = inputs.copy(), targets.copy()
        for x in garbled:
            x[used:] = 7
        _, values = step(fresh(train), *garbled, np.int32(used), RATE)
        losses[used] = float(values["loss"])
    assert step._cache_size() <= compiled + 1
    for used in (1, 2):
        left_out = targets.copy()
        left_out[used:] = -1
        _, [metrics] = run(train, [[x.reshape(1, 8, -1) for x in (inputs, left_out)]])
        assert metrics["loss"] == pytest.approx(losses[used], rel=1e-6)


def test_a_step_that_is_not_finite_is_skipped_and_counted():
    train = plan("palm", precision="bfloat16")
    state = fresh(train)
    state["params"]["up"] = state["params"]["up"].at[0, 0, 0].set(jnp.nan)
    before = jax.tree.map(lambda x: np.array(x).tobytes(), state)
    for skipped in (1, 2):
        state, [metrics] = run(train, [batch(1)], state)
        assert (metrics["finite"], metrics["skipped"]) == (0, skipped)
    assert int(state["optimiser"].pop("skipped")) == 2
    del before["optimiser"]["skipped"]
    assert jax.tree.map(lambda x: np.array(x).tobytes(), state) == before


def test_the_state_passed_in_is_consumed():
    train = TRAIN
    before = fresh(train)
    run(train, [batch(1)], before)
    assert all(x.is_deleted() for x in jax.tree.leaves(before["params"]))


def test_the_initial_state_depends_on_the_seed_alone():
    train = TRAIN
    split = replace(train, mesh=Mesh(data=2, fsdp=2, tensor=2, partition_optimizer=True))
    size = size_of(train)
    one, other = (initial_state(t, size, 3, make_mesh(t.mesh, 8)) for t in (train, split))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    again = initial_state(train, size, 4, make_mesh(train.mesh, 8))
    assert not np.array_equal(one["params"]["up"], again["params"]["up"])


def test_another_seed_compiles_nothing(caplog):
    size, mesh = size_of(TRAIN), make_mesh(TRAIN.mesh, 8)
    initial_state(TRAIN, size, 5, mesh)
    with jax.log_compiles():
        initial_state(TRAIN, size, 6, mesh)
        assert "ompil" not in caplog.text
        initial_state(TRAIN, replace(size, vocab_size=2 * size.vocab_size), 6, mesh)
        assert "_fresh" in caplog.text
