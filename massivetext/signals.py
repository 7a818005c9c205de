"""Measures documents: edits their text where the config asks for it, and appends every signal.

Signals are kept apart from thresholds: what is measured here is stored, and `rules.decide` holds it
against a config, so a changed threshold decides anew without measuring anew.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from . import (
    c4,
    classifier,
    fineweb,
    language,
    pareto,
    pii,
    quality,
    repetition,
    repetition_datatrove,
    safety,
    urls,
)
from .config import Config, Mask
from .config_rules import NEED_SECTION, RuleGroup
from .document import text_buffers
from .errors import ConfigError
from .language import LanguageModel
from .rules import SIGNALS
from .safety import LabelModel, WordList
from .test_sets import expand
from .urls import BlockList

# Raised whenever a kernel gives other values for the same text.
SIGNALS_VERSION = 2


@dataclass(frozen=True)
class Measurer:
    """What it takes to measure the documents of one subset. Does not pickle: load in the worker.

    Attributes:
      groups: what is measured; the signals of the other groups are null.
      mask: which personal data is replaced.
    """

    config: Config
    groups: tuple[RuleGroup, ...]
    mask: tuple[Mask, ...] = ()
    blocked: BlockList | None = None
    language: LanguageModel | None = None
    unsafe: LabelModel | None = None
    words: WordList | None = None
    classifier: LabelModel | None = None

    @classmethod
    def load(
        cls, config: Config, groups: tuple[RuleGroup, ...], mask: tuple[Mask, ...] = ()
    ) -> "Measurer":
        """Load the models and lists that `groups` need.

        Raises:
          ConfigError: a group has no section in the config, or a file of it cannot be loaded.
        """
        for group in groups:
            if group in NEED_SECTION and getattr(config, group) is None:
                raise ConfigError(f"rules name {group}, but there is no section {group}")
        blocked = language = unsafe = words = classifier = None
        if RuleGroup.URL in groups and config.url is not None:
            blocked = BlockList.read(expand(config.url.domains), expand(config.url.words))
        if RuleGroup.LANGUAGE in groups and config.language is not None:
            language = LanguageModel(config.language.model)
        if RuleGroup.SAFETY in groups and config.safety is not None:
            section = config.safety
            unsafe = LabelModel(section.model, section.label) if section.model else None
            words = WordList.read(section.words) if section.words else None
        if RuleGroup.CLASSIFIER in groups and config.classifier is not None:
            classifier = LabelModel(config.classifier.model, config.classifier.label)
        return cls(config, groups, mask, blocked, language, unsafe, words, classifier)

    def measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return `batch`, its text edited, with the columns of `rules.SIGNALS` appended, in order.

        Args:
          batch: documents; any schema with a `large_string` column `text` without nulls, and
            columns `url` and `id` where the groups URL and CLASSIFIER are measured.
        """
        measured: dict[str, Any] = {}
        column = batch.column("text")
        if RuleGroup.C4 in self.groups:
            column, found = c4.edit(column, self.config.c4)
            measured |= {f"c4_{name}": values for name, values in found.items()}
        if self.mask:
            column, found = pii.mask(column, self.mask)
            measured |= {f"masked_{name}": values for name, values in found.items()}
        measured |= self._models(batch, column)
        measured |= self._kernels(column)
        columns = [
            pa.array(measured[field.name], field.type)
            if field.name in measured
            else pa.nulls(batch.num_rows, field.type)
            for field in SIGNALS
        ]
        own = [column if name == "text" else batch.column(name) for name in batch.schema.names]
        return pa.RecordBatch.from_arrays(
            [*own, *columns], schema=pa.schema([*batch.schema, *SIGNALS])
        )

    def _models(self, batch: pa.RecordBatch, column: pa.Array) -> dict[str, Any]:
        data, offsets = text_buffers(column)
        measured: dict[str, Any] = {}
        if self.blocked is not None:
            measured["url_domain"], measured["url_word"] = self.blocked.match(batch.column("url"))
        if self.language is not None:
            measured["language"], measured["language_probability"] = self.language.predict(
                data, offsets
            )
        if self.unsafe is not None:
            measured["safety_probability"] = self.unsafe.predict(data, offsets)
        if self.words is not None:
            measured["safety_word"] = self.words.first_match(column)
        if self.classifier is not None:
            measured["classifier_probability"] = self.classifier.predict(data, offsets)
            measured["classifier_draw"] = pareto.draws(batch.column("id"), self.config.seed)
        return measured

    def _kernels(self, column: pa.Array) -> dict[str, np.ndarray]:
        data, offsets = text_buffers(column)
        datatrove = self.config.repetition.compat is not None
        kernels = {
            RuleGroup.QUALITY: quality.signals,
            RuleGroup.REPETITION: repetition_datatrove.signals if datatrove else repetition.signals,
            RuleGroup.FINEWEB: fineweb.signals,
        }
        return {
            f"{group}_{name}": values
            for group, kernel in kernels.items()
            if group in self.groups
            for name, values in kernel(data, offsets).items()
        }


def warm_up(config: Config) -> None:
    """Compile the kernels that the subsets of `config` need, or load them from the cache."""
    groups = {group for name in config.subsets for group in config.rules(name)}
    datatrove = config.repetition.compat is not None
    kernels = {
        RuleGroup.URL: (urls,),
        RuleGroup.LANGUAGE: (language,),
        RuleGroup.SAFETY: (safety, classifier),
        RuleGroup.CLASSIFIER: (classifier,),
        RuleGroup.QUALITY: (quality,),
        RuleGroup.REPETITION: (repetition_datatrove if datatrove else repetition,),
        RuleGroup.C4: (c4,),
        RuleGroup.FINEWEB: (fineweb,),
    }
    for group in sorted(groups):
        for module in kernels[group]:
            module.warm_up()
    if any(subset.mask for subset in config.subsets.values()):
        pii.warm_up()
