"""The schedules at their corners; clipping, Adam, decay and Adafactor against their sources."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from massivetext.config import Train
from massivetext.errors import ConfigError
from massivetext.trainer.optimiser import parameter_scale, transformation
from massivetext.trainer.schedule import learning_rate, peak_rate, warmup_steps

from .layouts import PLAN, size_of

RATE = 0.01


def test_the_papers_schedule():
    run = Train(model="gopher-44m", steps=100_001, warmup_steps=1500)
    assert learning_rate(run, 0) == 1e-7
    assert learning_rate(run, 750) == pytest.approx((6e-4 + 1e-7) / 2)
    assert learning_rate(run, 1500) == 6e-4
    assert learning_rate(run, 50_750) == pytest.approx(6e-4 * 0.55)
    assert learning_rate(run, 100_000) == pytest.approx(6e-5)


@pytest.mark.parametrize(
    ("warmup", "steps", "used"),
    [(1500, 15_000, 1500), (1500, 14_999, 1499), (1500, 200, 20), (1500, 9, 0), (0, 200, 0)],
)
def test_warmup_takes_at_most_a_tenth_of_the_run(warmup, steps, used):
    assert warmup_steps(Train(steps=steps, warmup_steps=warmup)) == used


def test_a_run_of_one_step_uses_the_maximum():
    assert learning_rate(Train(steps=1, learning_rate=0.5), 0) == 0.5


def test_a_rate_for_another_optimiser_is_not_taken_over():
    with pytest.raises(ConfigError, match=r"of palm-8b, 0.01, is not one for adamw: set train\."):
        peak_rate(Train(model="palm-8b"))
    with pytest.raises(ConfigError, match=r"of gopher-44m, 0.0006, is not one for adafactor"):
        peak_rate(Train(optimizer="adafactor"))
    assert peak_rate(Train(model="palm-8b", optimizer="adafactor")) == 0.01
    assert peak_rate(Train(model="palm-8b", learning_rate=3e-4)) == 3e-4


def test_palms_schedule():
    run = Train(learning_rate=1e-2, warmup_steps=10_000, schedule="inverse_square_root", steps=9)
    assert [learning_rate(run, k) for k in (0, 5_000, 10_000)] == [1e-2] * 3
    for k in (10_001, 40_000, 255_000):
        assert learning_rate(run, k) == pytest.approx(k**-0.5, rel=1e-15)
    at_once = replace(run, warmup_steps=0)
    assert [learning_rate(at_once, k) for k in (0, 1, 4)] == [1e-2, 1e-2, 5e-3]


SIZE = size_of(PLAN)
NAMES = ("up", "up_bias", "final_norm")  # a stacked matrix, a stacked bias, a scale
DECAYED = {"up": True, "up_bias": False, "final_norm": False}


def trained(train: Train, gradients: list, start: dict) -> dict:
    rule = transformation(train, SIZE)
    params = {n: jnp.asarray(x, jnp.float32) for n, x in start.items()}
    # `transformation` decays by the whole table; these tests look at some of its rows.
    state = rule.init(params)
    for g in gradients:
        g32 = {n: jnp.asarray(x, jnp.float32) for n, x in g.items()}
        updates, state = rule.update(g32, state, params, rate=jnp.float32(RATE))
        params = optax.apply_updates(params, updates)
    return params


@pytest.fixture
def start():
    rng = np.random.default_rng(0)
    return {
        "up": rng.normal(size=(2, 3, 4)) * [[[3]], [[0.5]]],
        "up_bias": np.zeros((2, 4)),
        "final_norm": rng.normal(size=3),
    }


@pytest.fixture
def gradients(start):
    rng = np.random.default_rng(1)
    return [{n: rng.normal(size=x.shape) * s for n, x in start.items()} for s in (9, 0.1, 1)]


def clipped(train, g):
    norm = np.sqrt(sum((x**2).sum() for x in g.values()))
    return {n: x * min(1, train.clip_norm / norm) for n, x in g.items()}


def adam(train, params, gradients, lost):
    """Adam in float64; a decayed parameter loses the share `lost` of itself at every step."""
    m = {n: 0.0 for n in params}
    v = dict(m)
    for t, g in enumerate((clipped(train, g) for g in gradients), 1):
        for n, p in params.items():
            m[n] = 0.9 * m[n] + 0.1 * g[n]
            v[n] = 0.95 * v[n] + 0.05 * g[n] ** 2
            direction = (m[n] / (1 - 0.9**t)) / (np.sqrt(v[n] / (1 - 0.95**t)) + 1e-8)
            params = {**params, n: p - RATE * direction - lost * DECAYED[n] * p}
    return params


@pytest.mark.parametrize(
    ("optimizer", "decay", "lost"),
    [
        ("adam", "coupled", 0.0),
        ("adamw", "coupled", RATE * 0.1),
        ("adamw", "independent", RATE / 0.04 * 0.1),
        ("adamw", "squared_rate", RATE**2),
    ],
)
def test_adam_and_its_decays_equal_their_definitions(optimizer, decay, lost, start, gradients):
    run = Train(optimizer=optimizer, decay=decay, weight_decay=0.1, learning_rate=0.04)
    got = trained(run, gradients, start)
    wanted = adam(run, start, gradients, lost)
    for n in NAMES:
        np.testing.assert_allclose(got[n], wanted[n], rtol=1e-5, atol=1e-7)


def follow(rule, gradients, start):
    params = {n: jnp.asarray(x, jnp.float32) for n, x in start.items()}
    state = rule.init(params)
    for g in gradients:
        updates, state = rule.update(
            {n: jnp.asarray(x, jnp.float32) for n, x in g.items()}, state, params
        )
        params = optax.apply_updates(params, updates)
    return params


def test_coupled_adamw_is_optaxs(start, gradients):
    got = trained(Train(optimizer="adamw", weight_decay=0.1), gradients, start)
    adamw = optax.adamw(RATE, 0.9, 0.95, weight_decay=0.1, mask=DECAYED)
    wanted = follow(optax.chain(optax.clip_by_global_norm(1.0), adamw), gradients, start)
    for n in NAMES:
        np.testing.assert_allclose(got[n], wanted[n], rtol=1e-6)


def layer_by_layer(params):
    """Each layer's part of a stacked parameter as a parameter of its own."""
    return {
        f"{n}/{i}": x[i] if n != "final_norm" else x
        for n, x in params.items()
        for i in range(2 if n != "final_norm" else 1)
    }


