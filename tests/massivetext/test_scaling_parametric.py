"""Approach 3: the law that made the runs is found again, and the best minimum of the grid."""

import functools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from massivetext.errors import InputError
from massivetext.scaling import parametric
from massivetext.scaling.bootstrap import subsamples
from massivetext.scaling.laws import ParametricLaw
from massivetext.scaling.lbfgs import minimise
from massivetext.scaling.published import EPOCH, HOFFMANN
from massivetext.scaling.runs import Runs

from .scaling_runs import made


@functools.cache
def cloud(law: ParametricLaw, noise: float, count: int = 245) -> Runs:
    """Runs as in Chinchilla's Figure 4: 57M to 16B parameters, 1.4e18 to 1.3e22 FLOPs."""
    generator = np.random.Generator(np.random.PCG64(5))
    n = np.exp(generator.uniform(np.log(57e6), np.log(16e9), count))
    c = np.exp(generator.uniform(np.log(1.4e18), np.log(1.3e22), count))
    d = np.maximum(c / (6 * n), n / 3)
    return made(law, n, d, noise)


@pytest.mark.parametrize("law", [EPOCH, HOFFMANN])
def test_parametric_recovers_exact_losses(law):
    found = parametric.fit(cloud(law, 0.0), resamples=0, seed=1).law
    for name in ("E", "A", "B", "alpha", "beta"):
        assert getattr(found, name) == pytest.approx(getattr(law, name), rel=1e-3)
    assert found.optimum(5.76e23)[0] == pytest.approx(float(law.optimum(5.76e23)[0]), rel=1e-3)


@functools.cache
def noisy():
    return parametric.fit(cloud(EPOCH, 0.004), resamples=30, seed=1)


def test_parametric_recovers_epoch_within_its_published_intervals():
    """Besiroglu et al. 2024: 95 % intervals of a fit to as many runs."""
    law = noisy().law
    assert 285 < law.A < 744
    assert 1042 < law.B < 5810
    assert 1.769 < law.E < 1.871
    assert 0.317 < law.alpha < 0.373
    assert 0.331 < law.beta < 0.415
    assert law.a == pytest.approx(0.513, abs=0.02)


def test_intervals_widened_to_confidence_hold_the_truth():
    value = noisy().to_json()
    for name in ("E", "A", "B", "alpha", "beta"):
        low, high = value["intervals"][name]
        assert low < value["constants"][name] < high
        # Twice as wide for confidence, and once more from the 80 % within to nearly all.
        assert abs(value["constants"][name] - getattr(EPOCH, name)) < 2 * (high - low)


def test_parametric_is_the_minimum_that_scipy_finds():
    runs = cloud(EPOCH, 0.004)
    objective = parametric.Objective(runs)
    law = noisy().law
    point = np.array([[math.log(law.A), math.log(law.B), math.log(law.E), law.alpha, law.beta]])
    value, _ = objective(objective.centred(point))
    start = objective.centred(np.array([[5.0, 5.0, 0.5, 0.5, 0.5]]))[0]

    def plain(x):
        prediction = np.logaddexp(
            np.logaddexp(x[0] - x[3] * objective.x, x[1] - x[4] * objective.y), x[2]
        )
        r = np.abs(prediction - np.log(runs.loss))
        return float(np.where(r <= 1e-3, r * r / 2, 1e-3 * (r - 5e-4)).sum())

    def both(x):
        values, gradients = objective(x[None])
        return float(values[0]), gradients[0]

    options = {"ftol": 1e-16, "gtol": 1e-12, "maxiter": 5000}
    reference = minimize(both, start, jac=True, method="L-BFGS-B", options=options)
    assert value[0] == pytest.approx(reference.fun, rel=1e-6)
    assert value[0] == pytest.approx(plain(objective.centred(point)[0]), rel=1e-12)


def test_objective_gradient():
    objective = parametric.Objective(cloud(HOFFMANN, 0.004))
    points = objective.centred(parametric.grid()[::450])
    _, gradient = objective(points)
    step = 1e-6
    for column in range(5):
        shift = step * np.eye(5)[column]
        difference = (objective(points + shift)[0] - objective(points - shift)[0]) / (2 * step)
        assert gradient[:, column] == pytest.approx(difference, abs=1e-7)


def test_objective_sums():
    runs = cloud(EPOCH, 0.004)
    point = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]])
    objective = parametric.Objective(runs)
    twice = parametric.Objective(runs.take(np.repeat(np.arange(len(runs)), 2)))
    assert twice(point)[0] == pytest.approx(2 * objective(point)[0])
    weights = np.full((1, len(runs)), 2.0)
    assert objective(point, weights)[0] == pytest.approx(2 * objective(point)[0])


