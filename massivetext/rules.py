"""The filter rules: which signals are measured, and what each rule makes of them.

Signals are kept apart from thresholds: `measure` appends them to the documents, `decide` holds
them against a config, so a changed threshold decides anew without measuring anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import quality, repetition, safety
from .config import Config, RuleGroup
from .document import text_buffers
from .errors import ConfigError
from .language import LanguageModel, language_code
from .safety import SafetyModel

# Raised whenever a kernel or a rule gives other values for the same text.
RULE_VERSION = 1


class Rule(StrEnum):
    """Every rule, in the order in which Gopher applies them; named as its threshold's field."""

    LANGUAGE = "language"
    MIN_PROBABILITY = "min_probability"
    UNSAFE = "unsafe"
    UNSAFE_WORD = "unsafe_word"
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

    @property
    def bit(self) -> np.uint64:
        """The rule's bit in `Decision.failed`."""
        return np.uint64(1 << RULES.index(self))


RULES = tuple(Rule)

_BY_THRESHOLD = RULES[RULES.index(Rule.MIN_WORDS) :]
_REPETITION = RULES[RULES.index(Rule.MAX_DUPLICATE_LINES) :]


def group_of(rule: Rule) -> RuleGroup:
    """Return the group that `rule` belongs to."""
    if rule in (Rule.LANGUAGE, Rule.MIN_PROBABILITY):
        return RuleGroup.LANGUAGE
    if rule in (Rule.UNSAFE, Rule.UNSAFE_WORD):
        return RuleGroup.SAFETY
    return RuleGroup.REPETITION if rule in _REPETITION else RuleGroup.QUALITY


def signal_of(rule: Rule) -> str:
    """Return the name of the signal column that `rule` judges."""
    other = {
        Rule.LANGUAGE: "language",
        Rule.MIN_PROBABILITY: "language_probability",
        Rule.UNSAFE: "safety_probability",
        Rule.UNSAFE_WORD: "safety_word",
    }
    return other.get(rule) or f"{group_of(rule)}_{rule[4:]}"


def _signal_fields() -> list[pa.Field]:
    fields = [
        pa.field("language", pa.string()),
        pa.field("language_probability", pa.float32()),
        pa.field("safety_probability", pa.float32()),
        pa.field("safety_word", pa.string()),
    ]
    counts = ("quality_words", "quality_stop_words")
    # A minimum and a maximum judge the same signal: it has one column.
    for name in dict.fromkeys(signal_of(rule) for rule in _BY_THRESHOLD):
        fields.append(pa.field(name, pa.int64() if name in counts else pa.float64()))
    return fields


# Columns that `measure` appends; null where their group was not measured.
SIGNALS = pa.schema(_signal_fields())


@dataclass(frozen=True)
class Models:
    """What the language and safety groups need. Does not pickle: load it in each worker."""

    language: LanguageModel | None = None
    safety: SafetyModel | None = None


def load_models(config: Config, groups: tuple[RuleGroup, ...]) -> Models:
    """Load the models that `groups` need.

    Raises:
      ConfigError: a group has no section in the config, or a model cannot be loaded.
    """
    language_model = safety_model = None
    if RuleGroup.LANGUAGE in groups:
        if config.language is None:
            raise ConfigError("rules name language, but there is no section language with a model")
        language_model = LanguageModel(config.language.model)
    if RuleGroup.SAFETY in groups:
        if config.safety is None:
            raise ConfigError("rules name safety, but there is no section safety")
        safety_model = SafetyModel(config.safety.model, config.safety.label, config.safety.words)
    return Models(language_model, safety_model)


def warm_up(groups: tuple[RuleGroup, ...] = tuple(RuleGroup)) -> None:
    """Compile the kernels that `groups` need, or load them from the cache."""
    if RuleGroup.SAFETY in groups:
        safety.warm_up()
    if RuleGroup.QUALITY in groups:
        quality.warm_up()
    if RuleGroup.REPETITION in groups:
        repetition.warm_up()


