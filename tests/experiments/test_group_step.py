"""A step that weighs every token: its losses, its gradients, and Group DRO's shares."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from massivetext.config_train import Mesh, Override, Train
from massivetext.experiments import bandit, group_dro
from massivetext.experiments.group_step import make_group_step, make_scores, token_losses
from massivetext.trainer.loss import cross_entropy
from massivetext.trainer.parameters import dimensions
from massivetext.trainer.sharding import make_mesh
from massivetext.trainer.step import initial_state, make_step

VOCAB, LENGTH, BATCH = 24, 8, 4
TRAIN = Train(
    override=Override(layers=1, heads=2, kv_size=4, d_model=8),
    batch_size=BATCH,
    learning_rate=1e-2,
    mesh=Mesh(data=1),
    remat="none",
)
SIZE = dimensions(TRAIN, VOCAB, LENGTH)
RATE = np.float32(1e-2)


def batch(micro_batches=1, seed=0):
    rng = np.random.default_rng(seed)
    inputs, targets = rng.integers(0, VOCAB, (2, BATCH, LENGTH)).astype(np.int32)
    targets[0, 2:] = -1
    return [x.reshape(micro_batches, -1, LENGTH) for x in (inputs, targets)]


def fresh(train=TRAIN, seed=0):
    return initial_state(train, SIZE, seed, make_mesh(train.mesh, BATCH))


def assert_same(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.parametrize("chunk_bytes", [1 << 20, 4 * VOCAB * 3 * 3])
def test_the_losses_of_tokens_sum_to_the_cross_entropy(monkeypatch, chunk_bytes):
    monkeypatch.setattr("massivetext.trainer.loss.CHUNK_BYTES", chunk_bytes)
    rng = np.random.default_rng(1)
    hidden = jnp.array(rng.normal(size=(3, 7, 4)), jnp.float32)
    embedding = jnp.array(rng.normal(size=(VOCAB, 4)), jnp.float32)
    targets = rng.integers(0, VOCAB, (3, 7)).astype(np.int32)
    targets[1, 3:] = -1
    nll, z = token_losses(hidden, embedding, targets, 1e-2)
    scores = hidden @ embedding.T
    real = targets >= 0
    expected = optax.softmax_cross_entropy_with_integer_labels(scores, np.maximum(targets, 0))
    np.testing.assert_allclose(nll, np.where(real, expected, 0), rtol=1e-5)
    total, _, z_total = cross_entropy(hidden, embedding, targets, 1e-2)
    assert (jnp.sum(nll), jnp.sum(z)) == pytest.approx((float(total), float(z_total)), rel=1e-5)

    def ours(h, e):
        nll, z = token_losses(h, e, targets, 1e-2)
        return jnp.sum(nll) + jnp.sum(z)

    def theirs(h, e):
        nll, _, z = cross_entropy(h, e, targets, 1e-2)
        return nll + z

    of_ours, of_theirs = (jax.grad(f, (0, 1))(hidden, embedding) for f in (ours, theirs))
    assert_same(of_ours, of_theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("target", [VOCAB, -2])
def test_a_target_that_is_no_token_is_not_a_number(target):
    hidden, embedding = jnp.ones((1, 2, 4)), jnp.ones((VOCAB, 4))
    nll, _ = token_losses(hidden, embedding, jnp.array([[3, target]]))
    assert np.isfinite(nll[0, 0])
    assert np.isnan(nll[0, 1])


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_with_equal_shares_it_is_the_trainer_s_step(micro_batches):
    train = replace(TRAIN, z_loss=1e-3)
    mesh = make_mesh(train.mesh, BATCH // micro_batches)
    inputs, targets = batch(micro_batches)
    count = np.int32(micro_batches)
    step = make_group_step(train, SIZE, mesh, bandit.weigh)
    state, values, told = step(fresh(train), inputs, targets, count, RATE, {})
    expected, metrics = make_step(train, SIZE, mesh)(fresh(train), inputs, targets, count, RATE)
    for name in ("loss", "gradient_norm"):
        assert values[name] == pytest.approx(float(metrics[name]), rel=1e-5)
    moments = [s["optimiser"]["moments"] for s in (state, expected)]
    assert_same(*moments, rtol=1e-3, atol=1e-6)
    scores = make_scores(train, SIZE, mesh)(fresh(train)["params"], inputs, targets, count)
    means = np.sum(scores, axis=-1) / (targets >= 0).sum(axis=-1)
    np.testing.assert_allclose(told["loss"], means, rtol=1e-5)


def slow_dro(nll, real, groups, reference, weights, last, step_size, smoothing):
    """DoReMi's Algorithm 1, token by token; returns weights, excess and the loss it minimises."""
    count = len(weights)
    excess, means = list(last), [None] * count
    for group in range(count):
        tokens, above, nats = 0, 0.0, 0.0
        for m, b, t in np.argwhere(real):
            if groups[m, b] == group:
                tokens += 1
                above += max(nll[m, b, t] - reference[m, b, t], 0.0)
                nats += nll[m, b, t]
        if tokens:
            excess[group], means[group] = above / tokens, nats / tokens
    risen = [w * np.exp(step_size * e) for w, e in zip(weights, excess, strict=True)]
    new = [(1 - smoothing) * r / sum(risen) + smoothing / count for r in risen]
    present = [group for group in range(count) if means[group] is not None]
    loss = sum(new[group] * means[group] for group in present) * count / len(present)
    return new, excess, loss