def test_grid():
    assert parametric.grid().shape == (4500, 5)
    assert parametric.grid().min(axis=0).tolist() == [0, 0, -1, 0, 0]
    assert parametric.grid().max(axis=0).tolist() == [25, 25, 1, 2, 2]


def test_parametric_independent_of_order():
    runs = cloud(EPOCH, 0.004, 60)
    objective = parametric.Objective(runs)
    starts = objective.centred(parametric.grid())[::9]
    ends, values = parametric.fit_grid(objective, starts)
    again = parametric.fit_grid(objective, starts[np.random.RandomState(0).permutation(500)])
    assert (again[0] == ends).all()
    assert (again[1] == values).all()


def test_subsamples_lead_where_the_whole_grid_leads():
    runs = cloud(EPOCH, 0.004)
    rows = subsamples(len(runs), 30, 1)[0]
    found = parametric.fit(runs.take(rows), resamples=0, seed=1).law
    assert noisy().samples[0].a == pytest.approx(found.a, abs=1e-5)


def test_parametric_drops_the_highest_losses():
    runs = cloud(EPOCH, 0.0, 40)
    bad = np.argsort(runs.loss)[-2:]
    loss = runs.loss.copy()
    loss[bad] *= 1.3
    runs = Runs(runs.parameters, runs.tokens, runs.flops, loss, runs.line)
    estimate = parametric.fit(runs, resamples=0, seed=1, drop_highest=2)
    assert pytest.approx(EPOCH.alpha, rel=1e-3) == estimate.law.alpha
    assert sorted(note.split(":")[0] for note in estimate.left_out) == sorted(
        f"line {line}" for line in runs.line[bad]
    )
    assert len(estimate.points["loss"]) == 38


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (slice(0, 9), "at least 10 runs; there are 9"),
        (slice(0, 3), "at least 10 runs; there are 3"),
    ],
)
def test_parametric_says_how_many_it_needs(rows, message):
    runs = cloud(EPOCH, 0.0, 40).take(np.arange(40)[rows])
    with pytest.raises(InputError, match=message):
        parametric.fit(runs, resamples=0, seed=1)


def test_parametric_needs_sizes_and_tokens_apart():
    n = np.repeat([1e8, 1e9], 10)
    with pytest.raises(InputError, match="at least 3 numbers of parameters; there are 2"):
        parametric.fit(made(EPOCH, n, np.geomspace(1e9, 1e11, 20)), resamples=0, seed=1)
    n = np.geomspace(1e8, 1e10, 12)
    with pytest.raises(InputError, match="tokens follow from the parameters"):
        parametric.fit(made(EPOCH, n, 20 * n), resamples=0, seed=1)


@pytest.mark.parametrize(
    "loss",
    [
        lambda n, d: np.full(len(n), 2.5),
        lambda n, d: EPOCH.loss(n, 1e30),
        lambda n, d: 1.5 + d**0.02,
        lambda n, d: np.random.RandomState(0).uniform(2, 3, len(n)),
    ],
)
def test_parametric_refuses_what_tells_nothing(loss):
    runs = cloud(EPOCH, 0.0, 40)
    values = loss(runs.parameters, runs.tokens)
    odd = Runs(runs.parameters, runs.tokens, runs.flops, values, runs.line)
    with pytest.raises(InputError, match="do not tell what parameters and tokens each contribute"):
        parametric.fit(odd, resamples=0, seed=1)


def test_minimise_finds_rosenbrock_from_every_start():
    def rosenbrock(x, _):
        u, v = x.T
        value = (1 - u) ** 2 + 100 * (v - u * u) ** 2
        return value, np.stack([2 * u - 2 - 400 * u * (v - u * u), 200 * (v - u * u)], axis=1)

    starts = np.array([[-1.2, 1.0], [0.0, 0.0], [1.0, 1.0], [3.0, -2.0]])
    ends, values = minimise(rosenbrock, starts, iterations=1000, gradient=1e-10)
    assert ends == pytest.approx(np.ones((4, 2)), abs=1e-8)
    assert values == pytest.approx(np.zeros(4), abs=1e-15)
    # No start influences another one.
    for start, end in zip(starts, ends, strict=True):
        alone, _ = minimise(rosenbrock, start[None], iterations=1000, gradient=1e-10)
        assert (alone[0] == end).all()
