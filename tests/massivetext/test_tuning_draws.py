from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.config import Mixture
from massivetext.errors import ConfigError
from massivetext.mixture import plan
from massivetext.tuning.draws import draw_mixtures, natural
from massivetext.tuning.runs import runs_needed
from massivetext.tuning.simplex import UNITS, Simplex, within_epochs

AVAILABLE = {"web": 600_000, "books": 300_000, "code": 99_000, "wiki": 1_000}
FREE = Simplex(tuple(AVAILABLE), (Fraction(1),) * 4)


def _exact(weights):
    """The weights as the mixture reads them: by their decimals."""
    return {name: Fraction(str(weight)) for name, weight in weights.items()}


def _fill_slowly(row, caps):
    """min(cap, c * row) that sums to one, by bisection on c."""
    low, high = 0.0, 1e9
    for _ in range(200):
        c = (low + high) / 2
        if np.minimum(caps, c * row).sum() < 1:
            low = c
        else:
            high = c
    return np.minimum(caps, high * row)


@st.composite
def limited(draw):
    """A mixture's budget and tokens per subset that can fill it."""
    count = draw(st.integers(2, 6))
    available = {f"s{i}": draw(st.integers(20_000, 3_000_000)) for i in range(count)}
    epochs = draw(st.sampled_from([1.0, 1.5, 4.0]))
    share = draw(st.floats(0.05, 0.9))
    budget = int(epochs * sum(available.values()) * share)
    return Mixture(tokens=max(budget, 200_000), sequence_length=64, max_epochs=epochs), available


@settings(deadline=None, max_examples=30)
@given(limited(), st.integers(0, 2**63 - 1))
def test_draws_sum_to_one_and_keep_to_the_caps(case, seed):
    mixture, available = case
    try:
        simplex = within_epochs(mixture, available)
        drawn = draw_mixtures(simplex, runs_needed(len(available)), available, None, seed)
    except ConfigError:
        return  # there is no room for so many mixtures
    for weights in drawn:
        exact = _exact(weights)
        assert sum(exact.values()) == 1
        for name, weight in exact.items():
            limit = Fraction(str(mixture.max_epochs)) * available[name]
            assert weight * mixture.tokens <= limit
            assert weight == 0 or weight >= Fraction(simplex.smallest)
        # The planner of the shards, which rounds to sequences, takes each of them.
        plan(mixture, weights, available)
    assert len({tuple(weights.values()) for weights in drawn}) == len(drawn)


@settings(deadline=None)
@given(
    st.lists(st.floats(0.01, 1), min_size=3, max_size=6),
    st.lists(st.floats(0.34, 1), min_size=6, max_size=6),
)
def test_fill_is_the_capped_multiple(row, caps):
    names = tuple(f"s{i}" for i in range(len(row)))
    simplex = Simplex(names, tuple(Fraction(cap) for cap in caps[: len(row)]), smallest=1e-4)
    filled = simplex.fill(np.array([row]))[0]
    expected = _fill_slowly(np.array(row) / sum(row), simplex.ceiling)
    np.testing.assert_allclose(filled, expected, atol=1e-9)