def measure(batch: pa.RecordBatch, groups: tuple[RuleGroup, ...], models: Models) -> pa.RecordBatch:
    """Return `batch` with the columns of `SIGNALS` appended, in order.

    Args:
      batch: documents; any schema with a string column `text` without nulls.
      groups: what to measure; the signals of the other groups are null.
      models: as from `load_models` for the same groups.
    """
    column = batch.column("text")
    data, offsets = text_buffers(column)
    measured: dict[str, Any] = {}
    if RuleGroup.LANGUAGE in groups:
        assert models.language is not None, "load_models loads it for this group"
        measured["language"], measured["language_probability"] = models.language.predict(
            data, offsets
        )
    if RuleGroup.SAFETY in groups:
        assert models.safety is not None, "load_models loads it for this group"
        if models.safety.classifier is not None:
            measured["safety_probability"] = models.safety.classifier.predict(data, offsets)
        if models.safety.words is not None:
            measured["safety_word"] = models.safety.words.first_match(column)
    kernels: dict[RuleGroup, Callable[..., dict[str, np.ndarray]]] = {
        RuleGroup.QUALITY: quality.signals,
        RuleGroup.REPETITION: repetition.signals,
    }
    for group, kernel in kernels.items():
        if group in groups:
            for name, values in kernel(data, offsets).items():
                measured[f"{group}_{name}"] = values
    columns = [
        pa.array(measured[field.name], field.type)
        if field.name in measured
        else pa.nulls(batch.num_rows, field.type)
        for field in SIGNALS
    ]
    return pa.RecordBatch.from_arrays(
        [*batch.columns, *columns], schema=pa.schema([*batch.schema, *SIGNALS])
    )


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
    threshold: float = np.nan
    detail: pa.Array | None = None


def decide(
    signals: Mapping[str, np.ndarray], groups: tuple[RuleGroup, ...], config: Config
) -> Decision:
    """Apply the rules of `groups` to measured signals.

    A document fails a minimum below it and a maximum above it; equal to either it stays.

    Args:
      signals: arrays of n values by the names of `SIGNALS`, as from `signal_columns`.
      groups: which rules to apply.
      config: thresholds, and whether safety has a model, words or both.

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
        threshold[new] = verdict.threshold
        if verdict.values is not None:
            value[new] = verdict.values[new]
        if verdict.detail is not None:
            detail = pc.if_else(pa.array(new), verdict.detail, detail)
    return Decision(first, value, threshold, detail, failed)


def _judge(rule: Rule, signals: Mapping[str, np.ndarray], config: Config) -> _Verdict | None:
    """Return the verdict of one rule, or None when the config does not ask for it."""
    if rule is Rule.LANGUAGE:
        assert config.language is not None, "load_models has checked this"
        language = pa.array(_measured(signals, rule), pa.string())
        keep = pa.array([language_code(name) for name in config.language.keep])
        return _Verdict(~np.asarray(pc.is_in(language, keep)), detail=language)
    if rule is Rule.UNSAFE_WORD:
        if config.safety is None or config.safety.words is None:
            return None
        if signal_of(rule) not in signals:
            raise ValueError("signal safety_word was not measured")
        word = pa.array(signals[signal_of(rule)], pa.string())
        return _Verdict(np.asarray(pc.is_valid(word)), detail=word)

    if rule is Rule.MIN_PROBABILITY:
        assert config.language is not None, "load_models has checked this"
        limit = config.language.min_probability
    elif rule is Rule.UNSAFE:
        if config.safety is None or config.safety.model is None:
            return None
        limit = config.safety.max_probability
    else:
        limit = getattr(getattr(config, group_of(rule)), rule)
    values = _measured(signals, rule)
    # Compared as the signal is stored: the float32 nearest to 0.65 is not less than 0.65.
    bound = np.float32(limit) if values.dtype == np.float32 else limit
    return _Verdict(values < bound if rule.startswith("min_") else values > bound, values, limit)


def _measured(signals: Mapping[str, np.ndarray], rule: Rule) -> np.ndarray:
    name = signal_of(rule)
    values = signals.get(name)
    if values is None or pc.any(pc.is_null(pa.array(values), nan_is_null=True)).as_py():
        raise ValueError(f"signal {name} was not measured; measure {group_of(rule)} first")
    return values
