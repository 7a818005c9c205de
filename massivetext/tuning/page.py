"""The tuning as one HTML page: no script, and nothing is fetched from anywhere."""

from collections.abc import Callable
from typing import Any

from ..data_card.html import escape, number, paragraph, section, table
from ..data_card.style import CSS
from ..data_card.svg import figure
from . import page_search, page_trajectory
from .page_plots import intervals

Report = dict[str, Any]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Report) -> str:
    """Return the page of a report, as `report.json` holds it."""
    parts = [(key, title, write(report)) for key, (title, write) in _SECTIONS.items()]
    parts = [part for part in parts if part[2]]
    links = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title, _ in parts)
    body = "".join(section(*part) for part in parts)
    lines = "".join(f"<li>{escape(line)}</li>" for line in report["verdict"]["text"])
    kind = "note" if report["verdict"].get("better_than_configured") else "missing"
    footer = (
        f"Written by massivetext {report['massivetext']}. The same numbers are in report.json, "
        "every run in runs.csv, beside this page."
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Tuning of the mixture</title><style>{CSS}</style></head><body>"
        '<a class="skip" href="#content">Skip to the content</a>'
        f'<header><h1>Tuning of the mixture</h1><div class="{kind}" role="note"><ul>{lines}</ul>'
        f'</div></header><nav aria-label="Sections"><ul>{links}</ul></nav>'
        f'<main id="content">{body}</main><footer>{paragraph(footer, "note")}</footer>'
        "</body></html>\n"
    )


def _confirmation(report: Report) -> str:
    rows = []
    for name, entry in report["confirmed"].items():
        found = entry["objective"]
        if found is not None:
            runs = [run["objective"] for run in entry["runs"]]
            rows.append((name, found["mean"], found["low"], found["high"], runs))
    caption = "Objective of the confirmed mixtures, bits per byte: mean, 95 % interval, each seed"
    drawing = figure(caption, intervals(caption, rows), wide=True) if rows else ""
    cells = [[name, *_difference(found)] for name, found in report["differences"].items()]
    header = ["the proposal less", "bits per byte", "from", "to", "seeds"]
    text = (
        "Each mixture was trained with the same seeds, other than the search's. Differences are "
        "taken seed by seed, which cancels what a seed does to every mixture; below zero the "
        "proposal is better. An interval is Student's, of each comparison alone."
    )
    return (
        paragraph(text)
        + drawing
        + table("Paired differences, with 95 % intervals", header, cells)
        + _by_target(report)
    )


def _difference(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["–", "–", "–", "0"]
    numbers = [f"{found[name]:+.4f}" for name in ("mean", "low", "high")]
    return [*numbers, number(len(found["seeds"]))]


def _by_target(report: Report) -> str:
    confirmed = report["confirmed"]
    rows = []
    for target, share in report["objective"].items():
        means = (entry["targets"][target] for entry in confirmed.values())
        rows.append(
            [target, f"{share:.3f}", *("–" if m is None else f"{m['mean']:.4f}" for m in means)]
        )
    header = ["target", "share", *confirmed]
    return table("Bits per byte of each target, mean over the seeds", header, rows)


def _mixtures(report: Report) -> str:
    mixtures, budget = report["mixtures"], report["proxy"]["budget"]
    rows = []
    for subset, entry in report["subsets"].items():
        weight = mixtures["proposal"][subset]
        rows.append(
            [
                subset,
                *(f"{weights[subset]:.4f}" for weights in mixtures.values()),
                f"{entry['cap']:.3f}",
                number(entry["tokens"]),
                number(weight * budget / entry["tokens"], 2),
            ]
        )
    header = ["weight", *mixtures, "cap", "tokens there are", "epochs of the proposal"]
    names = ", ".join(report["adjusted"])
    note = f"Cut to fit mixture.max_epochs before training: {names}." if names else ""
    return table(f"Weights, for {budget:,} tokens", header, rows) + paragraph(note, "note")


def _settings(report: Report) -> str:
    proxy, train = report["proxy"], report["train"]
    rows = [
        ["method", report["method"]],
        ["parameters of a proxy", number(proxy["parameters"])],
        ["tokens of a proxy", number(proxy["tokens"])],
        ["FLOPs of a proxy", f"{proxy['flops']:.3g}"],
        ["tokens of the real run", number(proxy["budget"])],
        ["preset and steps", f"{train['model']}, {train['steps']:,}"],
        ["seed", str(report["seed"])],
        ["tokenizer, sha256", report["tokenizer_sha256"]],
    ]
    text = (
        "Every subset of a proxy is a sample, as much smaller as its budget is than the real "
        "one, so that it is repeated as often as in the real run. Small proxies can rank mixtures "
        "otherwise than the model that is planned: the larger they are, the better."
    )
    return paragraph(text) + table("How it was run", ["", ""], rows, texts=2)


# key: (title, what writes it: empty where the report has nothing to say)
_SECTIONS: dict[str, tuple[str, Callable[[Report], str]]] = {
    "confirmation": ("Confirmed by training", _confirmation),
    "mixtures": ("The mixtures", _mixtures),
    "predicted": ("What was predicted of them", page_search.predicted),
    "models": ("Predicted against measured", page_search.models),
    "weights": ("Weights against loss", page_search.weights),
    "frontier": ("What is traded against what", page_search.frontiers),
    "trajectory": ("The weights during the run", page_trajectory.trajectory),
    "runs": ("The runs of the search", page_search.runs),
    "settings": ("How it was run", _settings),
}
