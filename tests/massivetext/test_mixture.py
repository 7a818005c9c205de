"""Weights and plans: exact counts, published epochs, and errors on both sides of each limit."""

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from massivetext.config_file import parse, to_dict, to_yaml
from massivetext.config_mixture import Construction, Mixture, MixtureStage
from massivetext.errors import ConfigError
from massivetext.mixture import (
    MAX_SEQUENCES,
    apportion,
    from_manifest,
    plan,
    resolve_stages,
    resolve_weights,
)
from massivetext.mixture_plan import Stock
from massivetext.presets import CORPORA, MIXTURES

MASSIVETEXT = CORPORA["gopher"].tokens


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


def test_the_preset_of_chinchilla_gives_its_printed_epochs():
    corpus = CORPORA["chinchilla"]
    mixture = Mixture(preset="chinchilla", tokens=corpus.budget)
    planned = plan(mixture, resolve_weights(mixture, corpus.tokens), corpus.tokens)
    assert {subset.name: f"{subset.epochs:.2f}" for subset in planned.subsets} == {
        "massiveweb": "1.24", "books": "0.75", "c4": "0.77", "news": "0.21", "github": "0.13",
        "wikipedia": "3.40",
    }  # fmt: skip
    for name, tokens in corpus.tokens.items():  # and are, to the billion, what Gopher prints
        assert round(tokens / 1e9) * 10**9 == MASSIVETEXT[name]


@pytest.mark.parametrize("preset", sorted(MIXTURES))
def test_every_published_corpus_fits_its_mixture(preset):
    corpus = CORPORA[preset]
    assert set(corpus.tokens) in (set(MIXTURES[preset]), set())
    if corpus.tokens:
        mixture = Mixture(preset=preset, tokens=corpus.budget)
        planned = plan(mixture, resolve_weights(mixture, corpus.tokens), corpus.tokens)
        assert corpus.budget - planned.tokens < 2048


ANNEALED = Mixture(
    weights={"a": 0.75, "b": 0.25},
    stages=(MixtureStage(0.9), MixtureStage(1.0, {"a": 0.2, "b": 0.8})),
    tokens=1007,
    sequence_length=10,
    max_epochs=10,
)


def test_stages_of_a_small_plan():
    names = ["b", "a"]
    assert resolve_stages(ANNEALED, names) == [{"b": 0.25, "a": 0.75}, {"b": 0.8, "a": 0.2}]
    assert resolve_weights(ANNEALED, names) == {"b": 0.305, "a": 0.695}
    planned = plan(ANNEALED, resolve_stages(ANNEALED, names), {"a": 1000, "b": 1000})
    assert [stage.used for stage in planned.stages] == [{"a": 68, "b": 22}, {"a": 2, "b": 8}]
    assert [(s.weight, s.used) for s in planned.subsets] == [(0.695, 70), (0.305, 30)]
    assert planned.stage_entries() == [
        {"stop": 90, "weights": {"a": 0.75, "b": 0.25}, "sequences": {"a": 68, "b": 22}},
        {"stop": 100, "weights": {"a": 0.2, "b": 0.8}, "sequences": {"a": 2, "b": 8}},
    ]
    assert planned.table().splitlines()[-3:] == [
        "stage  to sequence            a            b",
        "1               90  0.7500 (68)  0.2500 (22)",
        "2              100   0.2000 (2)   0.8000 (8)",
    ]


def test_a_stage_pays_back_what_the_one_before_it_rounded():
    """Two sequences of 0.7 : 0.3 at a time: 1.4 : 0.6 twice is 2.8 : 1.2, not 2 : 2."""
    mixture = Mixture(
        weights={"a": 0.7, "b": 0.3}, stages=(MixtureStage(0.5), MixtureStage()), tokens=4,
        sequence_length=1,
    )  # fmt: skip
    planned = plan(mixture, resolve_stages(mixture, "ab"), {"a": 10, "b": 10})
    assert [stage.used for stage in planned.stages] == [{"a": 1, "b": 1}, {"a": 2, "b": 0}]


def test_a_subset_may_come_in_late_or_drop_out():
    stages = (MixtureStage(0.5, {"a": 1.0, "b": 0.0}), MixtureStage(1.0, {"a": 0.0, "b": 1.0}))
    mixture = Mixture(stages=stages, tokens=10, sequence_length=1)
    planned = plan(mixture, resolve_stages(mixture, "ab"), {"a": 5, "b": 5})
    assert [stage.used for stage in planned.stages] == [{"a": 5, "b": 0}, {"a": 0, "b": 5}]


def test_stages_end_at_shares_or_tokens():
    stages = (MixtureStage(1e6), MixtureStage(0.5), MixtureStage(3e6), MixtureStage())
    mixture = Mixture(stages=stages, tokens=4_000_000)
    assert mixture.stage_ends() == (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), 1)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((MixtureStage(0.5),), "the last stage ends at 0.5 of the budget"),
        ((MixtureStage(0.6), MixtureStage(0.6), MixtureStage()), "stage 2 ends at 0.6 .*not after"),
        ((MixtureStage(3000), MixtureStage()), "stage 2 ends at 1 .*not after 1.5"),
    ],
)
def test_stages_that_do_not_follow_one_another(stages, message):
    with pytest.raises(ValueError, match=message):
        Mixture(stages=stages, tokens=2000)


