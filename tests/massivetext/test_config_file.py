"""The config: what is read, and that every mistake names file, line and nearest name."""

import pytest

from massivetext.config import Config, Format, RuleGroup
from massivetext.config_file import load, parse, to_yaml
from massivetext.errors import ConfigError

MINIMAL = "output: out\nsubsets:\n  books: {input: a.jsonl}\n"


def error(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "my.yaml", overrides)
    return str(caught.value)


def test_defaults_are_the_papers():
    config = parse(MINIMAL, "my.yaml").config
    assert config.subsets["books"].input == ("a.jsonl",)
    assert config.subsets["books"].format is Format.JSONL
    assert (config.deduplicate.ngram, config.deduplicate.jaccard) == (13, 0.8)
    assert config.deduplicate.except_ == ("wikipedia", "github")
    assert config.repetition.max_top_2gram == 0.20
    assert config.mixture.sequence_length == 2048
    assert config.train.warmup_steps == 1500


def test_resolved_yaml_reads_back_equal():
    text = MINIMAL + "language: {model: lid.ftz}\ndeduplicate: {except: [books]}\n"
    config = parse(text, "my.yaml", ["mixture.max_epochs=2"]).config
    assert parse(to_yaml(config), "again.yaml").config == config


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("mixtur: {}", "my.yaml:4: unknown key 'mixtur'; did you mean 'mixture'?"),
        (
            "quality:\n  min_word: 3",
            "my.yaml:5: unknown key 'min_word' in quality; did you mean 'min_words'?",
        ),
        ("seed: one", "my.yaml:4: seed is 'one'; it must be a whole number"),
        ("seed: -1", "my.yaml:1: seed is -1; it must be from 0 to 2**63 - 1"),
        ("seed: 1\nseed: 2", "my.yaml:5: 'seed' is given twice"),
        ("mixture: {preset: chinchila}", "did you mean 'chinchilla'?"),
        ("train: {model: gopher-44}", "did you mean 'gopher-44m'?"),
        (
            "train: {override: {layer: 2}}",
            "my.yaml:4: unknown key 'layer' in train.override; did you mean 'layers'?",
        ),
        (
            "train: {override: {layers: 0}}",
            "my.yaml:4: train.override: layers is 0; it must be more than 0",
        ),
        ("mixture: {max_epochs: .nan}", "mixture.max_epochs is '.nan'; it must be a number"),
        ("mixture: {max_epochs: nan}", "mixture.max_epochs is 'nan'; it must be a number"),
        ("quality: {min_words: 2.5}", "quality.min_words is '2.5'; it must be a whole number"),
        ("safety: {label: bad}", "safety needs a model"),
        ("deduplicate: [1]", "my.yaml:4: deduplicate must hold keys and values"),
        ("output: [", "not valid YAML"),
    ],
)
def test_mistakes_are_named(extra, expected):
    assert expected in error(MINIMAL + extra + "\n")


def test_missing_key_and_empty_file():
    assert "lacks the key 'output'" in error("subsets: {a: {input: x}}")
    assert "expected keys such as" in error("")


def test_weights_that_do_not_sum_to_one_offer_the_scaled_ones():
    message = error(MINIMAL + "mixture: {weights: {a: 0.5, b: 0.7}}\n")
    assert "weights sum to 1.2, not 1" in message
    assert "{a: 0.416667, b: 0.583333}" in message


def test_subset_names_become_folders():
    assert "cannot name a subset" in error("output: o\nsubsets: {'../x': {input: a}}")
    assert "cannot name a subset" in error("output: o\nsubsets: {heldout: {input: a}}")


def test_override_replaces_nested_keys_and_is_named_in_errors():
    loaded = parse(MINIMAL, "my.yaml", ["mixture.tokens=2e6", "subsets.books.format=wet"])
    assert loaded.config.mixture.tokens == 2_000_000
    assert loaded.config.subsets["books"].format is Format.WET
    assert loaded.where("mixture.tokens") == "--set mixture.tokens=2e6"
    assert loaded.where("subsets.books.input") == "my.yaml:3"
    assert error(MINIMAL, "mixture.tokns=1").startswith("--set mixture.tokns=1: unknown key")
    assert "expected KEY=VALUE" in error(MINIMAL, "mixture.tokens")


def test_false_turns_a_stage_off():
    assert not parse(MINIMAL + "deduplicate: false\n", "my.yaml").config.deduplicate.enabled


def test_variables_expand_or_are_an_error(monkeypatch):
    text = "output: '${PLACE}/out'\nsubsets: {a: {input: x}}"
    monkeypatch.setenv("PLACE", "/data")
    assert parse(text, "my.yaml").config.output == "/data/out"
    monkeypatch.delenv("PLACE")
    assert "environment variable PLACE is not set" in error(text)


def test_yaml_cannot_build_objects_or_loop():
    assert "my.yaml:1" in error(
        "output: !!python/object/apply:os.system [id]\nsubsets: {a: {input: x}}"
    )
    assert "unknown key 'x' in subsets.x" in error("output: o\nsubsets: &a {x: *a}")


def test_missing_file_suggests_a_neighbour(tmp_path):
    (tmp_path / "small.yaml").write_text(MINIMAL)
    assert load(tmp_path / "small.yaml").config.output == "out"
    with pytest.raises(ConfigError, match=r"did you mean 'small\.yaml'"):
        load(tmp_path / "smal.yaml")


def test_rules_by_subset_follow_the_paper():
    text = (
        "output: o\nlanguage: {model: m}\nsafety: {words: w}\nsubsets:\n"
        "  massiveweb: {input: a}\n  books: {input: a}\n  github: {input: a}\n"
        "  other: {input: a, rules: [repetition, language]}\n"
        "  named: {input: a, rules: [fineweb, c4, gopher]}\n"
    )
    config: Config = parse(text, "my.yaml").config
    gopher = (RuleGroup.QUALITY, RuleGroup.REPETITION)
    assert config.rules("massiveweb") == (RuleGroup.LANGUAGE, RuleGroup.SAFETY, *gopher)
    assert config.rules("books") == (RuleGroup.LANGUAGE,)
    assert config.rules("github") == ()
    assert config.rules("other") == (RuleGroup.LANGUAGE, RuleGroup.REPETITION)
    assert config.rules("named") == (*gopher, RuleGroup.C4, RuleGroup.FINEWEB)
