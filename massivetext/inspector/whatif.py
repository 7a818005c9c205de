"""What other thresholds would change, from signals that are held in memory.

All documents up to `SAMPLE_ROWS`; of more, a sample: the heads of row groups that lie evenly over
every subset. Counts of a sample are scaled to the subset, and answers say what share was read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from ..config import Config
from ..config_file import load
from ..data_card import bins
from ..errors import ConfigError, nearest
from ..rules import (
    RULES,
    SIGNALS,
    Decision,
    Rule,
    decide,
    fails,
    group_of,
    signal_of,
    threshold,
    threshold_field,
)
from . import tables
from .catalogue import Catalogue, Part

SAMPLE_ROWS = 1 << 18
# Row groups that a sample is taken from: to open one costs some 20 ms.
BLOCKS = 32
EXAMPLES = 5
NUMERIC = tuple(f.name for f in SIGNALS if not pa.types.is_string(f.type))


@dataclass
class Sample:
    """Signals of n documents of a subset of `rows`, and where each document is.

    Attributes:
      signals: arrays [n] by name, as `rules.decide` takes them; those that were measured.
      part: int64 [n], index in the parts of the subset; row: int64 [n], in that part.
      failed: uint64 [n], the rules that each fails by the thresholds of the build (`Rule.bit`);
        None where these cannot judge it.
    """

    rows: int
    signals: dict[str, np.ndarray]
    part: np.ndarray
    row: np.ndarray
    failed: np.ndarray | None = None

    def at(self, places: np.ndarray) -> "Sample":
        """Return the documents at `places`, int64 [m]."""
        signals = {name: values[places] for name, values in self.signals.items()}
        return Sample(self.rows, signals, self.part[places], self.row[places])

    @property
    def scale(self) -> float:
        return self.rows / len(self.row) if len(self.row) else 1.0


def rules_of(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return the rules that hold a signal against a number, and which subsets they judge."""
    config = catalogue.config
    if config is None:
        return []
    found = []
    for rule in RULES:
        limit = threshold(config, rule)
        if limit is None:
            continue
        judged = [n for n in catalogue.parts if n in config.subsets]
        field = threshold_field(rule)
        found.append(
            {
                "rule": str(rule),
                "group": str(group_of(rule)),
                "signal": signal_of(rule),
                "limit": limit,
                "direction": field[:3],
                "subsets": [n for n in judged if group_of(rule) in config.rules(n)],
            }
        )
    return found


