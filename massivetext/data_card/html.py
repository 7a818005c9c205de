"""Pieces of the page. Whatever comes from the data goes through `escape`, and stays text."""

import html
from collections.abc import Sequence
from typing import Any

# Control characters and those that turn the direction of writing are shown, not obeyed.
_TURNS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)
_SHOWN = (
    {code: chr(0x2400 + code) for code in range(32) if code not in (9, 10)}
    | dict.fromkeys(range(0x7F, 0xA0), "\N{REPLACEMENT CHARACTER}")
    | {code: f"\\u{code:04x}" for code in _TURNS}
)
# A table longer than this says how much more there is, and that card.json has it.
ROWS = 100
CELL_CHARACTERS = 200


def escape(value: Any) -> str:
    """Return any value as text that HTML shows as it is, in attributes too."""
    text = str(value).encode("utf-8", "backslashreplace").decode().translate(_SHOWN)
    return html.escape(text, quote=True)


def number(value: Any, decimals: int = 0) -> str:
    """Return a number with thousands separated; a dash for none."""
    return "–" if value is None else f"{value:,.{decimals}f}"


def percent(part: float, whole: float) -> str:
    """Return a share with one decimal; a dash of nothing."""
    return f"{part / whole:.1%}" if whole else "–"


def table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1
) -> str:
    """Return a table of plain texts.

    Args:
      texts: how many columns from the left are text; the others are numbers, aligned right.
    """
    heads = "".join(
        f'<th scope="col"{"" if i < texts else _NUMBER}>{escape(h)}</th>'
        for i, h in enumerate(header)
    )
    body = "".join(_row(row, texts) for row in rows[:ROWS])
    more = len(rows) - ROWS
    note = f'<p class="note">{more:,} more rows are in card.json.</p>' if more > 0 else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{note}"
    )


_NUMBER = ' class="number"'


def _row(row: Sequence[str], texts: int) -> str:
    cells = [f'<th scope="row">{escape(_cut(row[0]))}</th>']
    for i, cell in enumerate(row[1:], 1):
        cells.append(f"<td{'' if i < texts else _NUMBER}>{escape(_cut(cell))}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _cut(text: str) -> str:
    return text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 1] + "…"


def paragraph(text: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f"<p{name}>{escape(text)}</p>"


def section(key: str, title: str, *contents: str) -> str:
    """Return a section with a heading that the page's table of contents leads to."""
    body = "".join(contents)
    return (
        f'<section id="{key}" aria-labelledby="{key}-title">'
        f'<h2 id="{key}-title">{escape(title)}</h2>{body}</section>'
    )


def details(summary: str, *contents: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{''.join(contents)}</details>"
