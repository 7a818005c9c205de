import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.errors import InputError
from massivetext.tuning import gaussian_process, linear, mixing_law
from massivetext.tuning.crossvalidation import MODELS, cross_validate, rank_correlation
from massivetext.tuning.runs import Run, Runs, collect


def _mixtures(count, subsets, seed=1):
    random = np.random.Generator(np.random.Philox(key=seed))
    return random.dirichlet(np.full(subsets, 0.6), count), random


def _dense(points, losses, queries, length, noise):
    """Mean, covariance and log likelihood by the textbook's formulas, one entry at a time."""

    def kernel(a, b):
        distance = math.dist([math.sqrt(x) for x in a], [math.sqrt(x) for x in b]) / length
        return (1 + math.sqrt(3) * distance) * math.exp(-math.sqrt(3) * distance)

    offset, scale = losses.mean(), losses.std()
    y = (losses - offset) / scale
    C = np.array([[kernel(a, b) for b in points] for a in points]) + noise * np.eye(len(points))
    variance = y @ np.linalg.inv(C) @ y / len(y)
    K = variance * C
    across = variance * np.array([[kernel(a, b) for b in points] for a in queries])
    prior = variance * np.array([[kernel(a, b) for b in queries] for a in queries])
    mean = across @ np.linalg.inv(K) @ y
    covariance = prior - across @ np.linalg.inv(K) @ across.T
    likelihood = (
        -0.5 * y @ np.linalg.inv(K) @ y
        - 0.5 * np.linalg.slogdet(K)[1]
        - 0.5 * len(y) * math.log(2 * math.pi)
    )
    return offset + scale * mean, scale**2 * covariance, likelihood


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(1e-4, 1))
def test_posterior_is_the_dense_computation(seed, length, noise):
    weights, random = _mixtures(14, 3, seed)
    losses, queries = random.normal(3, 0.5, 10), weights[10:]
    process = gaussian_process.condition(weights[:10], losses, length, noise)
    mean, covariance = process.posterior(queries)
    expected, expected_covariance, _ = _dense(weights[:10], losses, queries, length, noise)
    np.testing.assert_allclose(mean, expected, rtol=1e-8)
    np.testing.assert_allclose(covariance, expected_covariance, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(process.predict(queries), expected, rtol=1e-8)
    np.testing.assert_allclose(
        process.deviation(queries) ** 2, np.diag(expected_covariance), rtol=1e-5, atol=1e-7
    )


def test_known_posterior_of_two_runs():
    # One run of each subset alone, at a distance of sqrt(2) = the length, losses +1 and -1 about 3:
    # the correlation is rho = (1 + sqrt 3) exp(-sqrt 3), and y' C^-1 y / 2 = 1 / (1 - rho + noise).
    process = gaussian_process.condition(np.eye(2), np.array([4.0, 2.0]), math.sqrt(2), 0.1)
    rho = (1 + math.sqrt(3)) * math.exp(-math.sqrt(3))
    assert process.variance == pytest.approx(1 / (1.1 - rho))
    assert process.noise_deviation == pytest.approx(math.sqrt(0.1 / (1.1 - rho)))
    mean, covariance = process.posterior(np.array([[1.0, 0.0], [0.5, 0.5]]))
    assert mean[0] == pytest.approx(3 + (1 - rho) / (1.1 - rho))
    assert mean[1] == pytest.approx(3)  # as near to one as to the other
    root = math.sqrt(3) * math.sqrt(2 - math.sqrt(2)) / math.sqrt(2)
    near = (1 + root) * math.exp(-root)
    assert covariance[1, 1] == pytest.approx((1 - 2 * near**2 / (1.1 + rho)) / (1.1 - rho))


def test_without_noise_the_process_passes_through_the_runs():
    weights, random = _mixtures(12, 4)
    losses = random.normal(size=12)
    process = gaussian_process.condition(weights, losses, 1.0, 1e-9)
    np.testing.assert_allclose(process.predict(weights), losses, atol=1e-6)
    assert process.deviation(weights).max() < 1e-4


def test_fit_is_the_largest_likelihood():
    weights, random = _mixtures(25, 3)
    losses = np.exp(-2 * weights[:, 0]) + 0.5 * weights[:, 1] ** 2 + random.normal(0, 0.02, 25)
    process = gaussian_process.fit(weights, losses)

    def likelihood(length, noise):
        return _dense(weights, losses, weights[:1], length, noise)[2]

    best = likelihood(process.length, process.noise)
    for length in np.geomspace(*gaussian_process.LENGTHS, 25):
        for noise in np.geomspace(*gaussian_process.NOISES, 25):
            assert likelihood(length, noise) < best + 1e-3


def test_likelihoods_gradient_is_its_slope():
    weights, random = _mixtures(15, 3)
    y = random.normal(size=15)
    distances = np.linalg.norm(np.sqrt(weights)[:, None] - np.sqrt(weights), axis=2)
    at = np.array([-0.3, -2.0])
    _, gradient = gaussian_process._evidence(at, distances, y)
    for axis in range(2):
        step = np.eye(2)[axis] * 1e-6
        up = gaussian_process._evidence(at + step, distances, y)[0]
        down = gaussian_process._evidence(at - step, distances, y)[0]
        assert gradient[axis] == pytest.approx((up - down) / 2e-6, rel=1e-5)


def test_residuals_are_what_leaving_a_run_out_shows():
    weights, random = _mixtures(12, 3)
    losses = random.normal(size=12)
    process = gaussian_process.condition(weights, losses, 1.0, 0.1)
    y = (losses - process.offset) / process.scale
    C = process.factor @ process.factor.T
    for run in range(12):
        rest = np.arange(12) != run
        solved = np.linalg.solve(C[np.ix_(rest, rest)], C[rest, run])
        deviation = math.sqrt(process.variance * (C[run, run] - C[run, rest] @ solved))
        expected = (y[run] - solved @ y[rest]) / deviation
        assert process.residuals()[run] == pytest.approx(expected)


def test_noise_of_repeated_mixtures_is_found():
    weights, random = _mixtures(40, 3)
    weights = np.repeat(weights, 5, axis=0)
    losses = 3 - weights[:, 0] + random.normal(0, 0.05, 200)
    assert gaussian_process.fit(weights, losses).noise_deviation == pytest.approx(0.05, rel=0.15)


def test_deviations_cover_what_they_say():
    weights, random = _mixtures(260, 4)
    truth = np.exp(1 - 2 * weights[:, 0] - weights[:, 1]) + 0.3 * weights[:, 2]
    losses = truth + random.normal(0, 0.02, 260)
    process = gaussian_process.fit(weights[:60], losses[:60])
    errors = process.predict(weights[60:]) - truth[60:]
    within = np.abs(errors) <= 2 * process.deviation(weights[60:])
    assert within.mean() > 0.88


def test_many_mixtures_are_predicted_in_parts():
    weights, random = _mixtures(9000, 3)
    process = gaussian_process.condition(weights[:9], random.normal(size=9), 1.0, 0.1)
    whole = process.predict(weights)
    np.testing.assert_allclose(whole[8000:8100], process.predict(weights[8000:8100]), rtol=1e-12)


def test_mixing_law_is_recovered():
    weights, _ = _mixtures(60, 5)
    t = np.array([-2.0, -0.5, 0.3, 0.9, 1.3])
    law = mixing_law.fit(weights, 1.7 + 0.8 * np.exp(weights @ t))
    assert law.c == pytest.approx(1.7, abs=1e-5)
    assert law.k == pytest.approx(0.8, rel=1e-4)
    np.testing.assert_allclose(law.t, t, atol=1e-4)
    assert law.predict(np.eye(5)[:1])[0] == pytest.approx(1.7 + 0.8 * math.exp(-2), abs=1e-6)


def test_linear_loss_is_recovered():
    weights, _ = _mixtures(30, 4)
    slopes = np.array([-1.0, 0.5, 0.25, 0.25])
    model = linear.fit(weights, 3 + weights @ slopes)
    np.testing.assert_allclose(model.slopes, slopes, atol=1e-5)
    assert model.intercept == pytest.approx(3, abs=1e-5)


def test_ridge_takes_the_penalty_that_leaving_runs_out_prefers():
    weights, random = _mixtures(25, 8)
    losses = random.normal(size=25)  # nothing to learn: the most shrinking is best

    def error(penalty):
        left = 0.0
        for run in range(25):
            rest = np.arange(25) != run
            # The intercept is the mean of all, as the closed form has it.
            centred = weights - weights.mean(0)
            y = losses - losses.mean()
            A = np.vstack([np.ones(25), centred.T]).T
            P = np.diag([0.0] + [penalty] * 8)
            b = np.linalg.solve(A[rest].T @ A[rest] + P, A[rest].T @ y[rest])
            left += float((y[run] - A[run] @ b) ** 2)
        return left

    s = np.linalg.svd(weights - weights.mean(0), compute_uv=False)
    penalties = linear._PENALTIES * (s**2).mean()
    best = min(penalties, key=error)
    centred = weights - weights.mean(0)
    expected = np.linalg.solve(
        centred.T @ centred + best * np.eye(8), centred.T @ (losses - losses.mean())
    )
    np.testing.assert_allclose(linear.fit(weights, losses).slopes, expected, atol=1e-9)


def test_rank_correlation_by_hand():
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([10.0, 200, 3000])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    assert rank_correlation(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == pytest.approx(
        0.8
    )
    assert rank_correlation(np.ones(3), np.array([3.0, 2, 1])) == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30))
