"""Weights and plans: exact counts, published epochs, and errors on both sides of each limit."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.config import Mixture
from massivetext.errors import ConfigError
from massivetext.mixture import MAX_SEQUENCES, apportion, plan, resolve_weights
from massivetext.presets import MIXTURES

MASSIVETEXT = {  # tokens, Gopher Table 2
    "massiveweb": 506_000_000_000,
    "books": 560_000_000_000,
    "c4": 182_000_000_000,
    "news": 676_000_000_000,
    "github": 422_000_000_000,
    "wikipedia": 4_000_000_000,
}


def test_a_whole_preset_keeps_its_printed_weights():
    weights = resolve_weights(Mixture(preset="chinchilla"), MASSIVETEXT)
    assert weights == MIXTURES["chinchilla"]
    assert list(weights) == list(MASSIVETEXT)


def test_a_preset_is_restricted_and_renormalised():
    weights = resolve_weights(Mixture(preset="gopher"), ["wikipedia", "massiveweb"])
    assert weights == {"wikipedia": 0.04, "massiveweb": 0.96}


def test_printed_weights_that_do_not_sum_to_one_are_scaled():
    weights = resolve_weights(Mixture(preset="gpt3"), MIXTURES["gpt3"])
    assert weights["common_crawl"] == float(Fraction(60, 101))


def test_explicit_weights_are_taken_as_they_are():
    mixture = Mixture(weights={"a": 0.25, "b": 0.75, "c": 0.0})
    assert resolve_weights(mixture, ["c", "b", "a"]) == {"c": 0.0, "b": 0.75, "a": 0.25}


@pytest.mark.parametrize(
    ("mixture", "subsets", "message"),
    [
        (Mixture(weights={"wikipedai": 1.0}), ["wikipedia"], "did you mean 'wikipedia'"),
        (Mixture(weights={"a": 1.0}), ["a", "b"], "subset 'b' has no weight"),
        (Mixture(), ["massiveweb", "forum"], "'forum'.*give mixture.weights"),
        (Mixture(), ["massivweb"], "did you mean 'massiveweb'"),
    ],
)
def test_weights_that_do_not_fit_the_subsets(mixture, subsets, message):
    with pytest.raises(ConfigError, match=message):
        resolve_weights(mixture, subsets)


def test_chinchilla_epochs_follow_from_its_table():
    """Table A1's epochs in 1.4T tokens, within what the rounding of the token counts allows."""
    printed = {
        "massiveweb": "1.24", "books": "0.75", "c4": "0.77", "news": "0.21", "github": "0.13",
        "wikipedia": "3.40",
    }  # fmt: skip
    mixture = Mixture(tokens=1_400_000_000_000)
    weights = resolve_weights(mixture, MASSIVETEXT)
    half = 500_000_000
    most = plan(mixture, weights, {name: count - half for name, count in MASSIVETEXT.items()})
    least = plan(mixture, weights, {name: count + half for name, count in MASSIVETEXT.items()})
    for low, high in zip(least.subsets, most.subsets, strict=True):
        assert round(low.epochs, 2) <= float(printed[low.name]) <= round(high.epochs, 2)
    exact = plan(mixture, weights, MASSIVETEXT)
    assert exact.sequences == 1_400_000_000_000 // 2048
    assert {s.name: round(s.epochs, 3) for s in exact.subsets} == {
        "books": 0.75, "c4": 0.769, "github": 0.133, "massiveweb": 1.245, "news": 0.207,
        "wikipedia": 3.5,
    }  # fmt: skip


def test_counts_of_a_small_plan_and_its_table():
    mixture = Mixture(tokens=1007, sequence_length=10, weights={"b": 0.333, "a": 0.667})
    planned = plan(mixture, mixture.weights, {"a": 1001, "b": 100})
    a, b = planned.subsets
    assert (a.name, a.tokens, a.sequences, a.used) == ("a", 1001, 101, 67)
    assert (b.name, b.tokens, b.sequences, b.used) == ("b", 100, 10, 33)
    assert (planned.sequences, planned.tokens) == (100, 1000)
    assert b.epochs == 3.3
    assert planned.table().splitlines() == [
        "subset  weight  tokens  sequences  used  trained on  epochs",
        "a       0.6670   1,001        101    67         670    0.66",
        "b       0.3330     100         10    33         330    3.30",
        "total   1.0000   1,101        111   100       1,000    0.90",
    ]


