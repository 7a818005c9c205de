"""The card as one HTML page: no script, and nothing is fetched from anywhere."""

from collections.abc import Callable
from typing import Any

from . import page_contents, page_flow, page_rules
from .html import details, escape, number, paragraph, section, table
from .style import CSS

Card = dict[str, Any]

# Nothing but the styles of the page itself is allowed, whatever the data says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

# key: (title, what writes it: empty where the card has nothing to say)
SECTIONS: dict[str, tuple[str, Callable[[Card], str]]] = {
    "stages": ("What went in and what came out", page_flow.stages),
    "rules": ("What the rules dropped", page_rules.rules),
    "signals": ("Signals and thresholds", page_rules.signals),
    "scores": ("Scores of classifiers", page_rules.scores),
    "languages": ("Languages", page_contents.languages),
    "lengths": ("Lengths of documents", page_contents.lengths),
    "hosts": ("Hosts", page_contents.hosts),
    "duplicates": ("Duplicates", page_contents.duplicates),
    "overlaps": ("Copies of test sets", page_contents.overlaps),
    "tokens": ("Tokens", page_flow.tokens),
    "mixture": ("Mixture", page_flow.mixture),
    "training": ("Training", page_flow.training),
    "times": ("Time and throughput", page_flow.times),
    "datasheet": ("Datasheet", page_contents.datasheet),
    "provenance": ("Config, versions and checksums", page_contents.provenance),
}


def page(card: Card, name: str, other: str = "") -> str:
    """Return the page of a card.

    Args:
      card: as from `gather.gather`; with `differences`, as from `compare.compare`, the page begins
        with the comparison.
      name: of the dataset, for the title; `other`: of the one that it is compared with.
    """
    parts = [(key, title, write(card)) for key, (title, write) in SECTIONS.items()]
    if "differences" in card:
        parts.insert(0, ("comparison", f"Compared with {other}", _comparison(card)))
    parts = [part for part in parts if part[2]]
    links = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title, _ in parts)
    body = "".join(section(*part) for part in parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)} · data card</title><style>{CSS}</style></head><body>"
        '<a class="skip" href="#content">Skip to the content</a>'
        f"<header><h1>Data card of {escape(name)}</h1>{_missing(card)}</header>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav><main id="content">{body}</main>'
        f"<footer>{paragraph(_footer(card), 'note')}</footer></body></html>\n"
    )


def _missing(card: Card) -> str:
    if not card["missing"]:
        return paragraph("Every stage of the build has finished.", "note")
    lines = "".join(f"<li>{escape(line)}</li>" for line in card["missing"])
    return (
        '<div class="missing" role="note"><p><strong>This card is not complete.</strong> The same '
        f"build command continues an unfinished build.</p><ul>{lines}</ul></div>"
    )


def _footer(card: Card) -> str:
    return (
        f"Written by massivetext {card['written_by']['massivetext']} from what the build recorded, "
        "without reading any text. The same numbers are in the JSON file beside this page."
    )


def _comparison(card: Card) -> str:
    captions = {
        "documents": "Documents after each stage",
        "bytes": "Bytes of text after each stage",
        "tokens": "Tokens and epochs",
        "rules": "Documents that fail each rule",
        "config": "Keys of the config that differ",
    }
    found = []
    for key, caption in captions.items():
        rows = card["differences"][key]
        if not rows:
            found.append(paragraph(f"{caption}: none."))
            continue
        texts = 3 if key == "config" else 1
        header = ["", "this run", "other run", *(["difference"] if texts == 1 else [])]
        cells = [
            [row["name"], _value(row["this"]), _value(row["other"]), _signed(row["difference"])]
            for row in rows
        ]
        made = table(caption, header, [row[: len(header)] for row in cells], texts)
        found.append(made if key in ("documents", "config") else details(caption, made))
    return "".join(found)


def _value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return number(value, 0 if isinstance(value, int) else 2)


def _signed(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:+,}" if isinstance(value, int) else f"{value:+,.2f}"
