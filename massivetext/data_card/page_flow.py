"""The page's part on amounts: documents, bytes and tokens through the stages, and the mixture."""

from typing import Any

from ..progress import human_bytes, human_seconds
from . import svg
from .html import details, number, paragraph, percent, table

STAGES = {
    "read": "read",
    "clean": "rules",
    "exact": "exact duplicates",
    "near": "near-duplicates",
    "spans": "repeated spans",
    "overlap": "test overlap",
    "heldout": "held out",
    "training": "training",
}
# Those that only take away; what follows them is what is left.
_LOSSES = ("clean", "exact", "near", "spans", "overlap")
BARS = 40


def stages(card: dict[str, Any]) -> str:
    """Return the waterfalls, the share of each fate per subset, and the tables."""
    subsets = card["subsets"]
    if not subsets:
        return ""
    present = [s for s in STAGES if all(s in entry for entry in subsets.values())]
    parts = [
        svg.waterfall(f"All subsets, {unit}", _steps(subsets, present, unit))
        for unit in ("documents", "bytes")
    ]
    colours = {stage: colour for colour, stage in enumerate(STAGES, -1)}
    fates = [(STAGES[s], colours[s]) for s in present if s != "read"]
    if "training" not in present:
        fates.append(("left", colours["training"]))
    rows = [(name, _fates(entry, present)) for name, entry in subsets.items()]
    if len(fates) > 1:
        parts.append(svg.shares("Where the documents of each subset went", fates, rows[:BARS]))
    for unit, show in (("documents", number), ("bytes", human_bytes)):
        header = ["subset", *(_title(s) for s in present), "of what was read"]
        final = present[-1]
        total = {s: sum(entry[s][unit] for entry in subsets.values()) for s in present}
        all_of_them = percent(total[final], total["read"])
        lines = [["all", *(show(total[s]) for s in present), all_of_them]]
        lines += [
            [
                name,
                *(show(entry[s][unit]) for s in present),
                percent(entry[final][unit], entry["read"][unit]),
            ]
            for name, entry in subsets.items()
        ]
        what = "Documents" if unit == "documents" else "Text (bytes of UTF-8)"
        parts.append(table(f"{what} after each stage", header, lines))
    dead = [
        [name, number(e["records"]), number(e["dead_letters"])]
        for name, e in subsets.items()
        if e["dead_letters"]
    ]
    if dead:
        parts.append(table("Records set aside unreadable", ["subset", "records", "aside"], dead))
    return "".join(parts)


def _title(stage: str) -> str:
    return f"after {STAGES[stage]}" if stage in _LOSSES else STAGES[stage]


def _steps(
    subsets: dict[str, Any], present: list[str], unit: str
) -> list[tuple[str, float, float, str]]:
    show = number if unit == "documents" else human_bytes
    total = {s: sum(entry[s][unit] for entry in subsets.values()) for s in present}
    steps = [("read", 0.0, float(total["read"]), show(total["read"]))]
    left = total["read"]
    for stage in present[1:]:
        if stage == "training":
            steps.append(("training", 0.0, float(total[stage]), show(total[stage])))
            continue
        lost = left - total[stage] if stage in _LOSSES else total[stage]
        value = f"−{show(lost)} ({percent(lost, total['read'])})"
        steps.append((STAGES[stage], float(left - lost), float(left), value))
        left -= lost
    if "training" not in present:
        steps.append(("left", 0.0, float(left), show(left)))
    return steps


def _fates(entry: dict[str, Any], present: list[str]) -> list[float]:
    """Return how many documents each stage took, and how many were left at the end."""
    left = entry["read"]["documents"]
    found = []
    for stage in present[1:]:
        count = entry[stage]["documents"]
        lost = left - count if stage in _LOSSES else count
        found.append(lost)
        left -= lost
    return found if "training" in present else [*found, left]


