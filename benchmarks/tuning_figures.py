"""Writes the drawings of one section of a tuning's page as a single SVG file.

    python benchmarks/tuning_figures.py OUT/tune/index.html SECTION PICTURE.svg

SECTION is weights, models, frontier, trajectory or another that the page links to.
"""

import argparse
import re
import sys
from pathlib import Path

from massivetext.data_card.html import escape
from massivetext.data_card.style import CSS
from massivetext.dataset import atomic_file
from massivetext.errors import ConfigError, MassivetextError

COLUMNS, GAP, CAPTION = 2, 16, 20
LETTER = 7  # about as wide as it is, at 12px
_FIGURE = re.compile(
    r"<figure><figcaption>(.*?)</figcaption>(?:<div[^>]*>)?"
    r'<svg viewBox="0 0 (\d+) (\d+)"[^>]*>(.*?)</svg>',
    re.DOTALL,
)
_KEY = re.compile(r'<span class="key" style="background:(.*?)"></span>(.*?)(?=<)')
_COLOURS = re.compile(r":root\{(.*?)\}", re.DOTALL)


def picture(page: str, section: str) -> str:
    """Return the drawings of a section in rows of `COLUMNS`, and the key to their colours below:
    light, on white.

    Raises:
      ConfigError: the page has no such section, or nothing is drawn in it.
    """
    _, found, rest = page.partition(f'<section id="{section}"')
    body = rest.partition("</section>")[0]
    drawings, keys = _FIGURE.findall(body), _KEY.findall(body)
    if not found or not drawings:
        raise ConfigError(f"the page has no drawings in a section {section!r}")
    columns = min(COLUMNS, len(drawings))
    width = max(int(w) for _, w, _, _ in drawings)
    height = max(int(h) for _, _, h, _ in drawings) + CAPTION
    parts = []
    for number, (caption, _, _, drawing) in enumerate(drawings):
        across, down = number % columns * (width + GAP), number // columns * (height + GAP)
        parts.append(
            f'<g transform="translate({across} {down})"><text x="0" y="12" font-weight="600">'
            f'{caption}</text><g transform="translate(0 {CAPTION})">{drawing}</g></g>'
        )
    rows = -(-len(drawings) // columns)
    bottom, across = rows * (height + GAP) - GAP, 0
    for colour, name in keys:
        parts.append(
            f'<g transform="translate({across} {bottom + 4})"><rect width="12" height="12" '
            f'fill="{colour}"/><text x="17" y="11">{name}</text></g>'
        )
        across += 17 + LETTER * len(name) + GAP
    size = f"{columns * (width + GAP) - GAP} {bottom + (CAPTION if keys else 0)}"
    colours = _COLOURS.findall(CSS)[0].replace("\n", "")
    style = (
        f"svg{{{colours};font:12px system-ui,sans-serif}}svg text{{fill:var(--ink)}}"
        "svg .faint{fill:var(--faint)}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img" '
        f'aria-label="{escape(section)}"><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", metavar="PAGE", type=Path)
    parser.add_argument("section", metavar="SECTION")
    parser.add_argument("picture", metavar="PICTURE.svg", type=Path)
    options = parser.parse_args()
    try:
        drawn = picture(options.page.read_text(encoding="utf-8"), options.section)
        with atomic_file(options.picture) as out:
            out.write(drawn.encode())
    except (MassivetextError, OSError) as error:
        print(f"tuning_figures.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
