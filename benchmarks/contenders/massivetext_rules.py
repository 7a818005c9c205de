"""massivetext's filter rules: signals of every document, and the decision.

Options: `measured`, a list of lists of rule groups, each list measured by itself; `config`, the
sections that the groups need. The result holds, by the groups joined with `+`, `seconds_by`
(signals and decision), `signals_by` (seconds of the signals alone) and `kept_by`; `seconds` sums
the first.
"""

import json
from typing import Any

from contender import Document, Stopwatch, main
from massivetext_batches import batches

from massivetext import rules
from massivetext.config import Config
from massivetext.config_file import parse
from massivetext.config_rules import RuleGroup
from massivetext.signals import Measurer


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    subsets = {"massiveweb": {"input": "unused"}}
    text = json.dumps({"output": "unused", "subsets": subsets, **options.get("config", {})})
    config = parse(text, "benchmark").config
    prepared = list(batches(documents))
    signals: dict[str, Stopwatch] = {}
    decisions: dict[str, Stopwatch] = {}
    kept: dict[str, int] = {}
    for names in options["measured"]:
        key = "+".join(names)
        groups = tuple(RuleGroup(name) for name in names)
        signals[key], decisions[key], kept[key] = _time(prepared, groups, config)
    return {
        "seconds": sum(watch.cpu for watch in [*signals.values(), *decisions.values()]),
        "seconds_by": {key: signals[key].cpu + decisions[key].cpu for key in signals},
        "signals_by": {key: watch.cpu for key, watch in signals.items()},
        "wall_seconds": sum(watch.wall for watch in [*signals.values(), *decisions.values()]),
        "kept_by": kept,
        "configuration": "Measurer.measure and rules.decide, default thresholds",
    }


def _time(
    prepared: list[Any], groups: tuple[RuleGroup, ...], config: Config
) -> tuple[Stopwatch, Stopwatch, int]:
    measurer = Measurer.load(config, groups)
    # Compiles the kernels, or loads them from numba's cache.
    rules.decide(rules.signal_columns(measurer.measure(prepared[0].slice(0, 1))), groups, config)
    signals, decisions = Stopwatch(), Stopwatch()
    kept = 0
    for batch in prepared:
        with signals:
            measured = measurer.measure(batch)
        with decisions:
            decision = rules.decide(rules.signal_columns(measured), groups, config)
        kept += int(decision.keep.sum())
    return signals, decisions, kept


main(measure)