def test_rank_correlation_is_scipys(pairs):
    from scipy.stats import spearmanr

    a, b = np.array(pairs, float).T
    if np.ptp(a) and np.ptp(b):
        assert rank_correlation(a, b) == pytest.approx(float(spearmanr(a, b).statistic))


def _runs(count=40, subsets=5, noise=0.01):
    """Losses of two targets like RegMix's: exponentials of the weights and of their roots."""
    weights, random = _mixtures(count, subsets)
    first = 2 + np.exp(-2.5 * np.sqrt(weights[:, 0]) + weights[:, 2])
    second = 3 - 0.5 * np.sqrt(weights[:, 1]) + 0.2 * weights[:, 3]
    losses = np.stack([first, second], axis=1) + random.normal(0, noise, (count, 2))
    return Runs(tuple("abcde"[:subsets]), ("x", "y"), weights, losses)


def test_cross_validation_ranks_models_like_regmix():
    found = cross_validate(_runs(), seed=1)
    by_target = found.correlation["gaussian_process"]
    assert by_target["x"] > 0.97
    assert by_target["y"] > 0.95
    assert found.correlation["linear"]["x"] < by_target["x"]
    assert found.correlation["mixing_law"]["x"] > found.correlation["linear"]["x"]
    assert set(found.predicted) == set(MODELS)
    again = cross_validate(_runs(), seed=1)
    for name in MODELS:
        np.testing.assert_array_equal(found.predicted[name], again.predicted[name])


