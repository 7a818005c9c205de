"""Stage `clean`: decide from the stored signals which documents the rules drop.

Reads ids and signals only, never text. Output: `dropped/clean/<subset>/part-*.parquet`.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from massivetext import rules
from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.config_rules import RuleGroup
from massivetext.dataset import sha256_json
from massivetext.dropped import DROPPED

from .context import Context
from .part import Part, PartOutput, add_counts
from .parts import measured_parts, read_batches
from .stage import materialise, run_parts

COLUMNS = ["id", "text_bytes", *rules.SIGNALS.names]


class Clean:
    """Applies the thresholds of the config to the signals of one measured part."""

    def __init__(self, config: Config):
        self.config = config

    def setup(self) -> None:
        pass

    def run(self, part: Part, out: PartOutput) -> None:
        name = part.arguments["subset"]
        start = 0
        with out.parquet(f"dropped/clean/{part.name}.parquet", DROPPED) as file:
            for batch in read_batches(out.root / f"measured/{part.name}.parquet", COLUMNS):
                dropped = self.decide(batch, name, start)
                file.write(dropped)
                for rule in dropped.column("rule").to_pylist():
                    out.counts[f"rule/{rule}"] += 1
                sizes = batch.column("text_bytes").to_numpy()
                lost = dropped.column("row").to_numpy() - start
                out.counts["documents"] += batch.num_rows - dropped.num_rows
                out.counts["text_bytes"] += int(sizes.sum() - sizes[lost].sum())
                start += batch.num_rows

    def decide(self, batch: pa.RecordBatch, subset: str, start: int) -> pa.RecordBatch:
        """Return the `DROPPED` rows of a batch whose first row has number `start`."""
        signals = rules.signal_columns(batch)
        decision = rules.decide(signals, self.config.rules(subset), self.config)
        rows = np.flatnonzero(~decision.keep)
        names = [str(rules.RULES[index]) for index in decision.first[rows]]
        return pa.RecordBatch.from_arrays(
            [
                batch.column("id").take(pa.array(rows)),
                pa.array([subset] * len(rows), pa.string()),
                pa.array(["clean"] * len(rows), pa.string()),
                pa.array(names, pa.string()),
                pa.array(decision.value[rows], pa.float64(), from_pandas=True),
                pa.array(decision.threshold[rows], pa.float64(), from_pandas=True),
                pa.array(start + rows, pa.int64()),
                pa.nulls(len(rows), pa.string()),
                decision.detail.take(pa.array(rows)),
            ],
            schema=DROPPED,
        )


def _section(config: Config, group: RuleGroup) -> Any:
    """Return the thresholds of a group; the files it names have been judged by their contents."""
    section = getattr(config, group)
    files = ("model", "words", "domains")
    return section and {k: v for k, v in to_dict(section).items() if k not in files}


def run(context: Context, config: Config, measured: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of `clean`; `subsets` has the counts of each, also by rule."""
    parts = measured_parts(measured)
    depends = {
        "measured": sha256_json(measured),
        "thresholds": {str(group): _section(config, group) for group in RuleGroup},
        "groups": {name: [str(g) for g in config.rules(name)] for name in sorted(config.subsets)},
        "version": rules.RULE_VERSION,
    }

    def produce(key: str) -> dict[str, Any]:
        results = run_parts(context, "clean", key, parts, Clean(config))
        subsets = {
            name: add_counts(
                [r for p, r in zip(parts, results, strict=True) if p.arguments["subset"] == name]
            )
            for name in sorted(config.subsets)
        }
        files = [file for result in results for file in result.files]
        return {"files": files, "counts": add_counts(results), "subsets": subsets}

    return materialise(context, "clean", depends, ("dropped/clean",), produce)
