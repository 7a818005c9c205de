"""Two cards side by side: numbers with their differences, and the config keys that differ."""

from collections.abc import Iterator
from typing import Any

STAGES = ("read", "clean", "exact", "near", "spans", "overlap", "heldout", "training")


def compare(card: dict[str, Any], other: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return tables of rows `name`, `this`, `other`, `difference` (of numbers; else null)."""
    tables: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "documents": (dict(_stages(card, "documents")), dict(_stages(other, "documents"))),
        "bytes": (dict(_stages(card, "bytes")), dict(_stages(other, "bytes"))),
        "tokens": (dict(_tokens(card)), dict(_tokens(other))),
        "rules": (dict(_rules(card)), dict(_rules(other))),
        "config": (dict(_flat(card["config"], "")), dict(_flat(other["config"], ""))),
    }
    result = {name: list(_rows(*pair)) for name, pair in tables.items()}
    # Of a config only what differs says something.
    result["config"] = [row for row in result["config"] if row["this"] != row["other"]]
    return result


def _rows(this: dict[str, Any], other: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys([*this, *other]):
        a, b = this.get(name), other.get(name)
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b))
        difference = a - b if numbers else None  # type: ignore[operator]
        yield {"name": name, "this": a, "other": b, "difference": difference}


def _stages(card: dict[str, Any], unit: str) -> Iterator[tuple[str, int]]:
    for name, entry in card["subsets"].items():
        for stage in STAGES:
            if stage in entry:
                yield f"{name}: {stage}", entry[stage][unit]


def _tokens(card: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, entry in card["subsets"].items():
        if "tokens" in entry:
            yield f"{name}: tokens", entry["tokens"]
        if "mixture" in entry:
            yield f"{name}: tokens in the mixture", entry["mixture"]["tokens"]
            yield f"{name}: epochs", entry["mixture"]["epochs"]


def _rules(card: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for name, entry in card["measured"].items():
        for rule, counts in entry["rules"].items():
            yield f"{name}: {rule}", counts["fail"]


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        yield key, ", ".join(str(item) for item in value)
    elif value is not None:
        yield key, value
