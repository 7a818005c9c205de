"""The page's part on what is in the documents, where it is from, and the datasheet."""

from typing import Any

import numpy as np
import yaml

from ..progress import human_bytes
from . import svg
from .html import details, escape, number, paragraph, percent, table

SUBSETS = 40
# Bins of the lengths' histogram that are drawn as one: half a doubling.
_JOINED = 8


def _merge(card: dict[str, Any], rows_of: Any, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Add up rows by name over subsets; the largest first, ties in the order of names."""
    total: dict[str, dict[str, Any]] = {}
    for entry in card["measured"].values():
        for row in rows_of(entry):
            into = total.setdefault(row["name"], {"name": row["name"], **dict.fromkeys(columns, 0)})
            for column in columns:
                into[column] += row[column]
    return sorted(total.values(), key=lambda row: (-row["documents"], row["name"]))


def languages(card: dict[str, Any]) -> str:
    """Return the table of languages, as the language identifier took the documents."""
    rows = _merge(card, lambda e: e["languages"], ("documents", "bytes", "left"))
    if not rows:
        return ""
    documents = sum(row["documents"] for row in rows)
    made = table(
        "Languages of the documents that were read, all subsets that were identified",
        ["language", "documents", "share", "text", "left after all stages"],
        [
            [
                r["name"],
                number(r["documents"]),
                percent(r["documents"], documents),
                human_bytes(r["bytes"]),
                number(r["left"]),
            ]
            for r in rows
        ],
    )
    for name, entry in list(card["measured"].items())[:SUBSETS]:
        if entry["languages"]:
            lines = [
                [
                    r["name"],
                    number(r["documents"]),
                    percent(r["documents"], entry["documents"]),
                    human_bytes(r["bytes"]),
                    number(r["left"]),
                    number(r["probability"], 3),
                ]
                for r in entry["languages"]
            ]
            head = ["language", "documents", "share", "text", "left", "mean probability"]
            made += details(f"Languages of {name}", table(name, head, lines))
    return made


def lengths(card: dict[str, Any]) -> str:
    """Return the lengths of documents, before any rule and after all stages that have run."""
    measured = {name: e for name, e in card["measured"].items() if e["documents"]}
    if not measured:
        return ""
    rows, drawings = [], []
    for name, entry in measured.items():
        found = entry["lengths"]
        rows.append(
            [
                name,
                human_bytes(entry["bytes"] / entry["documents"]),
                *(
                    human_bytes(found[kind][p])
                    for kind in ("read_bytes", "left_bytes")
                    for p in ("p5", "p50", "p95")
                ),
            ]
        )
    for name, entry in list(measured.items())[:SUBSETS]:
        found = entry["lengths"]
        edges = found["edges"][::_JOINED]
        left, read = (
            np.add.reduceat(found[key], range(0, len(found[key]), _JOINED)).tolist()
            for key in ("left", "read")
        )
        caption = f"{name}: bytes of text"
        drawings.append(svg.histogram(caption, edges, left, read, names=("left", "read")))
    head = ["subset", "mean read", "read: 5 %", "median", "95 %", "left: 5 %", "median", "95 %"]
    return (
        table("Text per document (bytes of UTF-8; percentiles to within 5 %)", head, rows)
        + paragraph(
            "Above the line the documents that are left after every stage that has run, "
            "below it all that were read; logarithmic scales."
        )
        + f'<div class="grid">{"".join(drawings)}</div>'
    )


def hosts(card: dict[str, Any]) -> str:
    """Return the hosts with the most documents, from the addresses of the documents."""
    rows = _merge(card, lambda e: e["hosts"]["top"], ("documents", "bytes", "left"))
    if not rows:
        return ""
    uncertain = sum(e["hosts"]["uncertain"] for e in card["measured"].values())
    note = "Of documents that have an address."
    if uncertain:
        note += f" Not every host was held: up to {uncertain:,} documents of each are not counted."
    return paragraph(note) + table(
        "Hosts with the most documents",
        ["host", "documents read", "text", "left after all stages"],
        [
            [r["name"], number(r["documents"]), human_bytes(r["bytes"]), number(r["left"])]
            for r in rows[:100]
        ],
    )


def duplicates(card: dict[str, Any]) -> str:
    """Return the sizes of the clusters of duplicates."""
    found = card.get("duplicates")
    if not found:
        return ""
    sizes = sorted({int(size) for by_size in found["clusters"].values() for size in by_size})
    made = ""
    if sizes:
        kinds = list(found["clusters"])
        rows = [
            [
                f"{size:,} to {2 * size - 1:,}",
                *(number(found["clusters"][kind].get(str(size), 0)) for kind in kinds),
            ]
            for size in sizes
        ]
        head = ["documents in the cluster", *(f"{kind} clusters" for kind in kinds)]
        made += paragraph("Of every cluster one document stays; it is counted in the size.")
        made += table("Clusters of duplicates by size", head, rows)
    else:
        made += paragraph("No duplicates were found.")
    rows = [[key.replace("_", " "), number(value)] for key, value in found["counts"].items()]
    return made + details("What deduplication counted", table("Counts", ["", "number"], rows))


def overlaps(card: dict[str, Any]) -> str:
    """Return what was found of each test set, and examples of documents that copy one."""
    sets, found = card.get("test_sets"), card.get("overlaps")
    if not sets and not (found and found["documents"]):
        return ""
    made = ""
    if sets:
        keys = list(next(iter(sets.values())))
        head = ["test set", *(key.replace("_", " ") for key in keys), "share of items found"]
        made += table(
            "Test sets",
            head,
            [
                [
                    name,
                    *(number(entry.get(key)) for key in keys),
                    percent(entry["items_matched"], entry["items"]),
                ]
                for name, entry in sets.items()
            ],
        )
    if found and found["examples"]:
        made += table(
            "Some of the documents that were dropped (longest shared run in bytes of text)",
            ["document", "test set", "item", "rule", "Jaccard", "containment", "shared bytes"],
            [
                [
                    r["id"],
                    r["test_set"] or "–",
                    r["test_id"] or "–",
                    r["kind"],
                    number(r.get("jaccard"), 3),
                    number(r.get("containment"), 3),
                    number(r["bytes"]),
                ]
                for r in found["examples"]
            ],
            4,
        )
        made += paragraph(
            "The shared n-grams themselves are not stored; "
            "massivetext why OUT ID shows the shared text of a document.",
            "note",
        )
    return made or paragraph("No document copies a test item.")


def datasheet(card: dict[str, Any]) -> str:
    """Return the questions of the datasheet with what is known, written, or still blank."""
    made = paragraph(
        "Questions after Gebru et al. (2021). What no build can know is written by a "
        "person in card.yaml in the output folder, under the name of the question."
    )
    heading = ""
    items = ""
    for key, entry in card["datasheet"].items():
        if entry["section"] != heading:
            made += f"<dl>{items}</dl>" if items else ""
            heading, items = entry["section"], ""
            made += f"<h3>{escape(heading)}</h3>"
        items += f"<dt>{escape(entry['question'])}</dt>"
        written = entry["written"]
        if isinstance(written, dict):
            written = "\n".join(f"{name}: {text}" for name, text in written.items())
        for text in (written, entry["known"]):
            if text:
                items += f"<dd>{escape(text)}</dd>"
        if not written and not entry["known"]:
            items += f'<dd class="blank">To be written as {escape(key)}: in card.yaml.</dd>'
    return made + f"<dl>{items}</dl>"


def provenance(card: dict[str, Any]) -> str:
    """Return digests of every stage, the versions and the config."""
    made = (
        table(
            "Stages: what each wrote, and a digest of all its files",
            ["stage", "version", "sha256 of its files' sha256", "files", "size"],
            [
                [
                    name,
                    "–" if s["version"] is None else str(s["version"]),
                    s["sha256"],
                    number(s["files"]),
                    human_bytes(s["bytes"]),
                ]
                for name, s in card["stages"].items()
            ],
            3,
        )
        if card["stages"]
        else ""
    )
    made += paragraph("massivetext verify OUT checks every file against its checksum.", "note")
    written = card["written_by"]
    made += paragraph(f"Card by massivetext {written['massivetext']}, Python {written['python']}.")
    if card["config"] is not None:
        text = yaml.safe_dump(card["config"], sort_keys=False, allow_unicode=True, width=100)
        made += details("Config", f'<pre tabindex="0">{escape(text)}</pre>')
    return made
