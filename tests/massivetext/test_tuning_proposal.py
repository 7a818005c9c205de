from fractions import Fraction

import numpy as np
import pytest

from massivetext.errors import ConfigError
from massivetext.tuning.objective import fit_objective
from massivetext.tuning.proposal import propose
from massivetext.tuning.runs import Runs
from massivetext.tuning.simplex import Simplex

NAMES = ("a", "b", "c", "d")
BEST = np.array([0.5, 0.3, 0.15, 0.05])
FREE = Simplex(NAMES, (Fraction(1),) * 4)
MIXTURES = {
    "natural": {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4},
    "configured": {"a": 0.4, "b": 0.4, "c": 0.1, "d": 0.1},
}


def _quadratic(weights):
    return 1 + 2 * ((weights - BEST) ** 2).sum(axis=-1)


def _runs(function=_quadratic, count=80, noise=0.005, targets=("x",)):
    random = np.random.Generator(np.random.Philox(key=5))
    weights = random.dirichlet(np.ones(4), count)
    clean = np.asarray(function(weights)).reshape(count, len(targets))
    return Runs(NAMES, targets, weights, clean + random.normal(0, noise, clean.shape))


def test_proposal_finds_the_optimum_of_a_quadratic():
    objective = fit_objective(_runs(), {"x": 1})
    found = propose(objective, FREE, MIXTURES, seed=1)
    point = np.array([found.weights[name] for name in NAMES])
    assert sum(Fraction(str(weight)) for weight in found.weights.values()) == 1
    truth = _quadratic(point)
    assert truth < 1.01
    # What is predicted is true within its deviation, which is small beside what is to be gained.
    assert abs(found.objective - truth) < 2 * found.deviation < 0.05
    for name in ("natural", "configured", "uniform"):
        other = found.others[name]
        gained = _quadratic(np.array([other.weights[name] for name in NAMES])) - truth
        assert abs(other.gain - gained) < 2.5 * other.gain_deviation
        assert other.gain == pytest.approx(other.objective - found.objective, abs=2e-6)
    assert found.others["natural"].gain > 5 * found.others["natural"].gain_deviation


def test_proposal_keeps_to_the_caps():
    caps = (Fraction(2, 10), Fraction(1), Fraction(1), Fraction(1))
    found = propose(fit_objective(_runs(), {"x": 1}), Simplex(NAMES, caps), MIXTURES, seed=1)
    assert Fraction(str(found.weights["a"])) == Fraction(1, 5)
    # The best of what is left: the excess of 0.3 spread over the others, which a quadratic shares.
    np.testing.assert_allclose(list(found.weights.values()), [0.2, 0.4, 0.25, 0.15], atol=0.03)
    # Mixtures to compare with may be above them.
    assert found.others["configured"].weights["a"] == pytest.approx(0.4)


def test_optimum_in_a_corner():
    runs = _runs(lambda weights: 3 - weights[:, 1])
    found = propose(fit_objective(runs, {"x": 1}), FREE, MIXTURES, seed=1)
    assert found.weights["b"] > 0.95
    assert all(weight == 0 or weight >= FREE.smallest for weight in found.weights.values())


def test_proposal_depends_on_runs_and_seed_alone():
    once, again = (
        propose(fit_objective(_runs(), {"x": 1}), FREE, MIXTURES, seed=9) for _ in range(2)
    )
    assert once == again
    other = propose(fit_objective(_runs(), {"x": 1}), FREE, MIXTURES, seed=10)
    assert other != once
    # Another seed searches elsewhere and ends at the same place.
    np.testing.assert_allclose(list(other.weights.values()), list(once.weights.values()), atol=0.02)


def _pair(weights):
    first = _quadratic(weights)
    return np.stack([first, 4 - 2 * np.sqrt(weights[:, 3])], axis=1)


def test_objective_is_the_weighted_mean():
    runs = _runs(_pair, targets=("x", "y"))
    points = runs.weights[:5]
    both = fit_objective(runs, {"x": 3, "y": 1})
    parts = [fit_objective(runs, {name: 1}) for name in ("x", "y")]
    expected = 0.75 * parts[0].predict(points) + 0.25 * parts[1].predict(points)
    np.testing.assert_allclose(both.predict(points), expected)
    mean, covariance = both.posterior(points)
    np.testing.assert_allclose(mean, expected)
    assert np.linalg.eigvalsh(covariance).min() > -1e-12
    assert fit_objective(runs, {"x": 1, "y": 0}).predict(points) == pytest.approx(
        parts[0].predict(points)
    )


def test_targets_that_err_together_do_not_average_out():
    runs = _runs()
    twice = Runs(NAMES, ("x", "y"), runs.weights, np.repeat(runs.losses, 2, axis=1))
    one, both = fit_objective(runs, {"x": 1}), fit_objective(twice, {"x": 1, "y": 1})
    points = runs.weights[:3]
    np.testing.assert_allclose(both.correlation, 1)
    # A target counted twice is as uncertain as it is once.
    np.testing.assert_allclose(both.posterior(points)[1], one.posterior(points)[1], atol=1e-9)


def test_targets_that_err_apart_average_out():
    random = np.random.Generator(np.random.Philox(key=6))
    weights = random.dirichlet(np.ones(4), 200)
    losses = _quadratic(weights)[:, None] + random.normal(0, 0.05, (200, 2))
    runs = Runs(NAMES, ("x", "y"), weights, losses)
    both = fit_objective(runs, {"x": 1, "y": 1})
    assert abs(both.correlation[0, 1]) < 0.2
    deviations = [
        np.sqrt(np.diag(objective.posterior(weights[:9])[1]))
        for objective in (both, fit_objective(runs, {"x": 1}), fit_objective(runs, {"y": 1}))
    ]
    assert (deviations[0] < np.maximum(deviations[1], deviations[2])).all()


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"z": 1}, "names the target 'z'"),
        ({"x": 0}, "no target a positive weight"),
        ({}, "no target a positive weight"),
        ({"x": -1}, "weight of 'x' is -1"),
        ({"x": float("nan")}, "weight of 'x' is nan"),
    ],
)
def test_objectives_that_are_none(shares, message):
    with pytest.raises(ConfigError, match=message):
        fit_objective(_runs(), shares)


def test_subsets_of_the_runs_must_be_those_of_the_mixture():
    objective = fit_objective(_runs(), {"x": 1})
    with pytest.raises(ConfigError, match="runs are of 4 subsets, the mixture is of 3"):
        propose(objective, Simplex(NAMES[:3], (Fraction(1),) * 3), {}, seed=1)
    with pytest.raises(ConfigError, match="no weight for the subset 'd'"):
        propose(objective, FREE, {"natural": {"a": 1, "b": 0, "c": 0}}, seed=1)
