"""Paired intervals, what is recommended, slices and frontiers, and the drawings' ticks."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.tuning.confirmation import better, difference, interval, worse
from massivetext.tuning.objective import fit_objective
from massivetext.tuning.page_plots import Panel, intervals, ticks
from massivetext.tuning.runs import Runs
from massivetext.tuning.simplex import Simplex
from massivetext.tuning.slices import POINTS, cut, frontier, split
from massivetext.tuning.verdict import verdict

BASE = {1: 3.0, 2: 3.5, 3: 2.5}


def shifted(*by):
    return {seed: loss + shift for (seed, loss), shift in zip(BASE.items(), by, strict=True)}


def test_interval_is_students():
    found = interval({1: 1.0, 2: 2.0, 3: 3.0})
    # 4.302653 deviations of 1 / sqrt(3): t of two degrees of freedom at 97.5 %.
    assert found.mean == 2.0
    assert found.high - 2 == pytest.approx(4.302652729911275 / 3**0.5)
    assert 2 - found.low == pytest.approx(found.high - 2)
    assert interval({1: 1.0}) is None


def test_what_a_seed_does_to_both_cancels():
    found = difference(shifted(-0.1, -0.12, -0.08), BASE)
    assert found.mean == pytest.approx(-0.1)
    assert better(found)
    assert not worse(found)
    other = difference(BASE, shifted(-0.1, -0.12, -0.08))
    assert worse(other)
    # 0.1 +- 4.30 * 0.0231: a little more spread and it may be chance.
    assert not better(difference(shifted(-0.1, -0.15, -0.05), BASE))
    assert difference(BASE, {3: 1.0, 4: 2.0}) is None


def judged(losses):
    means = {name: sum(v.values()) / len(v) for name, v in losses.items() if v}
    others = {
        name: difference(losses["proposal"], v) for name, v in losses.items() if name != "proposal"
    }
    return verdict(means, others, losses)


def test_recommended_is_better_beyond_chance_or_configured():
    lower, lowest = shifted(-0.1, -0.11, -0.09), shifted(-0.2, -0.21, -0.19)
    found = judged({"proposal": lower, "configured": BASE, "uniform": lowest})
    assert found["better_than_configured"]
    assert not found["better_than_uniform"]
    assert found["recommended"] == "uniform"
    assert "WORSE than the uniform" in found["text"][1]
    by_chance = shifted(-0.5, -0.01, 0.01)
    found = judged({"proposal": by_chance, "configured": BASE})
    assert found["recommended"] == "configured"
    assert "NOT shown to be better than the configured" in found["text"][0]
    found = judged({"proposal": lower, "configured": {}})
    assert found["recommended"] == "proposal"
    assert "could not be compared" in found["text"][0]


@pytest.fixture(scope="module")
def objective():
    random = np.random.Generator(np.random.Philox(key=3))
    weights = random.dirichlet(np.ones(3), 60)
    losses = np.stack([3 - weights[:, 0], 3 - weights[:, 1]], axis=1)
    runs = Runs(("a", "b", "c"), ("a", "b"), weights, losses + random.normal(0, 1e-3, (60, 2)))
    return fit_objective(runs, {"a": 1.0, "b": 1.0})


FREE = Simplex(("a", "b", "c"), (Fraction(1, 2), Fraction(1), Fraction(1)))


def test_slice_goes_from_none_to_the_cap(objective):
    found = cut(objective.processes[0], FREE, np.array([0.2, 0.2, 0.6]), 0)
    np.testing.assert_allclose(found.weights, np.linspace(0, 0.5, POINTS))
    np.testing.assert_allclose(found.mean, 3 - found.weights, atol=0.05)
    alone = cut(objective.processes[0], FREE, np.array([0.0, 1.0, 0.0]), 1)
    assert alone.mean[0] == pytest.approx(2.5, abs=0.05)  # the others, even


def test_frontier_trades_one_for_the_other(objective):
    rows = [np.array([0.3, 0.3, 0.4])]
    line = frontier(objective, FREE, 0, rows, seed=1)
    assert (np.diff(line[:, 0]) > 0).all()
    assert (np.diff(line[:, 1]) < 0).all()
    # Nothing of c: what a gains, b loses, as far as a's cap.
    np.testing.assert_allclose(line[1:].sum(axis=1), 5.0, atol=0.06)
    assert line[0, 0] == pytest.approx(2.5, abs=0.05)
    np.testing.assert_allclose(split(objective, np.array(rows), 0), [[2.7, 2.7]], atol=0.03)
    again = frontier(objective, FREE, 0, rows, seed=1)
    np.testing.assert_array_equal(line, again)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 9))
def test_ticks_are_few_and_inside(low, span, most):
    high = low + span
    if high - low < 1e-9 * max(1.0, abs(low)):
        return
    found = ticks(low, high, most)
    assert len(found) <= most
    assert found == sorted(found)
    slack = 1e-9 * max(1.0, abs(low), abs(high))
    assert all(low - slack <= value <= high + slack for value in found)


def test_drawings_of_one_value_and_of_hostile_names():
    panel = Panel("<b>", ("<i>", "y"), [(1.0, 1.0)])
    panel.dots([("<script>", (1.0, 1.0))])
    drawn = panel.svg() + intervals("<b>", [("<u>", 1.0, 1.0, 1.0, [1.0])])
    for tag in ("<b>", "<i>", "<u>", "<script>"):
        assert tag not in drawn
    assert "nan" not in drawn