def tokens(card: dict[str, Any]) -> str:
    """Return tokens and bytes per token of every subset, and what the tokenizer is."""
    if not card.get("tokens"):
        return ""
    rows = [
        [
            name,
            number(entry["documents"]),
            number(entry["tokens"]),
            human_bytes(entry["text_bytes"]),
            number(entry["text_bytes"] / entry["tokens"], 2) if entry["tokens"] else "–",
            number(entry["tokens"] / entry["documents"]) if entry["documents"] else "–",
        ]
        for name, entry in card["tokens"].items()
    ]
    header = ["subset", "documents", "tokens", "text", "bytes per token", "tokens per document"]
    made = table("Tokens of the training documents", header, rows)
    tokenizer = card.get("tokenizer")
    if tokenizer:
        made += paragraph(
            f"Vocabulary of {number(tokenizer['vocab_size'])} pieces, model sha256 "
            f"{tokenizer['sha256']}."
        )
    return made


def mixture(card: dict[str, Any]) -> str:
    """Return what the training tokens are made of: weights, epochs and stages."""
    plan = card.get("mixture")
    if not plan:
        return ""
    length = plan["sequence_length"]
    rows = [
        [
            entry["name"],
            f"{entry['weight']:.4g}",
            number(entry["sequences"]),
            number(entry["tokens"]),
            number(entry["available_tokens"]),
            number(entry["epochs"], 2),
        ]
        for entry in plan["subsets"]
    ]
    header = ["subset", "weight", "sequences", "tokens", "tokens there are", "epochs"]
    most = max((entry["epochs"] for entry in plan["subsets"]), default=0)
    top = [(e["name"][:22], 0.0, float(e["epochs"]), f"{e['epochs']:.2f}") for e in plan["subsets"]]
    made = paragraph(
        f"{number(plan['sequences'])} sequences of {number(length)} tokens; no subset is seen more "
        f"than {most:.2f} times."
    )
    made += svg.waterfall("Epochs of each subset", top[:BARS])
    made += table("Mixture plan", header, rows)
    weighted = (plan["config"] or {}).get("stages") or []
    if weighted:
        lines = [
            [f"{n}", f"{stage['until']:g}", _weights(stage.get("weights"))]
            for n, stage in enumerate(weighted, 1)
        ]
        made += table("Stages of the mixture", ["stage", "until", "weights"], lines, 3)
    return made


def _weights(weights: dict[str, float] | None) -> str:
    if weights is None:
        return "the mixture's"
    return ", ".join(f"{name} {weight:.4g}" for name, weight in weights.items())


def training(card: dict[str, Any]) -> str:
    """Return what was trained on the dataset, and how fast."""
    trained = card.get("training")
    if not trained:
        return ""
    rows = [
        ["steps", number(trained["steps"])],
        ["tokens", number(trained["tokens"])],
        ["loss (nats per token)", number(trained["loss"], 4)],
        ["throughput (tokens per second, median)", number(trained["tokens_per_second"], 1)],
    ]
    made = table("The last state of the run in train/", ["", "value"], rows)
    if trained["bits_per_byte"]:
        lines = [[name, number(value, 4)] for name, value in trained["bits_per_byte"].items()]
        made += details(
            "Bits per byte of the held-out documents",
            table("Bits per byte", ["subset", "bits per byte"], lines),
        )
    return made


def times(card: dict[str, Any]) -> str:
    """Return how long each stage took, and what that makes of a terabyte."""
    found = card.get("seconds")
    size = sum(entry["read"]["bytes"] for entry in card["subsets"].values())
    if not found or not size:
        return ""
    rows = [
        [
            stage,
            human_seconds(seconds),
            f"{human_bytes(size / seconds)}" if seconds else "–",
            number(seconds / size * 1e12 / 3600, 1),
        ]
        for stage, seconds in found.items()
    ]
    note = (
        "From the dates of the files, where a stage ran in one go. The text is all that was read. "
        "The cost of a terabyte is its hours times the price of the machine, or of all machines "
        "that worked on it."
    )
    missing = [stage for stage in card["stages"] if stage not in found]
    if missing:
        note += f" Not known: {', '.join(missing)}."
    header = ["stage", "time", "text per second", "hours per TB of text"]
    return paragraph(note) + table("Time of the stages", header, rows)