def test_fill_gives_the_rest_to_subsets_that_a_draw_leaves_out():
    simplex = Simplex(("a", "b", "c"), (Fraction(1, 2), Fraction(3, 10), Fraction(3, 5)))
    filled = simplex.fill(np.array([[1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(filled, [[0.5, 1 / 6, 1 / 3]])


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=9))
def test_rounding_keeps_the_sum_and_is_within_a_unit(sizes):
    row = np.array(sizes) / sum(sizes)
    simplex = Simplex(tuple(map(str, range(len(sizes)))), (Fraction(1),) * len(sizes), 1e-6)
    rounded = simplex.round(row)
    assert sum(_exact(rounded).values()) == 1
    for weight, value in zip(row, rounded.values(), strict=True):
        assert abs(value - weight) <= 1.0001 / UNITS


def test_rounding_does_not_pass_a_cap_below_the_last_digit():
    third = Simplex(("a", "b"), (Fraction(1, 3), Fraction(1)))
    assert third.round(third.fill(np.array([[1.0, 1.0]]))[0]) == {"a": 0.333333, "b": 0.666667}


def test_caps_are_whole_sequences():
    # 2.5 epochs of 1,000 tokens are 2,500: 2 sequences of 1,000 in a budget of 10.
    mixture = Mixture(tokens=10_999, sequence_length=1000, max_epochs=2.5)
    simplex = within_epochs(mixture, {"a": 1000, "b": 10_000})
    assert simplex.caps == (Fraction(1, 5), Fraction(1))


def test_draws_do_not_depend_on_their_number_but_on_the_seed():
    many = draw_mixtures(FREE, 40, AVAILABLE, None, 7)
    assert draw_mixtures(FREE, 15, AVAILABLE, None, 7) == many[:15]
    assert draw_mixtures(FREE, 15, AVAILABLE, None, 8) != many[:15]


def test_as_many_draws_as_subsets_sample_every_subset():
    for start in (0, 4, 8, 12, 16):
        part = draw_mixtures(FREE, 20, AVAILABLE, None, 3)[start : start + 4]
        for at, name in enumerate(AVAILABLE):
            assert part[at][name] >= 0.01 - 1e-6


def test_draws_are_around_natural_and_configured_proportions():
    configured = {"web": 0.0, "books": 0.0, "code": 0.2, "wiki": 0.8}
    drawn = draw_mixtures(FREE, 400, AVAILABLE, configured, 1)
    table = np.array([list(weights.values()) for weights in drawn])
    turns = (np.arange(400) // 4) % 2
    around_natural, around_configured = table[turns == 0].mean(0), table[turns == 1].mean(0)
    # The means are drawn to the subset that each draw must hold, a quarter of them each.
    assert around_natural[0] > 0.3 > around_natural[3]
    assert around_configured[3] > 0.4 > around_configured[0]
    # Strengths of 0.1 to 5: some draws are nearly one subset, others an even blend.
    assert table.max(axis=1).max() > 0.99
    assert table.max(axis=1).min() < 0.5


def test_natural_proportions_and_their_temperature():
    assert natural({"a": 900, "b": 100}) == pytest.approx({"a": 0.9, "b": 0.1})
    assert natural({"a": 900, "b": 100}, 0.5) == pytest.approx({"a": 0.75, "b": 0.25})


def test_too_few_runs_say_how_many():
    with pytest.raises(ConfigError, match="14 runs are too few to tune 4 subsets; draw at least 1"):
        draw_mixtures(FREE, 14, AVAILABLE, None, 1)
    assert len(draw_mixtures(FREE, 15, AVAILABLE, None, 1)) == 15


def test_caps_that_leave_one_mixture_are_an_error():
    simplex = Simplex(("a", "b"), (Fraction(1, 2), Fraction(1, 2)))
    with pytest.raises(ConfigError, match="only 1 mixtures that differ"):
        draw_mixtures(simplex, 9, {"a": 1, "b": 1}, None, 1)


@pytest.mark.parametrize(
    ("mixture", "available", "message"),
    [
        (Mixture(tokens=10_000, sequence_length=10, max_epochs=1), {"a": 4000, "b": 5000}, "90.0%"),
        (Mixture(tokens=10_000, sequence_length=10), {"a": 90_000, "b": 0}, "'b'.*at most 0 "),
        (Mixture(tokens=10_000, sequence_length=10), {"a": 90_000}, "at least two"),
    ],
)
def test_impossible_caps(mixture, available, message):
    with pytest.raises(ConfigError, match=message):
        within_epochs(mixture, available)


def test_more_subsets_than_a_run_can_sample():
    names = tuple("abcd")
    even = Simplex(names, (Fraction(1),) * 4, smallest=0.25).fill(np.full((1, 4), 0.1))
    np.testing.assert_allclose(even, 0.25)
    with pytest.raises(ConfigError, match="4 subsets cannot each"):
        Simplex(names, (Fraction(1),) * 4, smallest=0.2501)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"web": 1.0}, "no weight for the subset 'books'"),
        ({**AVAILABLE, "wikis": 1}, "did you mean 'wiki'"),
        ({**AVAILABLE, "web": float("nan")}, "0 to 1"),
        (dict.fromkeys(AVAILABLE, 0), "0 to 1"),
    ],
)
def test_mixtures_that_are_none(weights, message):
    with pytest.raises(ConfigError, match=message):
        FREE.array(weights)
