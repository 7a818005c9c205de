"""Rates of memorised spans with their intervals, by how often they were seen and by subset."""

import math
from collections.abc import Sequence
from typing import Any

from massivetext.card import align

# The normal deviate that 95 % lie within.
Z = 1.959963984540054

# Of a span: its subset, how often it was seen in training, and whether it is memorised.
Judged = tuple[str, int, bool]


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a rate (Wilson 1927), which fits small rates and counts."""
    rate, weight = successes / trials, Z * Z / trials
    centre = rate + weight / 2
    half = math.sqrt(weight * (rate * (1 - rate) + weight / 4))
    low = (centre - half) / (1 + weight) if successes else 0.0
    high = (centre + half) / (1 + weight) if successes < trials else 1.0
    return low, high


def rates(spans: Sequence[Judged]) -> dict[str, Any]:
    """Return the rates of `all` spans (None when there are none), `by_times_seen` and `by_subset`.

    Times seen are put together in powers of two: 0, 1, 2, 3 to 4, 5 to 8, and so on.
    """
    by_times: dict[tuple[int, int], list[bool]] = {}
    by_subset: dict[str, list[bool]] = {}
    for subset, times, memorised in spans:
        by_times.setdefault(_bounds(times), []).append(memorised)
        by_subset.setdefault(subset, []).append(memorised)
    return {
        "all": _rate([memorised for _, _, memorised in spans]) if spans else None,
        "by_times_seen": [
            {"from": first, "to": last, **_rate(each)}
            for (first, last), each in sorted(by_times.items())
        ],
        "by_subset": {name: _rate(each) for name, each in sorted(by_subset.items())},
    }


def _bounds(times: int) -> tuple[int, int]:
    if times == 0:
        return 0, 0
    last = 1 << (times - 1).bit_length()
    return last // 2 + 1, last


def _rate(memorised: list[bool]) -> dict[str, Any]:
    count = sum(memorised)
    low, high = wilson(count, len(memorised))
    return {
        "spans": len(memorised),
        "memorised": count,
        "rate": count / len(memorised),
        "low": low,
        "high": high,
    }


def table(report: dict[str, Any]) -> str:
    """Return the report of `memorisation.measure` as text for people."""
    rows = [["spans of", "spans", "memorised", "rate", "95 % interval"]]
    for name, title in (("training", "training documents"), ("heldout", "held-out documents")):
        found = report[name]
        if found["all"] is None:
            continue
        rows.append(_row(title, found["all"]))
        rows += [_row(f"  {_times(each)}", each) for each in found["by_times_seen"]]
        rows += [_row(f"  {subset}", each) for subset, each in found["by_subset"].items()]
    text = align(rows)
    if report["heldout"]["all"] is None:
        text += "\n\nno held-out documents to compare with: set heldout.fraction and build again"
    return (
        f"{text}\n\nmemorised: given {report['prompt_tokens']} tokens, greedy decoding gives "
        f"exactly the next {report['continuation_tokens']}; after {report['step']:,} steps"
    )


def _times(each: dict[str, Any]) -> str:
    first, last = each["from"], each["to"]
    if last == 0:
        return "not seen in training"
    if last == 1:
        return "seen once"
    return f"seen {first if first == last else f'{first:,} to {last:,}'} times"


def _row(title: str, each: dict[str, Any]) -> list[str]:
    interval = f"{each['low']:.2%} to {each['high']:.2%}"
    counts = [f"{each['spans']:,}", f"{each['memorised']:,}"]
    return [title, *counts, f"{each['rate']:.2%}", interval]