def test_weights_of_a_stage_that_cannot_be():
    with pytest.raises(ValueError, match=r"weights sum to 1.1, not 1; scaled to one"):
        MixtureStage(0.5, {"a": 0.5, "b": 0.6})
    mixture = Mixture(weights={"a": 1.0}, stages=(MixtureStage(1.0, {"aa": 1.0}),))
    with pytest.raises(ConfigError, match=r"mixture.stages.0.weights names the subset 'aa'"):
        resolve_stages(mixture, ["a"])
    short = Mixture(weights={"a": 1.0}, stages=(MixtureStage(0.001), MixtureStage()), tokens=20480)
    with pytest.raises(ConfigError, match=r"stage 1 of mixture.stages gets no sequence out of 10"):
        plan(short, resolve_stages(short, "a"), {"a": 20480})
    with pytest.raises(ConfigError, match=r"'b' would be repeated for 15.00 epochs .*; lower mix"):
        plan(ANNEALED, resolve_stages(ANNEALED, "ab"), {"a": 1000, "b": 20})


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.lists(st.integers(0, 9), min_size=3, max_size=3)),
             min_size=1, max_size=5).filter(lambda stages: all(any(w) for _, w in stages)),
    st.integers(0, 50),
)  # fmt: skip
def test_every_stage_is_within_one_sequence_of_its_weights(stages, extra):
    """Whatever the stages, and in all they use what is planned."""
    stops, shares = [], []
    for size, weights in stages:
        stops.append(sum(size for size, _ in stages[: len(stops) + 1]))
        shares.append({n: Fraction(w, sum(weights)) for n, w in zip("abc", weights)})
    total = stops[-1] + extra
    stops[-1] = total
    weights = [{n: float(share) for n, share in stage.items()} for stage in shares]
    mixture = Mixture(
        stages=tuple(MixtureStage(s / total, w) for s, w in zip(stops, weights)),
        tokens=total, sequence_length=1, max_epochs=1e9,
    )  # fmt: skip
    try:
        planned = plan(mixture, weights, dict.fromkeys("abc", 10))
    except ConfigError:  # a stage or a subset too small to get a sequence
        assume(False)
    assert planned.sequences == total
    start = 0
    for entry, share in zip(planned.stage_entries(), shares, strict=True):
        size = entry["stop"] - start
        assert sum(entry["sequences"].values()) == size
        for name, count in entry["sequences"].items():
            assert abs(count - share[name] * size) < 1 + 1e-9
            assert count >= 0
        start = entry["stop"]
    for subset in planned.subsets:
        assert subset.used == sum(stage.used[subset.name] for stage in planned.stages)


def test_crops_are_epochs_of_documents_and_not_of_tokens():
    """Ten long documents, one sequence each: 29 draws of each are less than an epoch of tokens."""
    mixture = Mixture(
        tokens=290, sequence_length=1, construction=Construction.GOPHER, max_epochs=0.29
    )
    stock = Stock(tokens=1000, crops=10, packed=0)
    planned = plan(mixture, {"a": 1.0}, {"a": stock})
    assert planned.subsets[0].epochs == 29.0
    assert planned.entry(0) == {
        "index": 0, "name": "a", "weight": 1.0, "available_tokens": 10, "available_sequences": 10,
        "sequences": 290, "tokens": 290, "epochs": 29.0, "stored_tokens": 1000, "crops": 10,
        "token_epochs": 0.29,
    }  # fmt: skip
    assert planned.table().splitlines()[1].split()[-2:] == ["29.00", "0.29"]
    over = Mixture(tokens=291, sequence_length=1, construction=Construction.GOPHER, max_epochs=0.29)
    with pytest.raises(ConfigError, match=r"0.29 epochs \(291 of 1,000 .*up to 290 fits"):
        plan(over, {"a": 1.0}, {"a": stock})


def test_the_section_that_a_manifest_repeats_reads_back():
    for mixture in (ANNEALED, Mixture(construction=Construction.GOPHER), Mixture()):
        assert from_manifest(to_dict(mixture)) == mixture
    old = {"preset": "gopher", "weights": None, "tokens": 5000, "sequence_length": 8}
    assert from_manifest(old) == Mixture(preset="gopher", tokens=5000, sequence_length=8)


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


YAML = """
output: out
subsets: {a: {input: x}, b: {input: y}}
mixture:
  weights: {a: 0.5, b: 0.5}
  tokens: 1_000_000
  construction: gopher
  stages:
    - until: 800_000
    - weights: {a: 0.9, b: 0.1}
"""


def test_stages_in_a_config():
    config = parse(YAML, "my.yaml").config
    assert config.mixture.construction is Construction.GOPHER
    assert config.mixture.stages == (MixtureStage(800_000), MixtureStage(1.0, {"a": 0.9, "b": 0.1}))
    assert parse(to_yaml(config), "again").config == config
    for wrong, message in (
        (("until: 800_000", "untl: 3"), r"my.yaml:9: unknown key 'untl' in mixture.stages.0; did"),
        (("b: 0.1", "b: 0.2"), r"my.yaml:10: mixture.stages.1: weights sum to 1.1"),
        (("800_000", "2e6"), r"my.yaml:5: mixture: stage 2 ends at 1 of the budget, not after 2"),
        (("gopher", "gofer"), r"mixture.construction 'gofer' is unknown; did you mean 'gopher'"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse(YAML.replace(*wrong), "my.yaml")