def sample(parts: list[Part], quota: int, blocks: int) -> Sample:
    """Return the signals of all documents of a subset, or of about `quota`, by row groups."""
    rows = sum(part.rows for part in parts)
    chosen: list[tuple[int, int, int]] = []
    if rows <= quota:
        for index, part in enumerate(parts):
            chosen += [(index, g, b - a) for g, (a, b) in enumerate(tables.groups(part.path))]
    else:
        starts = np.cumsum([0, *(part.rows for part in parts)])
        places: dict[tuple[int, int], int] = {}
        for target in (np.arange(blocks) * rows // blocks).tolist():
            index = int(np.searchsorted(starts, target, side="right")) - 1
            for group, (a, b) in enumerate(tables.groups(parts[index].path)):
                if a <= target - starts[index] < b:
                    places[index, group] = b - a
        most = -(-quota // max(1, len(places)))
        chosen = [(*place, min(most, size)) for place, size in sorted(places.items())]
    found: dict[str, list[np.ndarray]] = {}
    where: list[tuple[int, int, int]] = []
    for index, group, most in chosen:
        if not most:
            continue
        taken = 0
        for start, batch in tables.batches(parts[index].path, group, SIGNALS.names, most):
            batch = batch.slice(0, most - taken)
            for name in batch.schema.names:
                column = batch.column(name).to_numpy(zero_copy_only=False)
                found.setdefault(name, []).append(column)
            where.append((index, start, batch.num_rows))
            taken += batch.num_rows
            if taken >= most:
                break
    total = sum(count for _, _, count in where)
    signals = {}
    for name, pieces in found.items():
        values = np.concatenate(pieces)
        # A part that lacks a column, or has nulls alone: not measured.
        if len(values) == total and not _empty(values):
            signals[name] = values
    return Sample(
        rows,
        signals,
        np.repeat([i for i, _, _ in where], [n for _, _, n in where]).astype(np.int64),
        np.concatenate([np.arange(a, a + n) for _, a, n in where] or [np.zeros(0, np.int64)]),
    )


def _empty(values: np.ndarray) -> bool:
    if values.dtype == object:
        return all(value is None for value in values)
    return bool(np.isnan(values).all())


class WhatIf:
    """Answers what-if questions on one catalogue; reads its samples when it is made.

    Attributes:
      histograms: per numeric signal that was measured, extremes and a histogram of the samples.
      problems: why the rules could not be applied to a subset, by subset.
    """

    def __init__(self, catalogue: Catalogue, most: int = SAMPLE_ROWS):
        self.catalogue = catalogue
        total = sum(part.rows for parts in catalogue.parts.values() for part in parts)
        self.samples: dict[str, Sample] = {}
        self.problems: dict[str, str] = {}
        for name, parts in catalogue.parts.items():
            rows = sum(part.rows for part in parts)
            share = min(1.0, most / total) if total else 1.0
            quota = rows if share == 1 else max(1, int(rows * share))
            self.samples[name] = sample(parts, quota, max(1, round(BLOCKS * rows / max(1, total))))
            self._decide_first(name)
        self.histograms = self._histograms()

    def _decide_first(self, name: str) -> None:
        config = self.catalogue.config
        if config is None or name not in config.subsets:
            self.problems[name] = "not in config.yaml"
            return
        found = self.samples[name]
        try:
            found.failed = _decide(found, config, name).failed
        except ValueError as error:
            self.problems[name] = str(error)

    @property
    def sampled(self) -> float:
        """Share of the documents that are in the samples."""
        rows = sum(found.rows for found in self.samples.values())
        return sum(len(found.row) for found in self.samples.values()) / rows if rows else 1.0

    def _histograms(self) -> list[dict[str, Any]]:
        result = []
        for name in NUMERIC:
            arrays = [s.signals[name] for s in self.samples.values() if name in s.signals]
            values = np.concatenate(arrays) if arrays else np.zeros(0)
            values = values[~np.isnan(values)]
            if len(values):
                edges = bins.edges_of(name)
                trimmed = bins.trim({"counts": bins.count(values, edges)}, edges)
                low, high = values.min().item(), values.max().item()
                result.append({"name": name, "low": low, "high": high, **trimmed})
        return result

    def answer(self, changed: Mapping[str, float]) -> dict[str, Any]:
        """Return what the thresholds `changed`, by rule, would keep and drop, as JSON.

        Raises:
          ConfigError: a rule has no threshold here, or the config refuses the number.
        """
        if self.catalogue.config is None:
            raise ConfigError("config.yaml cannot be used, so there are no thresholds to change")
        known = {entry["rule"]: entry["limit"] for entry in rules_of(self.catalogue)}
        limits: dict[Rule, float] = {}
        for name, value in changed.items():
            if name not in known:
                raise ConfigError(f"no rule {name!r} with a threshold here{nearest(name, known)}")
            if isinstance(known[name], int):
                if not math.isfinite(value) or value != int(value):
                    raise ConfigError(f"{name} is {value!r}; it must be a whole number")
                value = int(value)
            limits[Rule(name)] = value
        sections: dict[str, dict[str, float]] = {}
        for rule, value in limits.items():
            sections.setdefault(str(group_of(rule)), {})[threshold_field(rule)] = value
        overrides = [
            f"{section}.{key}={value}"
            for section, values in sections.items()
            for key, value in values.items()
        ]
        config = load(self.catalogue.root / "config.yaml", overrides).config
        subsets, lost, won = {}, [], []
        for name, found in self.samples.items():
            if found.failed is None:
                continue
            judged = {r: v for r, v in limits.items() if group_of(r) in config.rules(name)}
            before, after = found.failed == 0, _failed(found, judged) == 0
            goes, stays = before & ~after, ~before & after
            counted = {"kept": before, "after": after, "lost": goes, "won": stays}
            subsets[name] = {k: round(int(v.sum()) * found.scale) for k, v in counted.items()}
            lost += self._examples(name, goes, config)
            won += self._examples(name, stays, self.catalogue.config)
        return {
            "rules": dict(changed),
            "subsets": subsets,
            "examples": {"lost": lost[: 2 * EXAMPLES], "won": won[: 2 * EXAMPLES]},
            "sampled": self.sampled,
            "problems": self.problems,
            "fragment": yaml.safe_dump(sections, sort_keys=False) if sections else "",
        }

    def _examples(self, subset: str, chosen: np.ndarray, config: Config) -> list[dict[str, Any]]:
        """Return where the first documents of `chosen` are, and the rule of `config` they fail."""
        found = self.samples[subset].at(np.flatnonzero(chosen)[:EXAMPLES])
        if not len(found.row):
            return []
        decision = _decide(found, config, subset)
        return [
            {
                "subset": subset,
                "part": self.catalogue.parts[subset][part].name,
                "row": row,
                "rule": str(RULES[decision.first[i]]),
                "value": float(decision.value[i]),
                "threshold": float(decision.threshold[i]),
            }
            for i, (part, row) in enumerate(
                zip(found.part.tolist(), found.row.tolist(), strict=True)
            )
        ]


def _failed(found: Sample, limits: Mapping[Rule, float]) -> np.ndarray:
    """Return the rules that each document fails, uint64 [n], with other thresholds of some."""
    assert found.failed is not None, "asked only of those that were judged"
    failed = found.failed
    # What the other rules say stays: only those of `limits` are held against their signals again.
    for rule, limit in limits.items():
        values = found.signals.get(signal_of(rule))
        if values is None:
            continue  # a rule that the config does not ask for, or a subset without documents
        bad = fails(rule, values, limit)
        failed = (failed & ~rule.bit) | np.where(bad, rule.bit, np.uint64(0))
    return failed


def _decide(found: Sample, config: Config, name: str) -> Decision:
    groups = config.rules(name) if len(found.row) else ()
    # `decide` takes the number of documents from the signals, and there may be none.
    return decide(found.signals or {"": found.row}, groups, config)