def test_adafactor_is_optaxs_without_factors_on_every_layer(start, gradients):
    got = trained(Train(optimizer="adafactor", learning_rate=6e-4), gradients, start)
    flat = layer_by_layer(start)
    adafactor = optax.adafactor(
        RATE,
        decay_rate=0.8,
        clipping_threshold=None,
        momentum=0.9,
        factored=False,
        weight_decay_rate=RATE**2,
        weight_decay_mask={n: DECAYED[n.split("/")[0]] for n in flat},
    )
    rule = optax.chain(optax.clip_by_global_norm(1.0), adafactor)
    wanted = follow(rule, [layer_by_layer(g) for g in gradients], flat)
    for n, value in layer_by_layer(got).items():
        np.testing.assert_allclose(value, wanted[n], rtol=2e-6, atol=1e-9)


def test_adafactor_equals_palms_definition(start, gradients):
    run = Train(optimizer="adafactor", learning_rate=6e-4, weight_decay=0.5)
    p, m, v = start["up"], 0.0, 0.0
    for k, g in enumerate((clipped(run, g)["up"] for g in gradients), 1):
        beta = 1 - k**-0.8
        v = beta * v + (1 - beta) * g**2
        scale = np.sqrt((p**2).mean(axis=(1, 2), keepdims=True))
        m = 0.9 * m + 0.1 * scale * g / np.sqrt(v)
        p = p - RATE * m - RATE**2 * p
    np.testing.assert_allclose(trained(run, gradients, start)["up"], p, rtol=1e-5)


def test_parameters_near_zero_are_scaled_as_if_they_were_not():
    assert parameter_scale(jnp.zeros((2, 3)), stacked=False) == np.float32(1e-3)
    layers = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    scale = parameter_scale(layers, stacked=True)
    np.testing.assert_allclose(scale, [[12.5**0.5], [1e-3]], rtol=1e-6)
