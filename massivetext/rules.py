"""Rules apart from signals: what is measured once, and which documents the thresholds drop.

`measure` appends signals to a batch of documents; `decide` holds stored signals against the
thresholds of a config, without text, in the order in which Gopher applies its rules. A document on
a threshold stays: the paper removes what is above or below.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from . import quality, repetition
from .config import Config, RuleGroup
from .dataset import sha256_file
from .document import text_buffers

if TYPE_CHECKING:
    from .language import LanguageModel
    from .safety import SafetyModel

# Raise it when a signal or a rule changes its meaning: measured documents are then measured again.
RULE_VERSION = 1

_QUALITY = (
    ("words", pa.int64()),
    ("mean_word_length", pa.float64()),
    ("hash_ratio", pa.float64()),
    ("ellipsis_ratio", pa.float64()),
    ("bullet_lines", pa.float64()),
    ("ellipsis_lines", pa.float64()),
    ("alphabetic_words", pa.float64()),
    ("stop_words", pa.int64()),
)
_REPETITION = (
    "duplicate_lines",
    "duplicate_paragraphs",
    "duplicate_line_characters",
    "duplicate_paragraph_characters",
    *(f"top_{n}gram" for n in repetition.TOP),
    *(f"duplicate_{n}gram" for n in repetition.DUPLICATE),
)

# Columns of a measured document, null where the subset's rules do not ask for them.
SIGNALS: list[pa.Field] = [
    pa.field("language", pa.string()),
    pa.field("language_probability", pa.float32()),
    pa.field("safety_probability", pa.float32()),
    pa.field("safety_word", pa.string()),
    *(pa.field(f"quality_{name}", kind) for name, kind in _QUALITY),
    *(pa.field(f"repetition_{name}", pa.float64()) for name in _REPETITION),
]


class Rule(StrEnum):
    """Every reason for which a rule drops a document, in the paper's order."""

    LANGUAGE = "language"
    LANGUAGE_PROBABILITY = "language_probability"
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


RULES = tuple(Rule)


@dataclass(frozen=True)
class Models:
    """The fastText models and word lists that a subset's rules need."""

    language: "LanguageModel | None" = None
    safety: "SafetyModel | None" = None


def load_models(config: Config, groups: tuple[RuleGroup, ...]) -> Models:
    """Load what `groups` need.

    Raises:
      ConfigError: a model or a word list is missing or broken.
    """
    from .language import LanguageModel
    from .safety import SafetyModel

    language = safety = None
    if RuleGroup.LANGUAGE in groups and config.language is not None:
        language = LanguageModel(config.language.model)
    if RuleGroup.SAFETY in groups and config.safety is not None:
        safety = SafetyModel(config.safety)
    return Models(language, safety)


def model_fingerprints(config: Config) -> dict[str, str]:
    """Return the sha256 of every file that signals depend on: its contents, not its place."""
    from pathlib import Path

    paths = {
        "language": config.language.model if config.language else None,
        "safety": config.safety.model if config.safety else None,
        "words": config.safety.words if config.safety else None,
    }
    found = {name: sha256_file(Path(path)) for name, path in paths.items() if path}
    if config.safety:
        found["safety_label"] = config.safety.label
    return found


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    quality.warm_up()
    repetition.warm_up()


def measure(batch: pa.RecordBatch, groups: tuple[RuleGroup, ...], models: Models) -> pa.RecordBatch:
    """Append the columns `SIGNALS` to a `DOCUMENT` batch; null where `groups` do not ask."""
    data, offsets = text_buffers(batch.column("text"))
    found: dict[str, pa.Array] = {}
    if RuleGroup.LANGUAGE in groups and models.language is not None:
        labels, probabilities = models.language.predict(data, offsets)
        found["language"] = pa.array(labels, pa.string())
        found["language_probability"] = pa.array(probabilities, pa.float32())
    if RuleGroup.SAFETY in groups and models.safety is not None:
        found.update(models.safety.measure(data, offsets))
    if RuleGroup.QUALITY in groups:
        for name, values in quality.signals(data, offsets).items():
            found[f"quality_{name}"] = pa.array(values)
    if RuleGroup.REPETITION in groups:
        for name, values in repetition.signals(data, offsets).items():
            found[f"repetition_{name}"] = pa.array(values)
    columns = [
        found[signal.name] if signal.name in found else pa.nulls(batch.num_rows, signal.type)
        for signal in SIGNALS
    ]
    return pa.RecordBatch.from_arrays(
        [*batch.columns, *columns], schema=pa.schema([*batch.schema, *SIGNALS])
    )


