"""The filter rules: what each makes of the signals that `signals` measured.

Signals are kept apart from thresholds, so a changed threshold decides anew without reading text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .config import Config
from .config_rules import RuleGroup
from .language import language_code
from .pareto import limits

# Raised whenever a rule decides otherwise on the same signals.
RULE_VERSION = 2


class Rule(StrEnum):
    """Every rule, in the order of the groups; named as its threshold's field where it has one."""

    URL_DOMAIN = "url_domain"
    URL_WORD = "url_word"
    LANGUAGE = "language"
    MIN_PROBABILITY = "min_probability"
    UNSAFE = "unsafe"
    UNSAFE_WORD = "unsafe_word"
    CLASSIFIER = "classifier"
    MIN_WORDS = "min_words"
    MAX_WORDS = "max_words"
    MIN_MEAN_WORD_LENGTH = "min_mean_word_length"
    MAX_MEAN_WORD_LENGTH = "max_mean_word_length"
    MAX_HASH_RATIO = "max_hash_ratio"
    MAX_ELLIPSIS_RATIO = "max_ellipsis_ratio"
    MAX_BULLET_LINES = "max_bullet_lines"
    MAX_ELLIPSIS_LINES = "max_ellipsis_lines"
    MIN_ALPHABETIC_WORDS = "min_alphabetic_words"
    MIN_STOP_WORDS = "min_stop_words"
    MAX_DUPLICATE_LINES = "max_duplicate_lines"
    MAX_DUPLICATE_PARAGRAPHS = "max_duplicate_paragraphs"
    MAX_DUPLICATE_LINE_CHARACTERS = "max_duplicate_line_characters"
    MAX_DUPLICATE_PARAGRAPH_CHARACTERS = "max_duplicate_paragraph_characters"
    MAX_TOP_2GRAM = "max_top_2gram"
    MAX_TOP_3GRAM = "max_top_3gram"
    MAX_TOP_4GRAM = "max_top_4gram"
    MAX_DUPLICATE_5GRAM = "max_duplicate_5gram"
    MAX_DUPLICATE_6GRAM = "max_duplicate_6gram"
    MAX_DUPLICATE_7GRAM = "max_duplicate_7gram"
    MAX_DUPLICATE_8GRAM = "max_duplicate_8gram"
    MAX_DUPLICATE_9GRAM = "max_duplicate_9gram"
    MAX_DUPLICATE_10GRAM = "max_duplicate_10gram"
    MIN_SENTENCES = "min_sentences"
    MAX_LOREM_IPSUM = "max_lorem_ipsum"
    MAX_CURLY_BRACKETS = "max_curly_brackets"
    MIN_PUNCTUATED_LINES = "min_punctuated_lines"
    MAX_SHORT_LINES = "max_short_lines"
    MAX_REPEATED_LINE_CHARACTERS = "max_repeated_line_characters"
    MAX_NEWLINES = "max_newlines"

    @property
    def bit(self) -> np.uint64:
        """The rule's bit in `Decision.failed`."""
        return np.uint64(1 << RULES.index(self))


RULES = tuple(Rule)

# The first rule of each group; the others follow it.
_FIRST = {
    RuleGroup.URL: Rule.URL_DOMAIN,
    RuleGroup.LANGUAGE: Rule.LANGUAGE,
    RuleGroup.SAFETY: Rule.UNSAFE,
    RuleGroup.CLASSIFIER: Rule.CLASSIFIER,
    RuleGroup.QUALITY: Rule.MIN_WORDS,
    RuleGroup.REPETITION: Rule.MAX_DUPLICATE_LINES,
    RuleGroup.C4: Rule.MIN_SENTENCES,
    RuleGroup.FINEWEB: Rule.MIN_PUNCTUATED_LINES,
}
_SIGNALS = {
    Rule.URL_DOMAIN: "url_domain",
    Rule.URL_WORD: "url_word",
    Rule.LANGUAGE: "language",
    Rule.MIN_PROBABILITY: "language_probability",
    Rule.UNSAFE: "safety_probability",
    Rule.UNSAFE_WORD: "safety_word",
    Rule.CLASSIFIER: "classifier_probability",
}
# Thresholds that are not named as their rule.
_THRESHOLDS = {Rule.UNSAFE: "max_probability", Rule.CLASSIFIER: "min_probability"}
# Signals that are an entry of a list found in the document, or null.
_LISTS = (Rule.URL_DOMAIN, Rule.URL_WORD, Rule.UNSAFE_WORD)


def group_of(rule: Rule) -> RuleGroup:
    """Return the group that `rule` belongs to."""
    at = RULES.index(rule)
    return [group for group, first in _FIRST.items() if RULES.index(first) <= at][-1]


def signal_of(rule: Rule) -> str:
    """Return the name of the signal column that `rule` judges."""
    return _SIGNALS.get(rule) or f"{group_of(rule)}_{rule[4:]}"


def threshold_field(rule: Rule) -> str:
    """Return the key of the rule's section that holds its threshold."""
    return _THRESHOLDS.get(rule, str(rule))


def threshold(config: Config, rule: Rule) -> int | float | None:
    """Return the number that `rule` holds its signal against, or None where there is none."""
    section = getattr(config, group_of(rule))
    limit = getattr(section, threshold_field(rule), None)
    drawn = getattr(section, "pareto", None) is not None  # of each document anew
    return limit if isinstance(limit, int | float) and not drawn else None


