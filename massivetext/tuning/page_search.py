"""What the search's runs and models say, for the page; nothing where the method has no search."""

from typing import Any

from ..data_card.html import ROWS, details, escape, number, paragraph, table
from ..data_card.svg import figure
from .page_plots import Mark, Panel, intervals

Report = dict[str, Any]

# Of the mixtures, in drawings: numbers of the style sheet's colours.
COLOURS = {"proposal": 4, "configured": 6, "uniform": 2, "natural": 3}
_OBJECTIVE = "objective"
_DEVIATIONS = 1.96


def predicted(report: Report) -> str:
    """Return the process's posterior of each mixture, and what the other models say of it."""
    search = report["search"]
    if search is None:
        return ""
    rows = []
    for name, entry in search["proposal"].items():
        reach = _DEVIATIONS * entry["deviation"]
        mean = entry[_OBJECTIVE]
        rows.append((name, mean, mean - reach, mean + reach, ()))
    caption = "Objective by the Gaussian process, bits per byte: mean and 95 % of its posterior"
    models = search["models"]
    cells = []
    for name in report["mixtures"]:
        entry, confirmed = search["proposal"][name], report["confirmed"][name][_OBJECTIVE]
        gain = f"{entry['gain']:+.4f} ± {entry['gain_deviation']:.4f}"
        cells.append(
            [
                name,
                *(f"{model['mixtures'][name]:.4f}" for model in models.values()),
                "–" if name == "proposal" else gain,
                "–" if confirmed is None else f"{confirmed['mean']:.4f}",
            ]
        )
    header = ["mixture", *(name.replace("_", " ") for name in models)]
    header += ["less the proposal (process)", "confirmed"]
    return figure(caption, intervals(caption, rows), wide=True) + table(
        "Predicted objective by model, and measured", header, cells
    )


def models(report: Report) -> str:
    """Return predicted against measured of each model, each run predicted without it."""
    search = report["search"]
    if search is None:
        return ""
    measured = [run[_OBJECTIVE] for run in search["runs"]]
    names = [run["name"] for run in search["runs"]]
    drawn = []
    for name, model in search["models"].items():
        points = list(zip(measured, model["predicted"], strict=True))
        title = f"{name.replace('_', ' ')}: rank correlation {model['correlation'][_OBJECTIVE]:.3f}"
        panel = Panel(title, ("measured", "predicted"), points)
        low, high = max(panel.x[0], panel.y[0]), min(panel.x[1], panel.y[1])
        if low < high:
            panel.line([(low, low), (high, high)], "faint", dashed=True)
        panel.dots(list(zip(names, points, strict=True)))
        drawn.append(figure(title, panel.svg()))
    targets = next(iter(search["models"].values()))["correlation"]
    rows = [
        [target, *(f"{model['correlation'][target]:.3f}" for model in search["models"].values())]
        for target in targets
    ]
    header = ["rank correlation", *(name.replace("_", " ") for name in search["models"])]
    text = (
        "Each run is predicted by models fitted to the other four fifths. The proposal is the "
        "Gaussian process's; where its rank correlation is low, what it proposes is a guess."
    )
    caption = "Spearman's rank correlation of predicted with measured, out of fold"
    return paragraph(text) + _grid(drawn) + table(caption, header, rows)


def weights(report: Report) -> str:
    """Return, for each subset, its weight against the objective and against its own loss."""
    search = report["search"]
    if search is None:
        return ""
    drawn = []
    for subset, lines in search["slices"].items():
        for target, line in lines.items():
            runs = [
                (
                    run["name"],
                    (
                        run["weights"].get(subset, 0.0),
                        run[_OBJECTIVE] if target == _OBJECTIVE else run["bits_per_byte"][target],
                    ),
                )
                for run in search["runs"]
            ]
            drawn.append(_slice(report, subset, target, line, runs))
    text = (
        "Dots are runs. The line is what the Gaussian process says along the weight of one subset, "
        "the others in the proportions of the proposal, with 95 % of its posterior; the dashed "
        "line is the proposal's weight."
    )
    return paragraph(text) + _grid(drawn)


def _slice(
    report: Report,
    subset: str,
    target: str,
    line: list[list[float]],
    runs: list[tuple[str, tuple[float, float]]],
) -> str:
    lower = [(x, mean - _DEVIATIONS * deviation) for x, mean, deviation in line]
    upper = [(x, mean + _DEVIATIONS * deviation) for x, mean, deviation in line]
    what = _OBJECTIVE if target == _OBJECTIVE else "its held-out set"
    title = f"{subset}: {what}"
    labels = (f"weight of {subset}", "bits per byte")
    panel = Panel(title, labels, [*lower, *upper, *(point for _, point in runs)])
    panel.band(lower, upper)
    panel.line([(x, mean) for x, mean, _ in line])
    panel.dots(runs)
    panel.upright(report["mixtures"]["proposal"][subset], "proposal")
    return figure(title, panel.svg())


def frontiers(report: Report) -> str:
    """Return what a lower loss on one target costs the others, with the mixtures beside it."""
    search = report["search"]
    if search is None or not search["frontiers"]:
        return ""
    drawn = []
    for target, entry in search["frontiers"].items():
        line = [(x, y) for x, y in entry["line"]]
        marks = [Mark(name, (x, y), COLOURS[name]) for name, (x, y) in entry["mixtures"].items()]
        labels = (f"bits per byte of {target}", "of the others")
        panel = Panel(f"Frontier of {target}", labels, [*line, *(mark.at for mark in marks)])
        panel.line(line)
        panel.marks(marks)
        drawn.append(figure(target, panel.svg()))
    key = "".join(
        f'<span class="key" style="background:var(--c{colour})"></span>{escape(name)}'
        for name, colour in COLOURS.items()
        if name in report["mixtures"]
    )
    text = (
        "The line is the least loss on the other targets, in their shares, that the Gaussian "
        "process predicts for each loss on this one, among mixtures within the epoch caps. A "
        "mixture above the line can be bettered on both sides; along it, one side pays."
    )
    return paragraph(text) + f'<p class="note">{key}</p>' + _grid(drawn)


def runs(report: Report) -> str:
    """Return the table of the search's runs, and those that diverged."""
    search = report["search"]
    if search is None:
        return ""
    subsets, targets = list(report["subsets"]), list(report["objective"])
    ordered = sorted(search["runs"], key=lambda run: (run[_OBJECTIVE], run["name"]))
    rows = [
        [
            run["name"],
            *(f"{run['weights'].get(name, 0.0):.4f}" for name in subsets),
            *(f"{run['bits_per_byte'][name]:.4f}" for name in targets),
            f"{run[_OBJECTIVE]:.4f}",
        ]
        for run in ordered[:ROWS]
    ]
    header = ["run", *(f"weight of {name}" for name in subsets)]
    header += [*(f"bits per byte of {name}" for name in targets), _OBJECTIVE]
    lost = search["diverged"]
    note = f"Diverged, and left out: {', '.join(lost)}. " if lost else "No run diverged. "
    note += "runs.csv has all that did not."
    made = table("Runs, the best first", header, rows)
    return paragraph(note) + details(f"{number(len(rows))} runs", made)


def _grid(drawn: list[str]) -> str:
    return f'<div class="grid">{"".join(drawn)}</div>'