def test_the_limit_of_epochs_is_itself_allowed():
    weights = {"a": 0.5, "b": 0.5}
    mixture = Mixture(tokens=80, sequence_length=1, weights=weights, max_epochs=4)
    assert plan(mixture, weights, {"a": 10, "b": 1000}).subsets[0].epochs == 4.0
    over = Mixture(tokens=82, sequence_length=1, weights=weights, max_epochs=4)
    message = r"'a' would be repeated for 4.10 epochs .*tokens up to 80 fits"
    with pytest.raises(ConfigError, match=message):
        plan(over, weights, {"a": 10, "b": 1000})


def test_the_most_repeated_subset_is_named():
    weights = {"a": 0.4, "b": 0.6}
    mixture = Mixture(tokens=1000, sequence_length=1, weights=weights)
    with pytest.raises(ConfigError, match=r"'b' would be repeated for 60.00 epochs"):
        plan(mixture, weights, {"a": 10, "b": 10})


def test_a_subset_without_tokens_is_an_error_unless_excluded():
    mixture = Mixture(tokens=10, sequence_length=1)
    with pytest.raises(ConfigError, match=r"'b' has weight 0.5 but no tokens"):
        plan(mixture, {"a": 0.5, "b": 0.5}, {"a": 10, "b": 0})
    planned = plan(mixture, {"a": 1.0, "b": 0.0}, {"a": 10})
    assert [(s.used, s.epochs) for s in planned.subsets] == [(10, 1.0), (0, 0.0)]


def test_a_subset_that_would_get_no_sequence_is_an_error():
    weights = {"a": 0.999, "b": 0.001}
    with pytest.raises(ConfigError, match=r"'b'.*no sequence out of 100;.*at least 1,000"):
        plan(Mixture(tokens=100, sequence_length=1), weights, {"a": 1000, "b": 1000})
    planned = plan(Mixture(tokens=1000, sequence_length=1), weights, {"a": 1000, "b": 1000})
    assert [s.used for s in planned.subsets] == [999, 1]


def test_budgets_outside_what_an_order_can_hold():
    with pytest.raises(ConfigError, match="give from 2,048"):
        plan(Mixture(tokens=2047), {"a": 1.0}, {"a": 10_000})
    assert plan(Mixture(tokens=2048), {"a": 1.0}, {"a": 10_000}).sequences == 1
    too_many = Mixture(tokens=MAX_SEQUENCES + 1, sequence_length=1)
    with pytest.raises(ConfigError, match="give from"):
        plan(too_many, {"a": 1.0}, {"a": 10_000_000_000})


def test_ties_go_to_the_first_name():
    shares = {name: Fraction(1, 3) for name in "cab"}
    assert apportion(10, shares) == {"c": 3, "a": 4, "b": 3}


@given(
    st.integers(0, 10**10),
    st.dictionaries(st.text("abc", min_size=1), st.integers(1, 1000), min_size=1),
)
def test_apportion_keeps_the_total_and_the_quota(total, weights):
    whole = sum(weights.values())
    shares = {name: Fraction(weight, whole) for name, weight in weights.items()}
    counts = apportion(total, shares)
    assert sum(counts.values()) == total
    assert all(abs(counts[name] - share * total) < 1 for name, share in shares.items())


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 99), min_size=1),
    st.integers(1, 2000),
)
def test_every_budget_up_to_the_one_suggested_fits(weights, tokens):
    whole = sum(weights.values())
    exact = {name: weight / whole for name, weight in weights.items()}
    available = {name: 50 + 7 * number for number, name in enumerate(sorted(weights))}

    def message(budget):
        try:
            plan(Mixture(tokens=budget, sequence_length=3, max_epochs=1.5), exact, available)
        except ConfigError as error:
            return str(error)
        return ""

    problem = message(tokens)
    if "max_epochs" in problem:
        fits = int(problem.split("up to ")[1].split(" fits")[0].replace(",", ""))
        assert fits < tokens
        for budget in range(max(3, fits - 9), fits + 1):
            assert "max_epochs" not in message(budget)