def _signal_fields() -> list[pa.Field]:
    fields = [
        pa.field("masked_emails", pa.int64()),
        pa.field("masked_ips", pa.int64()),
        pa.field("c4_removed_lines", pa.int64()),
        pa.field("classifier_draw", pa.float64()),
    ]
    texts = {signal_of(rule) for rule in (*_LISTS, Rule.LANGUAGE)}
    counts = {"quality_words", "quality_stop_words"}
    counts |= {signal_of(rule) for rule in RULES if group_of(rule) is RuleGroup.C4}
    # A minimum and a maximum judge the same signal: it has one column.
    for name in dict.fromkeys(signal_of(rule) for rule in RULES):
        kind = pa.float64()
        if name in texts:
            kind = pa.string()
        elif name.endswith("_probability"):
            kind = pa.float32()
        elif name in counts:
            kind = pa.int64()
        fields.append(pa.field(name, kind))
    return fields


# Columns that `signals.measure` appends; null where their group was not measured.
SIGNALS = pa.schema(_signal_fields())


def signal_columns(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """Return the signal columns of `batch` as `decide` takes them; nulls are NaN or None."""
    return {
        name: batch.column(name).to_numpy(zero_copy_only=False)
        for name in SIGNALS.names
        if name in batch.schema.names
    }


@dataclass(frozen=True)
class Decision:
    """The verdict on n documents.

    Attributes:
      first: int64 (n,): index in `RULES` of the first rule failed, -1 where the document stays.
      value: float64 (n,): what that rule measured; NaN where nothing failed or it is no number.
      threshold: float64 (n,): what it was held against; likewise.
      detail: string (n,): the language, or the word of the list, that failed; null otherwise.
      failed: uint64 (n,): a bit per rule failed (`Rule.bit`).
    """

    first: np.ndarray
    value: np.ndarray
    threshold: np.ndarray
    detail: pa.Array
    failed: np.ndarray

    @property
    def keep(self) -> np.ndarray:
        """bool (n,): which documents stay."""
        return self.first < 0


@dataclass(frozen=True)
class _Verdict:
    failed: np.ndarray
    values: np.ndarray | None = None
    limits: np.ndarray | None = None
    detail: pa.Array | None = None


def decide(
    signals: Mapping[str, np.ndarray], groups: tuple[RuleGroup, ...], config: Config
) -> Decision:
    """Apply the rules of `groups` to measured signals.

    A document fails a minimum below it and a maximum above it; equal to either it stays.

    Args:
      signals: arrays of n values by the names of `SIGNALS`, as from `signal_columns`.
      groups: which rules to apply; a group that needs a section of the config must have it.
      config: thresholds, and which lists and models there are.

    Raises:
      ValueError: a signal that a rule needs was not measured (absent or null).
    """
    n = len(next(iter(signals.values()))) if signals else 0
    first = np.full(n, -1, np.int64)
    value = np.full(n, np.nan)
    threshold = np.full(n, np.nan)
    failed = np.zeros(n, np.uint64)
    detail = pa.nulls(n, pa.string())
    for index, rule in enumerate(RULES):
        if group_of(rule) not in groups:
            continue
        verdict = _judge(rule, signals, config)
        if verdict is None:
            continue
        failed[verdict.failed] |= rule.bit
        new = verdict.failed & (first < 0)
        first[new] = index
        if verdict.limits is not None:
            threshold[new] = verdict.limits[new]
        if verdict.values is not None:
            value[new] = verdict.values[new]
        if verdict.detail is not None:
            detail = pc.if_else(pa.array(new), verdict.detail, detail)
    return Decision(first, value, threshold, detail, failed)


def _judge(rule: Rule, signals: Mapping[str, np.ndarray], config: Config) -> _Verdict | None:
    """Return the verdict of one rule, or None when the config does not ask for it."""
    group = group_of(rule)
    section = getattr(config, group)
    assert section is not None, "checked when the models are loaded"
    if rule in _LISTS:
        wanted = {Rule.URL_DOMAIN: "domains", Rule.URL_WORD: "words", Rule.UNSAFE_WORD: "words"}
        if not getattr(section, wanted[rule]):
            return None
        if signal_of(rule) not in signals:
            raise ValueError(f"signal {signal_of(rule)} was not measured")
        entry = pa.array(signals[signal_of(rule)], pa.string())
        return _Verdict(np.asarray(pc.is_valid(entry)), detail=entry)
    if rule is Rule.UNSAFE and section.model is None:
        return None
    values = _measured(signals, signal_of(rule))
    if rule is Rule.LANGUAGE:
        language = pa.array(values, pa.string())
        keep = pa.array([language_code(name) for name in section.keep])
        return _Verdict(~np.asarray(pc.is_in(language, keep)), detail=language)
    if rule is Rule.CLASSIFIER and section.pareto is not None:
        limit = limits(_measured(signals, "classifier_draw"), section.pareto)
        return _Verdict(values < limit, values, limit)

    limit = getattr(section, threshold_field(rule))
    return _Verdict(fails(rule, values, limit), values, np.full(len(values), float(limit)))


def fails(rule: Rule, values: np.ndarray, limit: float) -> np.ndarray:
    """Return which of n measured values a rule with the threshold `limit` drops, bool (n,)."""
    # Compared as the signal is stored: the float32 nearest to 0.65 is not less than 0.65.
    bound = np.float32(limit) if values.dtype == np.float32 else limit
    return values < bound if threshold_field(rule).startswith("min_") else values > bound


def _measured(signals: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    values = signals.get(name)
    if values is None or pc.any(pc.is_null(pa.array(values), nan_is_null=True)).as_py():
        raise ValueError(f"signal {name} was not measured")
    return values