@pytest.mark.parametrize("absent", [False, True])
def test_group_dro_is_algorithm_1(absent):
    rng = np.random.default_rng(3)
    nll, reference = rng.uniform(0, 4, (2, 2, 3, 5)).astype(np.float32)
    real = rng.random((2, 3, 5)) < 0.8
    groups = np.array([[0, 1, 2], [2, 0, 2]] if not absent else [[0, 1, 0], [1, 0, 1]], np.int32)
    nll, reference = np.where(real, nll, 0), np.where(real, reference, 0)
    given = {
        "weights": np.array([0.5, 0.2, 0.3], np.float32),
        "excess": np.array([0.0, 0.1, 0.7], np.float32),
        "groups": groups,
        "reference": reference,
    }
    shares, told = group_dro.weigh(nll, real, given, step_size=1.5, smoothing=0.01)
    weights, excess, loss = slow_dro(
        nll, real, groups, reference, given["weights"], given["excess"], 1.5, 0.01
    )
    np.testing.assert_allclose(told["weights"], weights, rtol=1e-5)
    np.testing.assert_allclose(told["excess"], excess, rtol=1e-5)
    assert np.sum(told["weights"]) == pytest.approx(1, abs=1e-6)
    assert float(jnp.sum(shares * nll)) == pytest.approx(loss, rel=1e-5)
    assert (np.asarray(shares)[~real] == 0).all()


def test_losses_below_the_reference_s_move_nothing():
    given = {
        "weights": np.array([0.25, 0.75], np.float32),
        "excess": np.array([5.0, 5.0], np.float32),
        "groups": np.array([[0, 1]], np.int32),
        "reference": np.full((1, 2, 4), 3, np.float32),
    }
    nll = np.full((1, 2, 4), 2, np.float32)
    _, told = group_dro.weigh(nll, nll > 0, given, step_size=1.0, smoothing=0.0)
    np.testing.assert_allclose(told["weights"], given["weights"], rtol=1e-6)
    assert told["excess"].tolist() == [0, 0]


def test_a_batch_cut_in_micro_batches_is_the_same_batch():
    rng = np.random.default_rng(5)
    weigh = partial(group_dro.weigh, step_size=1.0, smoothing=1e-3)
    found = []
    reference = rng.uniform(2, 4, (BATCH, LENGTH)).astype(np.float32)
    for micro_batches in (1, 2):
        mesh = make_mesh(TRAIN.mesh, BATCH // micro_batches)
        inputs, targets = batch(micro_batches)
        given = {
            "weights": np.array([0.3, 0.7], np.float32),
            "excess": np.zeros(2, np.float32),
            "groups": np.array([0, 1, 1, 0], np.int32).reshape(micro_batches, -1),
            "reference": reference.reshape(targets.shape),
        }
        step = make_group_step(TRAIN, SIZE, mesh, weigh)
        state, values, told = step(fresh(), inputs, targets, np.int32(micro_batches), RATE, given)
        found.append((state["optimiser"]["moments"], values, told))
    assert_same(*found, rtol=1e-3, atol=1e-6)
