import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.pareto import draws, limits

IDS = pa.array([f"massiveweb/page-{i}.warc.gz#{i}" for i in range(200_000)])


def test_draws_are_known():
    # Frozen: other values would keep other documents.
    assert draws(pa.array(["a", "b", "massiveweb/a.jsonl#0", ""]), 1).tolist() == [
        0.6228408642558817,
        0.3608407793539138,
        0.021866234469009815,
        0.8453377794673165,
    ]


def test_draws_depend_on_id_and_seed_alone():
    every = draws(IDS, 7)
    assert np.array_equal(draws(IDS[500:600], 7), every[500:600])
    assert np.array_equal(draws(IDS.cast(pa.large_string()), 7), every)
    assert not np.array_equal(draws(IDS, 8), every)


def test_draws_are_uniform():
    u = np.sort(draws(IDS, 1))
    assert 0 <= u[0] <= u[-1] < 1
    # Kolmogorov and Smirnov's statistic; 1.95 / sqrt(n) is passed by chance once in a thousand.
    n = len(u)
    distance = np.abs(u - np.arange(n) / n).max()
    assert distance < 1.95 / np.sqrt(n)


@pytest.mark.parametrize("alpha", [1.0, 3.0, 9.0])
@pytest.mark.parametrize("score", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_share_kept_is_the_closed_form(alpha, score):
    # Lomax: P(X > x) = (1 + x) ** -alpha, at x = 1 - score.
    expected = (2 - score) ** -alpha
    share = (score >= limits(draws(IDS, 1), alpha)).mean()
    assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / len(IDS)))


@given(
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1),
    st.floats(0.5, 20),
)
def test_limits_are_gpt3s_rule(u, score, alpha):
    drawn = (1 - u) ** (-1 / alpha) - 1  # as numpy.random.pareto has it
    if abs(drawn - (1 - score)) > 1e-9:
        kept = bool(score >= limits(np.array([u]), alpha)[0])
        assert kept == (drawn > 1 - score)


def test_limits_fall_with_the_draw_and_never_pass_one():
    u = np.linspace(0, 1, 1001)[:-1]
    bound = limits(u, 9.0)
    assert bound[0] == 1
    assert (np.diff(bound) < 0).all()
    assert np.isfinite(limits(np.array([1 - 2.0**-53]), 9.0)).all()
