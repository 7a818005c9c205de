"""The page's part on the rules: what each removed, together with which, and its signal."""

from typing import Any

import numpy as np

from ..rules import RULES, SIGNALS
from . import bins, svg
from .html import details, escape, number, paragraph, percent, table

MATRICES = 40
# Signals that are a model's score of the whole document, and what a high one says.
SCORES = {"safety_probability": "unsafe", "classifier_probability": "like the wanted text"}


def rules(card: dict[str, Any]) -> str:
    """Return per rule the documents that fail it, and the matrix of rules failed together."""
    measured = card["measured"]
    if not any(entry["rules"] for entry in measured.values()):
        return ""
    documents = sum(entry["documents"] for entry in measured.values())
    total = _sum(measured, "rules")
    made = paragraph(
        "A document may fail several rules, and the first of them drops it. Without a rule, only "
        "the documents that fail it alone would stay."
    )
    made += table(
        "Documents by rule, all subsets",
        ["rule", "fail it", "of all read", "it alone", "with others", "first to drop"],
        [
            [
                rule,
                number(n["fail"]),
                percent(n["fail"], documents),
                f"{number(n['alone'])} ({percent(n['alone'], n['fail'])})",
                f"{number(n['fail'] - n['alone'])} ({percent(n['fail'] - n['alone'], n['fail'])})",
                number(n["first"]),
            ]
            for rule, n in total.items()
        ],
    )
    together = _sum(measured, "together")
    if len(total) > 1:
        made += _matrix(list(total), total, together)
    for name, entry in list(measured.items())[:MATRICES]:
        if entry["rules"]:
            lines = [
                [
                    rule,
                    number(n["fail"]),
                    percent(n["fail"], entry["documents"]),
                    number(n["alone"]),
                    number(n["first"]),
                ]
                for rule, n in entry["rules"].items()
            ]
            head = ["rule", "fail it", "of the subset", "it alone", "first to drop"]
            made += details(f"Rules of {name}", table(f"Documents of {name}", head, lines))
    return made


def _sum(measured: dict[str, Any], key: str) -> dict[str, dict[str, int]]:
    """Add up numbers two levels deep over subsets, in the order of the rules."""
    total: dict[str, dict[str, int]] = {}
    for entry in measured.values():
        for rule, counts in entry[key].items():
            into = total.setdefault(rule, {})
            for name, value in counts.items():
                into[name] = into.get(name, 0) + value
    return {rule: total[rule] for rule in map(str, RULES) if rule in total}


def _matrix(
    names: list[str], total: dict[str, dict[str, int]], together: dict[str, dict[str, int]]
) -> str:
    """Return, per rule, the share of the documents failing it that fail each other rule too."""
    heads = "".join(
        f'<th scope="col" class="number"><abbr title="{escape(name)}">{i}</abbr></th>'
        for i, name in enumerate(names, 1)
    )
    body = []
    for i, row in enumerate(names, 1):
        cells = [f'<th scope="row">{i} {escape(row)}</th>']
        for column in names:
            if row == column:
                cells.append('<td class="number">·</td>')
                continue
            count = together[row].get(column, 0)
            share = count / total[row]["fail"]
            shade = f"color-mix(in srgb,var(--c1) {round(share * 60)}%,transparent)"
            title = f"{row} and {column}: {count:,}"
            text = f"{share:.0%}" if count else ""
            cells.append(
                f'<td class="number" style="background:{shade}" title="{escape(title)}">{text}</td>'
            )
        body.append(f"<tr>{''.join(cells)}</tr>")
    caption = "Rules failed together: of the documents failing the row's rule, the share failing "
    caption += "the column's too"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f'<caption>{escape(caption)}</caption><thead><tr><th scope="col">rule</th>{heads}</tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def signals(card: dict[str, Any]) -> str:
    """Return a histogram of every signal that was measured, with its thresholds."""
    measured = card["measured"]
    names = [n for n in SIGNALS.names if any(n in e["signals"] for e in measured.values())]
    if not names:
        return ""
    drawings = "".join(_signal(card, name) for name in names)
    return (
        paragraph(
            "Above the line the documents that the rules keep, below it those that any rule drops, "
            "both on a logarithmic scale, over all subsets in which the signal was measured. A "
            "dashed line is a threshold."
        )
        + f'<div class="grid">{drawings}</div>'
    )


def _signal(card: dict[str, Any], name: str) -> str:
    edges = bins.edges_of(name)
    counts = {key: np.zeros(len(edges), np.int64) for key in ("kept", "dropped")}
    for entry in card["measured"].values():
        found = entry["signals"].get(name)
        if found:
            for key, total in counts.items():
                total[: len(found[key])] += np.asarray(found[key], np.int64)
    limits = [(item["rule"], item["limit"]) for item in card["thresholds"].get(name, ())]
    filled = np.flatnonzero(counts["kept"] + counts["dropped"])
    stop = int(filled[-1]) + 1 if len(filled) else 1
    for _, limit in limits:
        # One bin more than the threshold's, so that what is above it has a place.
        stop = max(stop, int(np.searchsorted(edges, limit, side="right")) + 1)
    shown = [values[:stop].tolist() for values in counts.values()]
    return svg.histogram(name, edges[:stop].tolist(), shown[0], shown[1], limits)


def scores(card: dict[str, Any]) -> str:
    """Return the scores by subset of the models that the config has given."""
    made = ""
    for name, meaning in SCORES.items():
        rows: list[list[str]] = []
        for subset, entry in card["measured"].items():
            found = entry["signals"].get(name)
            if found:
                rows += [[subset, *cells] for cells in _score(found)]
        if rows:
            limits = [f"{item['limit']:g}" for item in card["thresholds"].get(name, ())]
            made += table(
                f"{name}: how {meaning} the model takes documents to be, from 0 to 1"
                + (f" (threshold {', '.join(limits)})" if limits else ""),
                ["subset", "documents", "number", "mean", "median", "95 %", "at least 0.5"],
                rows,
                2,
            )
    return made and paragraph("Percentiles to within 0.02.", "note") + made


def _score(found: dict[str, Any]) -> list[list[str]]:
    """Return the cells of what was read, and of what the rules keep."""
    edges = np.asarray(found["edges"])
    kept, dropped = (np.asarray(found[key], np.int64) for key in ("kept", "dropped"))
    sums = found["sums"]
    lines = []
    for title, counts, total in (
        ("read", kept + dropped, sums["kept"] + sums["dropped"]),
        ("kept by the rules", kept, sums["kept"]),
    ):
        documents = int(counts.sum())
        if documents:
            ranks = np.searchsorted(np.cumsum(counts), [0.5 * documents, 0.95 * documents])
            middle, high = (f"{edges[i]:.2f}" for i in ranks)
            mean = f"{total / documents:.3f}"
            share = percent(int(counts[edges >= 0.5].sum()), documents)
            lines.append([title, number(documents), mean, middle, high, share])
    return lines
