"""What other thresholds would do, answered from the stored signals without reading text."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .card import align
from .config import Config
from .config_file import load
from .config_rules import RuleGroup
from .errors import ConfigError
from .progress import human_bytes
from .rules import RULES, SIGNALS, Decision, Rule, decide, signal_columns

BATCH_ROWS = 1 << 16
EXAMPLES = 3

# A section's thresholds decide; its other keys say what is measured, which takes a build.
_MEASURED = ("model", "label", "words", "domains", "compat")
_LINES = ("terminal_punctuation", "min_line_words", "max_word_characters")


@dataclass
class Tally:
    """What the rules did to a set of documents: how many, their text, which rule came first."""

    documents: int = 0
    text_bytes: int = 0
    rules: Counter[Rule] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, mask: np.ndarray, sizes: np.ndarray) -> None:
        self.documents += int(mask.sum())
        self.text_bytes += int(sizes[mask].sum())

    def __str__(self) -> str:
        return f"{self.documents:,} ({human_bytes(self.text_bytes)})"


@dataclass
class Change:
    """How one subset fares under the thresholds of its build and under others.

    Attributes:
      before, after: the documents that stay.
      lost: those that would go, by the first rule they would fail.
      won: those that would stay, by the first rule they fail now.
      alone: per rule, the documents that it alone would drop.
      any: per rule, the documents that would fail it, whatever else they fail.
    """

    documents: int = 0
    before: Tally = field(default_factory=Tally)
    after: Tally = field(default_factory=Tally)
    lost: Tally = field(default_factory=Tally)
    won: Tally = field(default_factory=Tally)
    alone: Counter[Rule] = field(default_factory=Counter)
    any: Counter[Rule] = field(default_factory=Counter)


def compare(root: Path, overrides: Sequence[str]) -> dict[str, Change]:
    """Decide every measured document by the build's thresholds and by the overridden ones.

    Args:
      root: the output folder of a build that has run `clean`.
      overrides: `KEY=VALUE` as for `--set`: keys of the rules' sections, or a subset's `rules`.

    Raises:
      ConfigError: an override is unknown, would change what is measured, or asks for a rule whose
        signals were not measured.
    """
    file = root / "config.yaml"
    old = load(file).config
    new = load(file, overrides).config
    _same_measurement(old, new)
    return {name: _compare_subset(root, name, old, new) for name in sorted(old.subsets)}


def _same_measurement(old: Config, new: Config) -> None:
    for name in (f.name for f in fields(Config)):
        if name == "subsets":
            same = all(
                vars(a) | {"rules": None} == vars(b) | {"rules": None}
                for a, b in zip(old.subsets.values(), new.subsets.values(), strict=False)
            ) and list(old.subsets) == list(new.subsets)
        elif name in tuple(RuleGroup):
            same = _measured(old, name) == _measured(new, name)
        else:
            same = getattr(old, name) == getattr(new, name)
        if not same:
            groups = ", ".join(RuleGroup)
            raise ConfigError(
                f"{name} is more than a threshold: run a build to see what it changes "
                f"(thresholds takes those of {groups}, and the rules of a subset)"
            )


def _measured(config: Config, group: str) -> dict[str, object]:
    section = getattr(config, group)
    keys = _MEASURED + (_LINES if group == RuleGroup.C4 else ())
    return {key: getattr(section, key, None) for key in keys}


def _compare_subset(root: Path, name: str, old: Config, new: Config) -> Change:
    change = Change()
    for ids, signals, sizes in _batches(root / "measured" / name):
        try:
            before = decide(signals, old.rules(name), old)
            after = decide(signals, new.rules(name), new)
        except ValueError as error:
            raise ConfigError(f"subset {name}: {error}; run a build with these rules") from error
        change.documents += len(sizes)
        change.before.add(before.keep, sizes)
        change.after.add(after.keep, sizes)
        for tally, mask, decision in (
            (change.lost, before.keep & ~after.keep, after),
            (change.won, ~before.keep & after.keep, before),
        ):
            tally.add(mask, sizes)
            tally.rules.update(RULES[index] for index in decision.first[mask].tolist())
            wanted = EXAMPLES - len(tally.examples)
            tally.examples += [ids[i].as_py() for i in np.flatnonzero(mask)[:wanted]]
        _count_rules(change, after)
    return change


def _batches(folder: Path) -> Iterator[tuple[pa.Array, dict[str, np.ndarray], np.ndarray]]:
    columns = ["id", "text_bytes", *SIGNALS.names]
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path, memory_map=True) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                sizes = batch.column("text_bytes").to_numpy()
                yield batch.column("id"), signal_columns(batch), sizes


def _count_rules(change: Change, decision: Decision) -> None:
    single = np.bitwise_count(decision.failed) == 1
    for rule in RULES:
        failing = (decision.failed & rule.bit) != 0
        if failing.any():
            change.any[rule] += int(failing.sum())
            change.alone[rule] += int((failing & single).sum())


def tables(changes: dict[str, Change], overridden: bool) -> str:
    """Return the comparison as text for a terminal; without overrides, what the rules do now."""
    rows = [["documents (text)", "measured", "kept"]]
    if overridden:
        rows[0] += ["would be kept", "would go", "would stay"]
    for name, change in changes.items():
        row = [name, f"{change.documents:,}", str(change.before)]
        rows.append(row + [str(c) for c in (change.after, change.lost, change.won)] * overridden)
    text = [align(rows)]
    rules = [["rule", "subset", "fail it", "it alone", *(["would go", "would stay"] * overridden)]]
    for rule in RULES:
        for name, change in changes.items():
            counts = [change.any[rule], change.alone[rule]]
            counts += [change.lost.rules[rule], change.won.rules[rule]] * overridden
            if any(counts):
                rules.append([str(rule), name, *(f"{count:,}" for count in counts)])
    if len(rules) > 1:
        text.append(align(rules))
    for name, change in changes.items():
        for what, tally in (("go", change.lost), ("stay", change.won)):
            if tally.examples:
                text.append(f"{name}: would {what}, for example:\n  " + "\n  ".join(tally.examples))
    return "\n\n".join(text)