@dataclass(frozen=True)
class Decision:
    """What the thresholds say of n documents.

    Attributes:
      first: int8[n], the index in `RULES` of the first rule that fails; -1 for a document that stays.
      failed: uint64[n], bit i is set when `RULES[i]` fails.
      value, threshold: float64[n], of the first failing rule; NaN where there is none.
      detail: what a number cannot say, by row: the language found, the word matched.
    """

    first: np.ndarray
    failed: np.ndarray
    value: np.ndarray
    threshold: np.ndarray
    detail: dict[int, str] = field(default_factory=dict)

    @property
    def dropped(self) -> np.ndarray:
        return self.first >= 0

    def names(self, rows: np.ndarray) -> list[str]:
        return [str(RULES[self.first[row]]) for row in rows]

    def details(self, rows: np.ndarray) -> list[str | None]:
        return [self.detail.get(int(row)) for row in rows]

    def failed_names(self, row: int) -> list[str]:
        return [str(rule) for i, rule in enumerate(RULES) if int(self.failed[row]) >> i & 1]


def decide(batch: pa.RecordBatch, groups: tuple[RuleGroup, ...], config: Config) -> Decision:
    """Apply the rules of `groups` to a batch with the columns `SIGNALS`."""
    n = batch.num_rows
    result = Decision(
        np.full(n, -1, np.int8), np.zeros(n, np.uint64), np.full(n, np.nan), np.full(n, np.nan)
    )

    def fail(rule: Rule, failing: np.ndarray, value: np.ndarray, threshold: float) -> np.ndarray:
        """Record a rule's verdict; return the rows it is the first to drop."""
        number = RULES.index(rule)
        result.failed[failing] |= np.uint64(1 << number)
        first = failing & (result.first < 0)
        result.first[first] = number
        result.value[first] = value[first]
        result.threshold[first] = threshold
        return np.flatnonzero(first)

    def above(rule: Rule, column: str, threshold: float) -> None:
        value = _numbers(batch, column)
        fail(rule, value > threshold, value, threshold)

    def below(rule: Rule, column: str, threshold: float) -> None:
        value = _numbers(batch, column)
        fail(rule, value < threshold, value, threshold)

    if RuleGroup.LANGUAGE in groups and config.language is not None:
        _language(batch, config.language.keep, config.language.min_probability, fail, result)
    if RuleGroup.SAFETY in groups and config.safety is not None:
        above(Rule.UNSAFE, "safety_probability", config.safety.max_probability)
        words = batch.column("safety_word")
        found = np.asarray(words.is_valid())
        for row in fail(Rule.UNSAFE_WORD, found, np.full(n, np.nan), np.nan):
            result.detail[int(row)] = f"word {words[int(row)].as_py()!r}"
    for group, prefix, thresholds in (
        (RuleGroup.QUALITY, "quality_", config.quality),
        (RuleGroup.REPETITION, "repetition_", config.repetition),
    ):
        if group in groups:
            for limit in fields(thresholds):
                compare = above if limit.name.startswith("max_") else below
                column = prefix + limit.name.removeprefix("max_").removeprefix("min_")
                compare(Rule(limit.name), column, getattr(thresholds, limit.name))
    return result


def _language(
    batch: pa.RecordBatch,
    keep: tuple[str, ...],
    min_probability: float,
    fail: Callable[[Rule, np.ndarray, np.ndarray, float], np.ndarray],
    result: Decision,
) -> None:
    labels = batch.column("language")
    probability = _numbers(batch, "language_probability")
    kept = np.asarray(labels.is_valid()) & np.isin(
        np.asarray(labels.to_pylist(), dtype=object).astype(str), keep
    )
    measured = ~np.isnan(probability)
    first = fail(Rule.LANGUAGE, measured & ~kept, probability, min_probability)
    # Stored as float32: compare with the threshold as float32, or 0.9 would be below 0.9.
    threshold = float(np.float32(min_probability))
    fail(Rule.LANGUAGE_PROBABILITY, probability < threshold, probability, min_probability)
    for row in first:
        result.detail[int(row)] = f"language {labels[int(row)].as_py()!r}"


def _numbers(batch: pa.RecordBatch, column: str) -> np.ndarray:
    """Return a signal as float64, NaN where it was not measured: a comparison is then false."""
    return batch.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