def test_predictions_are_of_models_that_did_not_see_the_mixture():
    runs = _runs()
    three = replace(
        runs, weights=np.repeat(runs.weights, 3, axis=0), losses=np.repeat(runs.losses, 3, axis=0)
    )
    assert three.mixtures.max() + 1 == 40
    spoilt = three.losses.copy()
    spoilt[:3] += 100.0  # one mixture, its three seeds
    before = cross_validate(three, seed=1).predicted["linear"][:3]
    after = cross_validate(replace(three, losses=spoilt), seed=1).predicted["linear"][:3]
    np.testing.assert_array_equal(before, after)


def test_target_that_only_the_held_out_fold_moves():
    runs = _runs()
    losses = runs.losses.copy()
    losses[:, 1] = 2.0
    losses[7, 1] = 3.0
    found = cross_validate(replace(runs, losses=losses), seed=1)
    assert found.predicted["gaussian_process"][7, 1] == 2.0


SUBSETS, TARGETS = ("a", "b"), ("x",)


def _records(count=9):
    weights, _ = _mixtures(count, 2)
    return [
        Run(f"run-{i}", dict(zip(SUBSETS, row, strict=True)), {"x": 2 + row[0]}, "f" * 64)
        for i, row in enumerate(weights.tolist())
    ]


def test_collected_runs():
    runs = collect(_records(), SUBSETS, TARGETS)
    assert runs.weights.shape == (9, 2)
    np.testing.assert_allclose(runs.weights.sum(axis=1), 1)
    np.testing.assert_allclose(runs.losses[:, 0], 2 + runs.weights[:, 0])


@pytest.mark.parametrize("count", [0, 1, 8])
def test_too_few_runs(count):
    with pytest.raises(InputError, match=f"{count} runs .* 9 are needed, so train {9 - count} mor"):
        collect(_records()[:count], SUBSETS, TARGETS)


def test_seeds_of_one_mixture_are_one_run():
    records = _records()
    with pytest.raises(InputError, match="8 runs of different mixtures"):
        collect([*records[:8], *records[:8]], SUBSETS, TARGETS)


def _changed(**changes):
    records = _records()
    records[4] = replace(records[4], **changes)
    return records


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (_changed(losses={"x": float("nan")}), "run 'run-4': loss on 'x' is nan"),
        (_changed(losses={"x": float("inf")}), "run 'run-4': loss on 'x' is inf"),
        (_changed(losses={"y": 1.0}), "run 'run-4' has no loss on 'x'"),
        (_changed(tokenizer_sha256="0" * 64), "'run-4' was trained with the tokenizer 0{12},"),
        (_changed(weights={"a": 0.5, "b": 0.4}), "weights sum to 0.9"),
        (_changed(weights={"a": 1.5, "b": -0.5}), "weight of 'a' is 1.5"),
        (_changed(weights={"a": float("nan"), "b": 1.0}), "weight of 'a' is nan"),
        (_changed(weights={"a": 0.5, "c": 0.5}), "sampled 'c', which is none of"),
        ([replace(r, losses={"x": 2.0}) for r in _records()], "every run has the same loss on 'x'"),
    ],
)
def test_runs_that_cannot_be_used(records, message):
    with pytest.raises(InputError, match=message):
        collect(records, SUBSETS, TARGETS)


def test_subset_that_was_never_sampled():
    records = _records(12)
    with pytest.raises(InputError, match="no run sampled the subset 'c'"):
        collect(records, ("a", "b", "c"), TARGETS)


def test_no_target():
    with pytest.raises(InputError, match="no target"):
        collect(_records(), SUBSETS, ())
