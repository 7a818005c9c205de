"""Bytes per token of every subset and language as a picture."""

from html import escape
from typing import Any

WIDTH = 720
LEFT, RIGHT, TOP, ROW = 150, 70, 56, 22
COLOURS = ("#1f5fa8", "#c8642c")
LANGUAGES = 30


def bars_svg(value: dict[str, Any]) -> str:
    """Return an SVG of the value of `report.report`: a bar a group, two with `against`."""
    groups = [("subsets", value["subsets"])]
    if value["languages"]:
        groups.append(("languages", dict(list(value["languages"].items())[:LANGUAGES])))
    keys = ["bytes_per_token"]
    names = [value["model"]["path"]]
    if "against" in value:
        keys.append("other_bytes_per_token")
        names.append(value["against"]["path"])
    top = max(row[key] for _, rows in groups for row in rows.values() for key in keys) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / top
    parts, y = [], TOP
    for title, rows in groups:
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end" fill="#777">{title}</text>'
        )
        y += ROW
        for name, row in rows.items():
            parts.append(
                f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
            )
            high = (ROW - 6) / len(keys)
            for place, key in enumerate(keys):
                parts.append(
                    f'<rect x="{LEFT}" y="{y + 2 + place * high:.1f}" height="{high:.1f}" '
                    f'width="{row[key] * scale:.1f}" fill="{COLOURS[place]}"/>'
                )
            shown = " / ".join(f"{row[key]:.2f}" for key in keys)
            longest = max(row[key] for key in keys) * scale
            parts.append(f'<text x="{LEFT + longest + 5:.1f}" y="{y + 14}">{shown}</text>')
            y += ROW
        y += ROW // 2
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{y}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">Bytes of UTF-8 per token</text>',
    ]
    for place, name in enumerate(names):
        head.append(
            f'<text x="{LEFT + 280 * place}" y="42" fill="{COLOURS[place]}">\u25a0 '
            f"{escape(name[-40:])}</text>"
        )
    return "\n".join([*head, *parts, "</svg>\n"])
