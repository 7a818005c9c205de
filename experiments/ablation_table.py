"""The table of an ablation: bits per byte of every variant, and what each stage changes.

Runs of two variants with one seed share their initial parameters, so their difference is paired
by seed: what a seed does to both cancels. Intervals are Student's, 95 %, of the mean of the paired
differences over the seeds.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from massivetext.card import align

# Of the held-out subsets, by the mixture's weights. No subset can have such a name.
MEAN = "weighted mean"
CONFIDENCE = 0.95
CSV_COLUMNS = (
    "variant", "documents", "tokens", "epochs", "set", "seeds", "mean", "sd",
    "compared_with", "difference", "low", "high",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What one variant has to train on, and what came of it.

    Attributes:
      documents, tokens: of all its subsets that the mixture draws from.
      epochs: how often the runs pass over each subset.
      bits: bits per byte by seed, and by held-out subset or target; a run that diverged is absent.
    """

    variant: str
    adds: str
    documents: int
    tokens: int
    epochs: dict[str, float]
    bits: dict[int, dict[str, float]]


def mean_and_deviation(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return mean and sample standard deviation; None for what so few values do not give."""
    mean = float(np.mean(values)) if len(values) else None
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else None


def half_interval(differences: Sequence[float]) -> float | None:
    """Return half the width of the 95 % interval of the mean; None for fewer than two values."""
    count = len(differences)
    if count < 2:
        return None
    from scipy.special import stdtrit

    quantile = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))
    return quantile * float(np.std(differences, ddof=1)) / math.sqrt(count)


def table(rows: Sequence[Row], weights: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the rows as JSON, each with its difference to the row above.

    Args:
      rows: in the order of the pipeline.
      weights: the mixture's; they weigh the held-out subsets in `MEAN`.
    """
    bits = [{seed: _with_mean(sets, weights) for seed, sets in row.bits.items()} for row in rows]
    values = []
    for number, row in enumerate(rows):
        mine = bits[number]
        names = list(dict.fromkeys(name for sets in mine.values() for name in sets))
        value: dict[str, Any] = {
            "variant": row.variant,
            "adds": row.adds,
            "documents": row.documents,
            "tokens": row.tokens,
            "epochs": row.epochs,
            "bits_per_byte": {
                name: _measured({s: sets[name] for s, sets in mine.items()}) for name in names
            },
        }
        if number:
            above = bits[number - 1]
            seeds = [seed for seed in mine if seed in above]
            value["compared_with"] = rows[number - 1].variant
            value["difference"] = {
                name: _difference([mine[seed][name] - above[seed][name] for seed in seeds])
                for name in names
                if seeds
            }
        values.append(value)
    return values


def _with_mean(sets: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    weighed = {name: weights[name] for name in sets if weights.get(name)}
    total = sum(weighed.values())
    mean = sum(weight * sets[name] for name, weight in weighed.items())
    return {**sets, **({MEAN: mean / total} if total else {})}


def _measured(by_seed: dict[int, float]) -> dict[str, Any]:
    mean, deviation = mean_and_deviation(list(by_seed.values()))
    seeds = {str(seed): value for seed, value in by_seed.items()}
    return {"mean": mean, "sd": deviation, "seeds": seeds}


def _difference(differences: list[float]) -> dict[str, Any]:
    mean, half = mean_and_deviation(differences)[0], half_interval(differences)
    interval = None if mean is None or half is None else [mean - half, mean + half]
    return {"mean": mean, "interval": interval, "seeds": len(differences)}


def to_text(values: Sequence[dict[str, Any]]) -> str:
    """Return the table for a terminal: a line of means a variant, below it what changed."""
    sets = list(dict.fromkeys(name for value in values for name in value["bits_per_byte"]))
    lines = [["bits per byte", "documents", "tokens", "epochs", *sets]]
    for value in values:
        epochs = max(value["epochs"].values(), default=0.0)
        cells = [_cell(value["bits_per_byte"].get(name)) for name in sets]
        counts = [f"{value['documents']:,}", f"{value['tokens']:,}", f"{epochs:.2f}"]
        lines.append([value["variant"], *counts, *cells])
        if "difference" in value:
            cells = [_change(value["difference"].get(name)) for name in sets]
            lines.append([f"  less {value['compared_with']}", "", "", "", *cells])
    return align(lines)


def _cell(measured: dict[str, Any] | None) -> str:
    if measured is None or measured["mean"] is None:
        return "-"
    spread = "" if measured["sd"] is None else f" ±{measured['sd']:.4f}"
    return f"{measured['mean']:.4f}{spread}"


def _change(difference: dict[str, Any] | None) -> str:
    if difference is None or difference["mean"] is None:
        return "-"
    if difference["interval"] is None:
        return f"{difference['mean']:+.4f}"
    low, high = difference["interval"]
    return f"{difference['mean']:+.4f} ±{(high - low) / 2:.4f}"


def to_csv(values: Sequence[dict[str, Any]]) -> str:
    """Return the table as CSV, a line for each variant and held-out set; empty is unknown."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for value in values:
        epochs = max(value["epochs"].values(), default=0.0)
        for name, measured in value["bits_per_byte"].items():
            change = value.get("difference", {}).get(name) or {"mean": None, "interval": None}
            writer.writerow(
                [
                    *(value[key] for key in ("variant", "documents", "tokens")),
                    epochs,
                    name,
                    len(measured["seeds"]),
                    measured["mean"],
                    measured["sd"],
                    value.get("compared_with"),
                    change["mean"],
                    *(change["interval"] or (None, None)),
                ]
            )
    return file.getvalue()
