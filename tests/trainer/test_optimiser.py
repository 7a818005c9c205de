"""The schedule at its corners; Adam, clipping and decay against numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

from massivetext.config import Train
from massivetext.trainer.optimiser import apply, learning_rate, transformation, warmup_steps


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


def reference(run, params, gradients, decay):
    """Three lines of AdamW per step, in float64."""
    m = {n: 0.0 for n in params}
    v = dict(m)
    for t, g in enumerate(gradients, 1):
        norm = np.sqrt(sum((x**2).sum() for x in g.values()))
        for n in params:
            x = g[n] * min(1, run.clip_norm / norm)
            m[n] = 0.9 * m[n] + 0.1 * x
            v[n] = 0.95 * v[n] + 0.05 * x**2
            update = (m[n] / (1 - 0.9**t)) / (np.sqrt(v[n] / (1 - 0.95**t)) + 1e-8)
            params[n] = params[n] - 0.01 * (update + decay * (n == "matrix") * params[n])
    return params


@pytest.mark.parametrize(("name", "decay"), [("adam", 0.0), ("adamw", 0.1)])
def test_updates_equal_the_definition(name, decay):
    rng = np.random.default_rng(0)
    start = {"matrix": rng.normal(size=(3, 2)), "bias": rng.normal(size=3)}
    gradients = [{n: rng.normal(size=x.shape) * s for n, x in start.items()} for s in (9, 0.1, 1)]
    run = Train(optimizer=name)
    rule = transformation(run, {"matrix": True, "bias": False})
    params = {n: jnp.asarray(x, jnp.float32) for n, x in start.items()}
    state = rule.init(params)
    for g in gradients:
        g32 = {n: jnp.asarray(x, jnp.float32) for n, x in g.items()}
        updates, state = rule.update(g32, state, params)
        params = apply(params, updates, jnp.float32(0.01))
    wanted = reference(run, dict(start), gradients, decay)
    for n in start:
        np.testing.assert_allclose(params[n], wanted[n], rtol=1e-5)
