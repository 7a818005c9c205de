"""The data card: what every stage kept and dropped, gathered from the manifests."""

from typing import Any

from . import lineage
from .progress import human_bytes
from .storage import Location


def card(root: Location) -> dict[str, Any]:
    """Return the card of a dataset: per subset the documents and bytes that each stage leaves,
    what each rule dropped, tokens and epochs. Stages that have not run, or not since an earlier
    one changed, are absent."""
    manifests = lineage.load(root)
    for stage in lineage.stale(manifests):
        del manifests[stage]
    result: dict[str, Any] = {"subsets": {}, "rules": {}}
    for name, subset in manifests.get("measure", {}).get("subsets", {}).items():
        counts = subset["counts"]
        entry = {
            "records": counts.get("records", 0),
            "dead_letters": counts.get("dead_letters", 0),
            "read": {
                "documents": counts.get("documents", 0),
                "bytes": counts.get("text_bytes", 0),
            },
        }
        result["subsets"][name] = entry
        if "clean" in manifests:
            kept = manifests["clean"]["subsets"].get(name, {})
            entry["clean"] = {
                "documents": kept.get("documents", 0),
                "bytes": kept.get("text_bytes", 0),
            }
            result["rules"][name] = {
                rule.removeprefix("rule/"): count
                for rule, count in kept.items()
                if rule.startswith("rule/")
            }
        if "documents" in manifests:
            left = manifests["documents"]["left"][name]
            entry.update({stage: left[stage] for stage in left if stage != "clean"})
            for kind in ("subsets", "heldout"):
                part = manifests["documents"][kind][name]
                key = "training" if kind == "subsets" else "heldout"
                entry[key] = {"documents": part["documents"], "bytes": part["bytes"]}
        if name in manifests.get("tokens", {}).get("subsets", {}):
            entry["tokens"] = manifests["tokens"]["subsets"][name]["tokens"]
    if manifests.get("overlap", {}).get("test_sets"):
        result["test_sets"] = manifests["overlap"]["test_sets"]
    for entry in manifests.get("shards", {}).get("subsets", []):
        if entry["name"] in result["subsets"]:
            result["subsets"][entry["name"]]["mixture"] = {
                key: entry[key] for key in ("tokens", "epochs")
            }
    return result


def tables(value: dict[str, Any]) -> str:
    """Return the card as text for a terminal."""
    columns = ("read", "clean", "exact", "near", "spans", "overlap", "heldout", "training")
    present = [c for c in columns if any(c in entry for entry in value["subsets"].values())]
    titles = {
        "read": "read",
        "clean": "after rules",
        "exact": "after exact",
        "near": "after near",
        "spans": "after spans",
        "overlap": "after overlap",
        "heldout": "held out",
        "training": "training",
    }
    rows = [["documents (text)", *(titles[c] for c in present), "tokens", "epochs"]]
    for name, entry in value["subsets"].items():
        cells = [
            f"{entry[c]['documents']:,} ({human_bytes(entry[c]['bytes'])})" if c in entry else "-"
            for c in present
        ]
        tokens = f"{entry['tokens']:,}" if "tokens" in entry else "-"
        epochs = f"{entry['mixture']['epochs']:.2f}" if "mixture" in entry else "-"
        rows.append([name, *cells, tokens, epochs])
    text = align(rows)
    dropped: dict[str, dict[str, int]] = {}
    for name, rules in value["rules"].items():
        for rule, count in rules.items():
            dropped.setdefault(rule, {})[name] = count
    if dropped:
        names = [name for name, rules in value["rules"].items() if rules]
        rows = [["dropped by rule", *names]]
        for rule, counts in dropped.items():
            rows.append([rule, *(f"{counts.get(name, 0):,}" for name in names)])
        text += "\n\n" + align(rows)
    if "test_sets" in value:
        text += "\n\n" + _test_sets(value["test_sets"])
    dead = {n: e["dead_letters"] for n, e in value["subsets"].items() if e["dead_letters"]}
    if dead:
        text += "\n\nset aside unreadable: " + ", ".join(f"{n} {c:,}" for n, c in dead.items())
    return text


def _test_sets(sets: dict[str, dict[str, int]]) -> str:
    """Return the test sets that were found in the documents, and how many were not."""
    columns = {
        "items": "items",
        "items_matched": "found",
        "documents_jaccard": "documents (Jaccard)",
        "documents_containment": "documents (containment)",
        "wordless": "without words",
        "too_short": "too short",
        "too_common": "too common",
    }
    present = [c for c in columns if c in next(iter(sets.values()))]
    found = {name: entry for name, entry in sets.items() if entry["items_matched"]}
    rows = [["test set", *(columns[c] for c in present)]]
    rows += [[name, *(f"{entry[c]:,}" for c in present)] for name, entry in found.items()]
    if len(found) < len(sets):
        rest = [entry for name, entry in sets.items() if name not in found]
        sums = (sum(entry[c] for entry in rest) for c in present)
        rows.append([f"{len(rest):,} without any", *(f"{total:,}" for total in sums)])
    return align(rows)


def align(rows: list[list[str]]) -> str:
    """Return rows as aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
