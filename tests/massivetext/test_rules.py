import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pytest

from massivetext import rules
from massivetext.config import Config, Subset
from massivetext.config_rules import (
    C4,
    Classifier,
    FineWeb,
    Language,
    Quality,
    Repetition,
    RuleGroup,
    Safety,
    Url,
)
from massivetext.pareto import draws
from massivetext.rules import RULES, Rule, decide, signal_columns
from massivetext.signals import Measurer

KERNELS = (RuleGroup.QUALITY, RuleGroup.REPETITION)


def config(**sections) -> Config:
    return Config(output="out", subsets={"massiveweb": Subset(input=("in",))}, **sections)


def documents(*texts: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"])


def measured(*texts: str, groups=KERNELS) -> dict[str, np.ndarray]:
    return signal_columns(Measurer.load(config(), groups).measure(documents(*texts)))


def fails(text: str, rule: Rule) -> bool:
    signals = measured(text)
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
    signals = measured(BOUNDARIES[rule][0])
    assert signals[rules.signal_of(rule)][0] == getattr(section, rule)


def test_rules_are_the_fields_of_the_config():
    sections = {
        RuleGroup.QUALITY: Quality,
        RuleGroup.REPETITION: Repetition,
        RuleGroup.C4: C4,
        RuleGroup.FINEWEB: FineWeb,
    }
    # These say how lines are removed or signals measured: nothing is dropped by them alone.
    others = {"compat", "terminal_punctuation", "min_line_words", "max_word_characters"}
    for group, section in sections.items():
        names = [rule for rule in RULES if rules.group_of(rule) == group]
        fields = [field.name for field in dataclasses.fields(section)]
        assert names == [name for name in fields if name not in others]


def test_rules_are_in_the_order_of_the_groups():
    groups = [rules.group_of(rule) for rule in RULES]
    assert list(dict.fromkeys(groups)) == list(RuleGroup)
    assert groups == sorted(groups, key=list(RuleGroup).index)


def test_first_rule_value_threshold_and_mask():
    text = "# " * 30
    signals = measured(text, words(50, the=1, be=1))
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
    signals = measured("x")
    assert not decide(signals, (RuleGroup.QUALITY,), config()).keep[0]
    assert decide(signals, (RuleGroup.REPETITION,), config()).keep[0]
    assert decide(signals, (), config()).keep[0]


def test_signal_that_was_not_measured():
    signals = measured("a", groups=(RuleGroup.QUALITY,))
    with pytest.raises(ValueError, match="repetition_duplicate_lines was not measured"):
        decide(signals, KERNELS, config())
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


def test_url_rules():
    signals = {
        "url_domain": np.array(["bad.org", None, None, "bad.org"], object),
        "url_word": np.array([None, "casino", None, "casino"], object),
    }
    both = config(url=Url(domains=("d",), words=("w",)))
    decision = decide(signals, (RuleGroup.URL,), both)
    first = [RULES[i] if i >= 0 else None for i in decision.first]
    assert first == [Rule.URL_DOMAIN, Rule.URL_WORD, None, Rule.URL_DOMAIN]
    assert decision.detail.to_pylist() == ["bad.org", "casino", None, "bad.org"]
    assert decision.failed[3] == Rule.URL_DOMAIN.bit | Rule.URL_WORD.bit
    words_only = decide(signals, (RuleGroup.URL,), config(url=Url(words=("w",))))
    assert words_only.keep.tolist() == [True, False, True, False]
    with pytest.raises(ValueError, match="url_word was not measured"):
        decide({"url_domain": signals["url_domain"]}, (RuleGroup.URL,), both)


def test_classifier_rule():
    signals = {
        "classifier_probability": np.array([0.5, 0.49, 0.9], np.float32),
        "classifier_draw": np.array([0.0, 0.0, 0.0]),
    }
    section = Classifier(model="m")
    decision = decide(signals, (RuleGroup.CLASSIFIER,), config(classifier=section))
    assert decision.keep.tolist() == [True, False, True]
    assert decision.threshold[1] == 0.5
    assert decision.value[1] == pytest.approx(0.49)


def test_classifier_rule_by_pareto():
    # A draw of u keeps what scores at least 2 - (1 - u) ** (-1 / alpha).
    signals = {
        "classifier_probability": np.array([0.9, 1.0, 0.0, 0.0, 0.5], np.float32),
        "classifier_draw": np.array([0.0, 0.0, 1 - 2.0**-9, 0.998, 1 - 1.5**-9]),
    }
    section = config(classifier=Classifier(model="m", pareto=9.0))
    decision = decide(signals, (RuleGroup.CLASSIFIER,), section)
    assert decision.keep.tolist() == [False, True, True, False, True]
    assert decision.threshold[0] == 1.0
    assert 0 < decision.threshold[3] < 0.01


def test_pareto_keeps_the_share_of_the_paper():
    ids = pa.array([f"web/page#{number}" for number in range(20_000)])
    for score in (0.0, 0.3, 0.9):
        signals = {
            "classifier_probability": np.full(len(ids), score, np.float32),
            "classifier_draw": draws(ids, 1),
        }
        section = config(classifier=Classifier(model="m", pareto=9.0))
        kept = decide(signals, (RuleGroup.CLASSIFIER,), section).keep.mean()
        expected = (2 - score) ** -9.0
        assert kept == pytest.approx(expected, abs=4 * (expected / len(ids)) ** 0.5)
    assert draws(ids, 1).tolist() == draws(ids, 1).tolist()
    assert draws(ids, 1).tolist() != draws(ids, 2).tolist()


def test_c4_and_fineweb_thresholds():
    signals = {
        "c4_sentences": np.array([3, 2, 3, 3]),
        "c4_lorem_ipsum": np.array([0, 0, 1, 0]),
        "c4_curly_brackets": np.array([0, 0, 0, 1]),
        "fineweb_punctuated_lines": np.array([0.12, 0.119, 1, 1]),
        "fineweb_short_lines": np.array([0.67, 0, 0.671, 0]),
        "fineweb_repeated_line_characters": np.array([0.01, 0, 0, 0.011]),
        "fineweb_newlines": np.array([0.3, 0.31, 0, 0]),
    }
    c4 = decide(signals, (RuleGroup.C4,), config())
    assert [RULES[i] if i >= 0 else None for i in c4.first] == [
        None,
        Rule.MIN_SENTENCES,
        Rule.MAX_LOREM_IPSUM,
        Rule.MAX_CURLY_BRACKETS,
    ]
    fineweb = decide(signals, (RuleGroup.FINEWEB,), config())
    assert [RULES[i] if i >= 0 else None for i in fineweb.first] == [
        None,
        Rule.MIN_PUNCTUATED_LINES,
        Rule.MAX_SHORT_LINES,
        Rule.MAX_REPEATED_LINE_CHARACTERS,
    ]
    assert fineweb.failed[1] == Rule.MIN_PUNCTUATED_LINES.bit | Rule.MAX_NEWLINES.bit
