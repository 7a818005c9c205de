"""Every approach recovers the law that made the runs, whatever their order."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.errors import InputError
from massivetext.scaling import envelope, fit, isoflop, kaplan, plots
from massivetext.scaling.bootstrap import subsamples
from massivetext.scaling.power_law import limited_power_law, power_law
from massivetext.scaling.published import EPOCH, HOFFMANN
from massivetext.scaling.runs import Curve, Runs, smooth

from .scaling_runs import made


def budgets(law, noise=0.0, spread=3.0, count=9):
    """Runs as in Figure 3: nine budgets from 6e18 to 3e21, sizes around the best."""
    c = np.repeat(np.geomspace(6e18, 3e21, 9), count)
    shares = np.tile(np.geomspace(1 / spread, spread, count), 9)
    n = law.optimum(c)[0] * shares
    return made(law, n, c / (6 * n), noise)


def test_isoflop_recovers_the_exponents():
    estimate = isoflop.fit(budgets(EPOCH, 0.002), resamples=50, seed=1)
    assert estimate.law.a == pytest.approx(EPOCH.a, abs=0.01)
    assert estimate.law.b == pytest.approx(EPOCH.b, abs=0.01)
    assert estimate.law.optimum(5.76e23)[0] == pytest.approx(72e9, rel=0.15)
    assert len(estimate.samples) == 50


def test_isoflop_parabola_is_exact():
    """loss = 2 + 0.1·(ln N - ln 1e9)^2, D = C/6N: the minimum is where it was put."""
    n = np.array([3e8, 8e8, 2e9, 5e9] * 3)
    c = np.repeat([1e20, 1e21, 1e22], 4)
    loss = 2 + 0.1 * (np.log(n / 1e9)) ** 2
    found, left_out = isoflop.profiles(Runs(n, c / (6 * n), c, loss, np.arange(12)))
    assert left_out == ()
    for profile, flops in zip(found, (1e20, 1e21, 1e22), strict=True):
        assert profile.flops == pytest.approx(flops)
        assert profile.parameters == pytest.approx(1e9)
        assert profile.tokens == pytest.approx(flops / 6e9)
        assert profile.depth == pytest.approx(2)
        assert profile.curvature == pytest.approx(0.1)


def test_isoflop_leaves_out_and_says_why():
    n = np.array([3e8, 8e8, 2e9, 3e8, 8e8, 2e9, 3e8, 8e8, 4e8, 8e8, 2e9])
    c = np.array([1e20] * 3 + [1e21] * 3 + [1e22] * 2 + [1e23] * 3)
    loss = np.array([2.2, 2.1, 2.2, 2.3, 2.2, 2.15, 2.1, 2.0, 1.8, 1.9, 1.7])
    runs = Runs(n, c / (6 * n), c, loss, np.arange(11))
    found, left_out = isoflop.profiles(runs)
    assert [profile.flops for profile in found] == [pytest.approx(1e20)]
    assert left_out == (
        "the budget of 1e+21 FLOPs: its minimum lies outside the sizes that were trained",
        "the budget of 1e+22 FLOPs: 2 of the 3 sizes that a parabola needs",
        "the budget of 1e+23 FLOPs: its losses have no minimum",
    )
    with pytest.raises(InputError, match=r"at least 3 budgets of FLOPs.*there is 1"):
        isoflop.fit(runs, resamples=0, seed=1)


def test_same_budget():
    n = np.array([3e8, 8e8, 2e9])
    for factor, profiles in ((1.149, 1), (1.151, 0)):
        c = np.array([1e20, 1e20, factor * 1e20])
        runs = Runs(n, c / (6 * n), c, np.array([2.2, 2.1, 2.2]), np.arange(3))
        assert len(isoflop.profiles(runs)[0]) == profiles


def logged(law, sizes=12, points=60, ratio=60):
    curves, ends = [], []
    for n in np.geomspace(70e6, 10e9, sizes):
        d = np.geomspace(0.2, ratio, points) * n
        curves.append(Curve(float(n), 6 * n * d, d, law.loss(n, d)))
        ends.append((n, d[-1], 6 * n * d[-1], curves[-1].loss[-1]))
    columns = [np.array(column) for column in zip(*ends, strict=True)]
    return Runs(*columns, np.arange(sizes), tuple(curves))


def test_envelope_recovers_the_exponents():
    estimate = envelope.fit(logged(EPOCH, 24), resamples=10, seed=1)
    assert estimate.law.a == pytest.approx(EPOCH.a, abs=0.01)
    assert estimate.law.a + estimate.law.b == pytest.approx(1, abs=1e-6)
    assert estimate.law.loss_limit == pytest.approx(EPOCH.E, abs=0.02)
    assert estimate.left_out[0].endswith("no smaller or no larger size reaches them")


def test_envelope_takes_the_lowest_curve():
    points, _ = envelope.envelope(logged(HOFFMANN).curves())
    sizes = np.geomspace(70e6, 10e9, 12)
    for flops, size, loss, tokens in zip(
        *(points[name][::50] for name in ("flops", "parameters", "loss", "tokens")), strict=True
    ):
        tokens_of = flops / (6 * sizes)
        within = (tokens_of >= 0.2 * sizes) & (tokens_of <= 60 * sizes)
        losses = np.where(within, HOFFMANN.loss(sizes, tokens_of), np.inf)
        assert loss == pytest.approx(losses.min(), rel=1e-3)
        assert tokens == pytest.approx(flops / (6 * size), rel=1e-9)


def test_envelope_without_logs_takes_sizes_over_horizons():
    n = np.repeat(np.geomspace(70e6, 10e9, 16), 12)
    d = np.tile(np.geomspace(0.5, 60, 12), 16) * n
    estimate = envelope.fit(made(EPOCH, n, d), resamples=0, seed=1)
    assert estimate.law.a == pytest.approx(EPOCH.a, abs=0.02)
    with pytest.raises(InputError, match=r"at least 3 sizes.*there are 2"):
        envelope.fit(made(EPOCH, n[:24], d[:24]), resamples=0, seed=1)


def test_kaplan_recovers_what_nothing_else_limits():
    n = np.geomspace(1e6, 1e9, 10)
    loss = (8.8e13 / n) ** 0.076
    law = kaplan.fit(Runs(n, n * 1e4, 6e4 * n * n, loss, np.arange(10)), resamples=5, seed=1).law
    assert law.n_c == pytest.approx(8.8e13)
    assert law.alpha_n == pytest.approx(0.076)
    assert law.alpha_d == pytest.approx(0.076)
    assert law.alpha_c == pytest.approx(0.038)
    assert law.of_flops(6e4 * 1e14) == pytest.approx((8.8e6) ** 0.076)


def test_unbettered():
    factor = np.array([1.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    loss = np.array([3.0, 2.9, 2.95, 2.5, 2.5, 2.0])
    assert kaplan.unbettered(factor, loss).tolist() == [1, 3, 5]
    with pytest.raises(InputError, match=r"at least 3 runs .*there are 2"):
        kaplan.fit(
            Runs(factor[:4], factor[:4], factor[:4], loss[:4], np.arange(4)), resamples=0, seed=1
        )


@given(st.floats(0.1, 3), st.floats(0.5, 50), st.floats(0.02, 0.5))
@settings(max_examples=20)
def test_limited_power_law_recovers(limit, drop, exponent):
    x = np.geomspace(1e18, 1e22, 12)
    scale = drop * 1e20**exponent
    found = limited_power_law(x, limit + scale * x**-exponent)
    values = found[0] + found[1] * x ** -found[2]
    assert values == pytest.approx(limit + scale * x**-exponent, rel=1e-5)


def test_limited_power_law_has_no_limit_below_zero():
    x = np.geomspace(1e18, 1e22, 12)
    limit, scale, exponent = limited_power_law(x, 400 * x**-0.1 - 0.5)
    assert limit == 0
    assert scale > 0
    assert exponent > 0.1


@given(st.floats(1e-3, 1e3), st.floats(-2, 2))
def test_power_law_is_exact(scale, exponent):
    x = np.geomspace(1.0, 1e6, 7)
    assert power_law(x, scale * x**exponent) == pytest.approx((scale, exponent), abs=1e-9)


def test_smooth_keeps_lines_to_the_end():
    tokens = np.linspace(1e9, 1e11, 150)
    line = 4 - 0.1 * np.log(tokens)
    assert smooth(tokens, line) == pytest.approx(line, abs=1e-9)
    noise = np.random.RandomState(0).normal(size=150) * 0.01
    assert np.abs(smooth(tokens, line + noise) - line).std() < 0.006
    assert (smooth(tokens[:99], noise[:99]) == noise[:99]).all()
    assert (smooth(tokens[:100], noise[:100]) != noise[:100]).any()


def test_subsamples():
    chosen = subsamples(10, 3, 1)
    assert [len(rows) for rows in chosen] == [8, 8, 8]
    assert all(len(set(rows)) == 8 for rows in chosen)
    assert [rows.tolist() for rows in chosen] == [rows.tolist() for rows in subsamples(10, 3, 1)]
    assert [rows.tolist() for rows in chosen] != [rows.tolist() for rows in subsamples(10, 3, 2)]


def test_all_skips_with_reasons_and_json_is_plain():
    runs = budgets(HOFFMANN, 0.001)
    estimates, skipped = fit.fit(runs, resamples=3)
    assert list(estimates) == ["isoflop", "parametric", "kaplan"]
    assert "two finished runs" in skipped["envelope"]
    with pytest.raises(InputError, match="two finished runs"):
        fit.fit(runs, "envelope", resamples=3)
    text = fit.table(estimates, skipped)
    assert f"{estimates['parametric'].law.alpha:.4g}" in text
    assert "envelope: not fitted" in text
    for estimate in estimates.values():
        json.dumps(estimate.to_json(), allow_nan=False)
    pictures = plots.draw(runs, estimates)
    assert list(pictures) == ["isoflop", "parametric"]
    assert pictures == plots.draw(runs, estimates)
    with pytest.raises(InputError, match="no approach can be fitted"):
        fit.fit(runs.take(np.arange(2)), resamples=3)


def test_fit_does_not_depend_on_the_order_of_runs():
    runs = budgets(EPOCH, 0.002)
    order = np.random.RandomState(0).permutation(len(runs))
    values = [
        json.dumps({k: e.to_json() for k, e in fit.fit(some.sorted(), resamples=3)[0].items()})
        for some in (runs, runs.take(order))
    ]
    assert values[0] == values[1]
