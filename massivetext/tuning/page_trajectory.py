"""The weights that DoReMi or online mixing went through."""

from typing import Any

from ..data_card.html import escape, paragraph
from ..data_card.svg import figure
from .page_plots import Panel

# Points of a line; a screen shows no more.
_POINTS = 200
_COLOURS = 7


def trajectory(report: dict[str, Any]) -> str:
    """Return the weight of each subset by step; nothing for a regression, which has none."""
    entries = report["trajectory"]
    if not entries:
        return ""
    kept = entries[:: -(-len(entries) // _POINTS)]
    lines = {
        name: [(float(entry["step"]), float(entry["weights"][name])) for entry in kept]
        for name in report["subsets"]
    }
    drawn = []
    for number, (name, line) in enumerate(lines.items()):
        everything = [point for other in lines.values() for point in other]
        panel = Panel(f"Weight of {name} by step", ("step", "weight"), everything)
        panel.line(line, f"c{number % _COLOURS}")
        drawn.append(figure(name, panel.svg()))
    text = "One panel per subset, on the same axes. The proposal is not the last weights but what "
    text += "the method takes of them: the mean over the run, within mixture.max_epochs."
    return paragraph(text) + f'<div class="grid" id="{escape("steps")}">{"".join(drawn)}</div>'
