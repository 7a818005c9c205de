"""Recall over true similarity as an SVG: no plotting library, the same bytes every time."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 60, 190, 36, 44
COLOURS = ("#1f5fa8", "#d1495b", "#edae49", "#2e8b57", "#8fbc5a", "#7a5195", "#c08fd0")
STEPS = 100


@dataclass(frozen=True)
class Curve:
    """Measured recall `y` at similarities `x`, and bands x rows of its theory (0: none drawn)."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    bands: int
    rows: int


def recall_svg(curves: Sequence[Curve], title: str, threshold: float) -> str:
    """Return an SVG of the curves: measured as points on lines, their theory dashed."""

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value)

    def line(xs: Sequence[float], ys: Sequence[float], style: str) -> str:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs, ys, strict=True))
        return f'<polyline points="{path}" fill="none" {style}/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{_escape(title)}</text>',
    ]
    for tick in range(6):
        value = tick / 5
        parts.append(
            f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.1f}</text>'
            f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{value:.1f}</text>"
        )
    parts.append(f'<path d="M{x(threshold):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#888"/>')
    grid = [step / STEPS for step in range(STEPS + 1)]
    drawn: set[tuple[int, int]] = set()
    for curve in curves:
        shape = (curve.bands, curve.rows)
        if curve.bands and shape not in drawn:
            drawn.add(shape)
            theory = [1 - (1 - s**curve.rows) ** curve.bands for s in grid]
            parts.append(line(grid, theory, 'stroke="#666" stroke-dasharray="4 3"'))
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(line(curve.x, curve.y, f'stroke="{colour}" stroke-width="2"'))
        parts += [
            f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.5" fill="{colour}"/>'
            for a, b in zip(curve.x, curve.y, strict=True)
        ]
        parts.append(_legend(number, curve.name, f'stroke="{colour}" stroke-width="2"'))
    shapes = ", ".join(f"{bands} x {rows}" for bands, rows in sorted(drawn))
    parts += [
        _legend(len(curves), "theory, bands x rows:", 'stroke="#666" stroke-dasharray="4 3"'),
        f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 18 * len(curves) + 28}">{shapes}</text>',
        f'<text x="{x(0.5):.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
        "true Jaccard of 13-grams</text>",
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {HEIGHT / 2})">share of the pairs found</text>',
        "</svg>\n",
    ]
    return "\n".join(parts)


def _legend(number: int, name: str, style: str) -> str:
    left, height = WIDTH - RIGHT + 12, TOP + 18 * number + 10
    return (
        f'<path d="M{left} {height - 4}h20" {style}/>'
        f'<text x="{left + 26}" y="{height}">{_escape(name)}</text>'
    )


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
