"""Published laws: the values that follow from their constants, and data that repeat."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.scaling import repeated
from massivetext.scaling.laws import ParametricLaw, tokens_for
from massivetext.scaling.published import EPOCH, HOFFMANN, KAPLAN, MUENNIGHOFF, PF_DAY, table_a3

GOPHER = 5.76e23

laws = st.builds(
    ParametricLaw,
    st.floats(0.5, 3),
    st.floats(50, 3000),
    st.floats(50, 3000),
    st.floats(0.2, 0.6),
    st.floats(0.2, 0.6),
)


def test_chinchilla_unrounded():
    n, d, loss = HOFFMANN.optimum(GOPHER)
    assert pytest.approx(0.4565, abs=5e-5) == HOFFMANN.a
    assert pytest.approx(0.5435, abs=5e-5) == HOFFMANN.b
    assert n == pytest.approx(40.4e9, rel=2e-3)
    assert d == pytest.approx(2.38e12, rel=2e-3)
    assert d / n == pytest.approx(59, abs=0.5)
    assert loss == pytest.approx(1.91841, abs=1e-5)


def test_chinchilla_rounded_constants_give_another_answer():
    rounded = ParametricLaw(1.69, 406.4, 410.7, 0.34, 0.28)
    assert rounded.a == pytest.approx(0.4516, abs=5e-5)
    assert rounded.optimum(GOPHER)[0] == pytest.approx(32.2e9, rel=1e-3)


def test_epoch():
    n, d, _ = EPOCH.optimum(GOPHER)
    assert pytest.approx(0.513, abs=5e-4) == EPOCH.a
    assert n == pytest.approx(72e9, rel=6e-3)
    assert d == pytest.approx(1.33e12, rel=3e-3)
    assert d / n == pytest.approx(18, abs=0.5)


def test_kaplan():
    assert KAPLAN.of_parameters(8.8e13) == 1
    assert KAPLAN.of_tokens(5.4e13) == 1
    assert KAPLAN.of_flops(1.6e7 * PF_DAY) == pytest.approx(1)
    assert KAPLAN.of_parameters(8.8e3) == pytest.approx(10 ** (10 * 0.076))


# Table A3, approach 3: what the constants give, over what is printed.
A3 = {
    400e6: (2.3494e19, 1.0631, 9.789e9, 1.0641),
    1e9: (1.7484e20, 1.0792, 29.140e9, 1.0753),
    10e9: (2.7108e22, 1.1019, 451.79e9, 1.1017),
    67e9: (1.7481e24, 1.0223, 4.3486e12, 1.0606),
    175e9: (1.4319e25, 11.3642, 13.637e12, 1.1364),
    280e9: (4.0089e25, 1.1389, 23.863e12, 1.1872),
    520e9: (1.5557e26, 1.1439, 49.862e12, 1.1462),
    1e12: (6.5163e26, 1.1533, 108.61e12, 1.1542),
    10e12: (1.0103e29, 1.1817, 1683.9e12, 1.1812),
}


def test_table_a3_follows_the_constants():
    rows = table_a3()
    assert [row.parameters for row in rows] == list(A3)
    for row in rows:
        flops, more_flops, tokens, more_tokens = A3[row.parameters]
        assert row.flops == pytest.approx(flops, rel=5e-5)
        assert row.tokens == pytest.approx(tokens, rel=1e-4)
        assert row.flops / row.printed_flops == pytest.approx(more_flops, abs=5e-5)
        assert row.tokens / row.printed_tokens == pytest.approx(more_tokens, abs=5e-5)
        assert float(HOFFMANN.optimum(row.flops)[0]) == pytest.approx(row.parameters)
    assert [row.parameters for row in rows if row.misprint] == [175e9]
    differences = [row.tokens / row.printed_tokens - 1 for row in rows]
    assert 0.06 < min(differences) < max(differences) < 0.19


@given(laws, st.floats(1e17, 1e26), st.floats(-2, 2))
def test_optimum_is_the_best(law, flops, shift):
    n, d, loss = law.optimum(flops)
    assert 6 * n * d == pytest.approx(flops, rel=1e-9)
    assert law.flops_for(n) == pytest.approx(flops, rel=1e-6)
    other = n * math.exp(shift)
    assert law.loss(other, tokens_for(flops, other)) >= loss - 1e-12
    assert law.a + law.b == pytest.approx(1)


@given(laws, st.floats(1e7, 1e12), st.floats(1e8, 1e13))
def test_tokens_to_reach_inverts_the_loss(law, parameters, tokens):
    loss = law.loss(parameters, tokens)
    assert law.tokens_to_reach(loss, parameters) == pytest.approx(tokens, rel=1e-5)
    assert law.tokens_to_reach(law.loss(parameters, np.inf) - 1e-9, parameters) == np.inf


@pytest.mark.parametrize(
    ("parameters", "tokens", "loss"), [(6.34e9, 242e9, 2.225644), (8.67e9, 178e9, 2.226963)]
)
def test_repeated_published_values(parameters, tokens, loss):
    found = repeated.loss(MUENNIGHOFF, parameters, tokens, 25e9)
    assert found == pytest.approx(loss, abs=1e-6)


def test_repeated_worth():
    assert repeated.effective(3.0, 5.0, 15.0) == 3
    assert repeated.effective(5.0, 5.0, 15.0) == 5
    assert repeated.effective(20.0, 5.0, 15.0) == pytest.approx(5 + 75 * (1 - math.exp(-0.2)))
    # However often: never worth more than 1 + R* passes.
    assert repeated.effective(1e9, 5.0, 15.0) == pytest.approx(80)


def test_four_epochs_are_nearly_as_good_as_fresh_data():
    worth = repeated.effective([4.0, 40.0], 1.0, repeated.TOKEN_DECAY) / [4, 40]
    assert worth == pytest.approx([0.93142, 0.37919], abs=5e-6)


def test_constrained_optimum_is_smaller_and_longer():
    n, d, loss = repeated.optimum(MUENNIGHOFF, 9.3e21, 25e9)
    free_n, free_d, free_loss = MUENNIGHOFF.optimum(9.3e21)
    assert n < free_n
    assert d > free_d
    assert loss > free_loss
    for other in np.geomspace(n / 10, n * 10, 201):
        assert repeated.loss(MUENNIGHOFF, other, tokens_for(9.3e21, other), 25e9) >= loss


@given(laws, st.floats(1e18, 1e24))
def test_enough_data_is_no_constraint(law, flops):
    n, d, loss = law.optimum(flops)
    found = repeated.optimum(law, flops, float(d) * 1e4)
    assert found[2] == pytest.approx(float(loss), rel=1e-12)
    assert found[0] == pytest.approx(float(n), rel=1e-4)
