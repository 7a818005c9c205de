import dataclasses
import itertools

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from massivetext import rules
from massivetext.config import Config, Language, Quality, Repetition, RuleGroup, Safety, Subset
from massivetext.errors import ConfigError
from massivetext.rules import RULES, SIGNALS, Models, Rule, decide, measure, signal_columns

KERNELS = (RuleGroup.QUALITY, RuleGroup.REPETITION)
ALL = tuple(RuleGroup)


def config(**sections) -> Config:
    return Config(output="out", subsets={"massiveweb": Subset(input=("in",))}, **sections)


def documents(*texts: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"])


def fails(text: str, rule: Rule) -> bool:
    signals = signal_columns(measure(documents(text), KERNELS, Models()))
    decision = decide(signals, KERNELS, config())
    return bool(decision.failed[0] & rule.bit)


def numbered(count: int, start: int = 1000) -> list[str]:
    """`count` different words of four characters."""
    return [f"{number:04x}" for number in range(start, start + count)]


def words(count: int, **replace: int) -> str:
    """`count` words; of them, as many of each keyword's word as it says."""
    special = list(itertools.chain.from_iterable([word] * n for word, n in replace.items()))
    return " ".join(special + ["word"] * (count - len(special)))


def lines(count: int, special: int, line: str) -> str:
    return "\n".join([line] * special + numbered(count - special))


def copies(block: int, count: int, total: int) -> str:
    """`total` words of one length: `count` copies of one n-gram of `block`, other words between."""
    gram, other = numbered(block, 100), iter(numbered(total))
    out: list[str] = []
    for _ in range(count):
        out += [*gram, next(other)]
    return " ".join(out + list(itertools.islice(other, total - len(out))))


def hashes(count: int) -> str:
    return " ".join(["a#"] * count + ["a"] * (50 - count))


# Per rule: a text whose signal equals the threshold, and one just beyond it.
BOUNDARIES = {
    Rule.MIN_WORDS: (words(50), words(49)),
    Rule.MAX_WORDS: (words(100_000), words(100_001)),
    Rule.MIN_MEAN_WORD_LENGTH: ("abc " * 50, "abc " * 49 + "ab"),
    Rule.MAX_MEAN_WORD_LENGTH: ("0123456789 " * 50, "0123456789 " * 49 + "0123456789a"),
    Rule.MAX_HASH_RATIO: (hashes(5), hashes(6)),
    Rule.MAX_ELLIPSIS_RATIO: (
        hashes(5).replace("#", "..."),
        hashes(6).replace("#", "…"),
    ),
    Rule.MAX_BULLET_LINES: (lines(10, 9, "- a"), lines(11, 10, "• a")),
    Rule.MAX_ELLIPSIS_LINES: (lines(10, 3, "a..."), lines(10, 4, "a …")),
    Rule.MIN_ALPHABETIC_WORDS: (
        " ".join(["1"] * 10 + ["a"] * 40),
        " ".join(["1"] * 11 + ["a"] * 39),
    ),
    Rule.MIN_STOP_WORDS: (words(50, the=1, And=1), words(50, the=20)),
    Rule.MAX_DUPLICATE_LINES: (lines(10, 3, "a"), lines(10, 4, "a")),
    Rule.MAX_DUPLICATE_PARAGRAPHS: (
        lines(10, 3, "a").replace("\n", "\n\n"),
        lines(10, 4, "a").replace("\n", "\n \n"),
    ),
    Rule.MAX_DUPLICATE_LINE_CHARACTERS: (
        "\n".join([*["xx"] * 2, *numbered(4)]),
        "\n".join([*["xx"] * 2, *numbered(3), "abc"]),
    ),
    Rule.MAX_DUPLICATE_PARAGRAPH_CHARACTERS: (
        "\n\n".join([*["xx"] * 2, *numbered(4)]),
        "\n\n".join([*["xx"] * 2, *numbered(3), "abc"]),
    ),
    Rule.MAX_TOP_2GRAM: (copies(2, 2, 20), copies(2, 2, 19)),
    Rule.MAX_TOP_3GRAM: (copies(3, 6, 100), copies(3, 6, 99)),
    Rule.MAX_TOP_4GRAM: (copies(4, 4, 100), copies(4, 4, 99)),
    Rule.MAX_DUPLICATE_5GRAM: (copies(5, 3, 100), copies(5, 3, 99)),
    Rule.MAX_DUPLICATE_6GRAM: (copies(6, 7, 300), copies(6, 7, 299)),
    Rule.MAX_DUPLICATE_7GRAM: (copies(7, 13, 700), copies(7, 13, 699)),
    Rule.MAX_DUPLICATE_8GRAM: (copies(8, 3, 200), copies(8, 3, 199)),
    Rule.MAX_DUPLICATE_9GRAM: (copies(9, 11, 900), copies(9, 11, 899)),
    Rule.MAX_DUPLICATE_10GRAM: (copies(10, 2, 200), copies(10, 2, 199)),
}


def test_every_threshold_has_its_boundary():
    assert set(BOUNDARIES) == {rule for rule in Rule if rules.group_of(rule) in KERNELS}


@pytest.mark.parametrize("rule", BOUNDARIES)
def test_equal_stays_and_beyond_fails(rule):
    at, beyond = BOUNDARIES[rule]
    assert not fails(at, rule)
    assert fails(beyond, rule)


@pytest.mark.parametrize("rule", BOUNDARIES)
def test_boundary_text_measures_the_threshold(rule):
    section = getattr(config(), rules.group_of(rule))
    signals = signal_columns(measure(documents(BOUNDARIES[rule][0]), KERNELS, Models()))
    assert signals[rules.signal_of(rule)][0] == getattr(section, rule)


def test_rules_are_the_fields_of_the_config():
    for group, section in ((RuleGroup.QUALITY, Quality), (RuleGroup.REPETITION, Repetition)):
        names = [rule for rule in RULES if rules.group_of(rule) == group]
        assert names == [field.name for field in dataclasses.fields(section)]


def test_groups_are_in_gophers_order():
    groups = [rules.group_of(rule) for rule in RULES]
    assert list(dict.fromkeys(groups)) == list(RuleGroup)
    assert groups == sorted(groups, key=list(RuleGroup).index)


def test_first_rule_value_threshold_and_mask():
    text = "# " * 30
    signals = signal_columns(measure(documents(text, words(50, the=1, be=1)), KERNELS, Models()))
    decision = decide(signals, KERNELS, config(repetition=Repetition(*[1.0] * 13)))
    assert RULES[decision.first[0]] is Rule.MIN_WORDS
    assert (decision.value[0], decision.threshold[0]) == (30, 50)
    assert decision.first[1] == -1
    assert np.isnan([decision.value[1], decision.threshold[1]]).all()
    assert decision.keep.tolist() == [False, True]
    failed = {rule for rule in Rule if decision.failed[0] & rule.bit}
    assert failed == {
        Rule.MIN_WORDS,
        Rule.MIN_MEAN_WORD_LENGTH,
        Rule.MAX_HASH_RATIO,
        Rule.MIN_ALPHABETIC_WORDS,
        Rule.MIN_STOP_WORDS,
    }
    assert decision.failed[1] == 0


def test_only_the_groups_asked_for():
    signals = signal_columns(measure(documents("x"), KERNELS, Models()))
    assert not decide(signals, (RuleGroup.QUALITY,), config()).keep[0]
    assert decide(signals, (RuleGroup.REPETITION,), config()).keep[0]
    assert decide(signals, (), config()).keep[0]


def test_measure_appends_the_signals():
    batch = pa.RecordBatch.from_arrays([pa.array(["1"]), pa.array(["a b"])], ["id", "text"])
    measured = measure(batch, (RuleGroup.QUALITY,), Models())
    assert measured.schema.names == ["id", "text", *SIGNALS.names]
    assert [measured.schema.field(f.name).type for f in SIGNALS] == [f.type for f in SIGNALS]
    assert measured.column("quality_words").to_pylist() == [2]
    for name in SIGNALS.names:
        assert measured.column(name).null_count == (0 if name.startswith("quality_") else 1)
    measured.validate(full=True)


def test_empty_batch():
    measured = measure(documents(), KERNELS, Models())
    assert measured.num_rows == 0
    assert len(decide(signal_columns(measured), KERNELS, config()).first) == 0


def test_slice_measures_the_same():
    batch = documents("a b", "the the the", "c\nc\nd")
    whole = measure(batch, KERNELS, Models())
    assert measure(batch.slice(1), KERNELS, Models()).equals(whole.slice(1))


def test_signal_that_was_not_measured():
    measured = measure(documents("a"), (RuleGroup.QUALITY,), Models())
    with pytest.raises(ValueError, match="repetition_duplicate_lines was not measured"):
        decide(signal_columns(measured), KERNELS, config())
    with pytest.raises(ValueError, match="quality_words was not measured"):
        decide({}, KERNELS, config())


def test_language_and_probability():
    signals = {
        "language": np.array(["en", "de", "en", "en", "und"], object),
        "language_probability": np.array([0.65, 0.99, 0.64, 0.66, 0], np.float32),
    }
    section = Language(model="m", keep=("eng",), min_probability=0.65)
    decision = decide(signals, (RuleGroup.LANGUAGE,), config(language=section))
    first = [RULES[i] if i >= 0 else None for i in decision.first]
    assert first == [None, Rule.LANGUAGE, Rule.MIN_PROBABILITY, None, Rule.LANGUAGE]
    assert decision.detail.to_pylist() == [None, "de", None, None, "und"]
    assert decision.threshold[2] == 0.65
    assert decision.failed[4] == Rule.LANGUAGE.bit | Rule.MIN_PROBABILITY.bit


def test_safety_rules():
    signals = {
        "safety_probability": np.array([0.5, 0.51, 0.1], np.float32),
        "safety_word": np.array([None, "bad", "bad"], object),
    }
    both = config(safety=Safety(model="m", words="w"))
    decision = decide(signals, (RuleGroup.SAFETY,), both)
    assert [RULES[i] if i >= 0 else None for i in decision.first] == [
        None,
        Rule.UNSAFE,
        Rule.UNSAFE_WORD,
    ]
    assert decision.detail.to_pylist() == [None, None, "bad"]
    assert decision.failed[1] == Rule.UNSAFE.bit | Rule.UNSAFE_WORD.bit
    words_only = decide(signals, (RuleGroup.SAFETY,), config(safety=Safety(words="w")))
    assert words_only.failed.tolist() == [0, Rule.UNSAFE_WORD.bit, Rule.UNSAFE_WORD.bit]
    model_only = decide(signals, (RuleGroup.SAFETY,), config(safety=Safety(model="m")))
    assert model_only.failed.tolist() == [0, Rule.UNSAFE.bit, 0]


def test_all_groups_with_models(tmp_path):
    (tmp_path / "train.txt").write_text("__label__en the cat\n__label__de die Katze\n" * 50)
    model = fasttext.train_supervised(
        str(tmp_path / "train.txt"), dim=4, epoch=20, lr=0.5, thread=1, verbose=0
    )
    path = str(tmp_path / "model.bin")
    model.save_model(path)
    (tmp_path / "words.txt").write_text("bad\n")
    section = Safety(model=path, label="de", words=str(tmp_path / "words.txt"))
    whole = config(language=Language(model=path), safety=section)
    rules.warm_up()
    measured = measure(
        documents("the cat", "die Katze", "the bad cat"), ALL, rules.load_models(whole, ALL)
    )
    assert all(measured.column(n).null_count == 0 for n in SIGNALS.names if n != "safety_word")
    decision = decide(signal_columns(measured), ALL, whole)
    assert [RULES[i] for i in decision.first] == [Rule.MIN_WORDS, Rule.LANGUAGE, Rule.UNSAFE_WORD]
    assert decision.detail.to_pylist() == [None, "de", "bad"]


def test_group_without_its_section():
    for group in (RuleGroup.LANGUAGE, RuleGroup.SAFETY):
        with pytest.raises(ConfigError, match=f"no section {group}"):
            rules.load_models(config(), (group,))
    assert rules.load_models(config(), KERNELS) == Models()
