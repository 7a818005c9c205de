"""Growth with size as an SVG on logarithmic axes, without a plotting library."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 190, 36, 44
COLOURS = ("#1f5fa8", "#d1495b", "#2e8b57")
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """What was measured, as dots, and what the model says, as a line; all values above 0."""

    name: str
    measured: Points
    model: Points


def growth_svg(series: Sequence[Series], title: str) -> str:
    """Return an SVG of values over bytes, both axes logarithmic."""
    points = [point for one in series for point in (*one.measured, *one.model)]
    low_x, high_x = _decades([x for x, _ in points])
    low_y, high_y = _decades([y for _, y in points])

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = (math.log10(point[0]) - low_x) / (high_x - low_x)
        y = (math.log10(point[1]) - low_y) / (high_y - low_y)
        return LEFT + (WIDTH - LEFT - RIGHT) * x, TOP + (HEIGHT - TOP - BOTTOM) * (1 - y)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for power in range(low_x, high_x + 1):
        x, _ = place((10.0**power, 10.0**low_y))
        parts.append(
            f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>'
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{10 ** (power % 3)} {UNITS[power // 3]}</text>"
        )
    for power in range(low_y, high_y + 1):
        _, y = place((10.0**low_x, 10.0**power))
        parts.append(
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:,g}</text>'
        )
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, one.model))
        style = f'fill="none" stroke="{colour}" stroke-width="2"'
        parts.append(f'<polyline points="{path}" {style}/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
            for x, y in map(place, one.measured)
        ]
        left, height = WIDTH - RIGHT + 12, TOP + 18 * number + 10
        parts.append(
            f'<path d="M{left} {height - 4}h20" {style}/>'
            f'<text x="{left + 26}" y="{height}">{escape(one.name)}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Return the powers of ten that enclose the values, at least one apart."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)
