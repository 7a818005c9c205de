"""Drawings of the tuning's page: SVG with a text alternative, coloured by the style sheet."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ..data_card.html import escape

WIDTH, HEIGHT = 340, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 38
_ROW, _LABEL = 28, 110
_WIDE = 720

Point = tuple[float, float]


class Mark(NamedTuple):
    """A mixture in a drawing: its name, where it is, and the number of its colour, 0 to 6."""

    name: str
    at: Point
    colour: int


class Panel:
    """Linear axes that reach all `points`."""

    def __init__(self, title: str, labels: tuple[str, str], points: Sequence[Point]):
        self.title, self.labels = title, labels
        self.x = _padded([x for x, _ in points])
        self.y = _padded([y for _, y in points])
        self.parts = [self._frame()]

    def at(self, point: Point) -> Point:
        """Return the position in the drawing."""
        across = (point[0] - self.x[0]) / (self.x[1] - self.x[0])
        up = (point[1] - self.y[0]) / (self.y[1] - self.y[0])
        return (
            _LEFT + (WIDTH - _LEFT - _RIGHT) * across,
            _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - up),
        )

    def dots(self, points: Sequence[tuple[str, Point]]) -> None:
        """Draw dots that tell their name."""
        for name, point in points:
            x, y = self.at(point)
            self.parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="var(--c0)">'
                f"<title>{escape(name)}: {point[0]:.4g}, {point[1]:.4g}</title></circle>"
            )

    def line(self, points: Sequence[Point], colour: str = "kept", dashed: bool = False) -> None:
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(
            f'<polyline points="{self._path(points)}" fill="none" stroke="var(--{colour})"'
            f' stroke-width="1.8"{dash}/>'
        )

    def band(self, lower: Sequence[Point], upper: Sequence[Point]) -> None:
        path = self._path([*lower, *reversed(upper)])
        self.parts.append(f'<polygon points="{path}" fill="var(--kept)" fill-opacity="0.18"/>')

    def marks(self, marks: Sequence[Mark]) -> None:
        """Draw a diamond for each mixture."""
        for mark in marks:
            x, y = self.at(mark.at)
            self.parts.append(
                f'<path d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z" fill="var(--c{mark.colour})" '
                f'stroke="var(--ink)"><title>{escape(mark.name)}: {mark.at[0]:.4g}, '
                f"{mark.at[1]:.4g}</title></path>"
            )

    def upright(self, x: float, name: str) -> None:
        """Draw a dashed line at `x`."""
        across = self.at((x, self.y[0]))[0]
        self.parts.append(
            f'<path d="M{across:.1f} {_TOP}V{HEIGHT - _BOTTOM}" stroke="var(--limit)" '
            f'stroke-dasharray="4 3"><title>{escape(name)} {x:.4g}</title></path>'
        )

    def svg(self) -> str:
        return _svg(WIDTH, HEIGHT, self.title, "".join(self.parts))

    def _path(self, points: Sequence[Point]) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.at, points))

    def _frame(self) -> str:
        low, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
        parts = [f'<path d="M{_LEFT} {_TOP}V{low}H{right}" fill="none" stroke="var(--faint)"/>']
        for value in ticks(*self.x, 5):
            x = self.at((value, self.y[0]))[0]
            parts.append(f'<path d="M{x:.1f} {low}v4" stroke="var(--faint)"/>')
            parts.append(_text(x, low + 16, f"{value:.4g}", "middle", "faint"))
        for value in ticks(*self.y, 5):
            y = self.at((self.x[0], value))[1]
            parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="var(--line)"/>')
            parts.append(_text(_LEFT - 5, y + 4, f"{value:.4g}", "end", "faint"))
        parts.append(_text((_LEFT + right) / 2, HEIGHT - 5, self.labels[0], "middle"))
        middle = (_TOP + low) / 2
        parts.append(
            f'<text x="11" y="{middle}" text-anchor="middle" '
            f'transform="rotate(-90 11 {middle})">{escape(self.labels[1])}</text>'
        )
        return "".join(parts)


def intervals(title: str, rows: Sequence[tuple[str, float, float, float, Sequence[float]]]) -> str:
    """Return a line per row: an interval, its mean, and the single runs it was taken of.

    Args:
      rows: label, mean, low, high, runs.
    """
    ends = [value for _, mean, low, high, runs in rows for value in (mean, low, high, *runs)]
    low, high = _padded(ends)
    scale = (_WIDE - _LABEL - 20) / (high - low)
    bottom = len(rows) * _ROW
    body = []
    for value in ticks(low, high, 7):
        x = _LABEL + (value - low) * scale
        body.append(f'<path d="M{x:.1f} 0V{bottom}" stroke="var(--line)"/>')
        body.append(_text(x, bottom + 16, f"{value:.5g}", "middle", "faint"))
    for number, (label, mean, least, most, runs) in enumerate(rows):
        y = number * _ROW + _ROW // 2
        start, stop, centre = (_LABEL + (v - low) * scale for v in (least, most, mean))
        body.append(_text(_LABEL - 8, y + 4, label[:16], "end"))
        body.append(
            f'<path d="M{start:.1f} {y}H{stop:.1f}" stroke="var(--kept)" stroke-width="3"/>'
        )
        for value in runs:
            x = _LABEL + (value - low) * scale
            body.append(f'<path d="M{x:.1f} {y - 7}v14" stroke="var(--faint)"/>')
        told = f"{label}: {mean:.5g} ({least:.5g} to {most:.5g})"
        body.append(
            f'<circle cx="{centre:.1f}" cy="{y}" r="5" fill="var(--kept)">'
            f"<title>{escape(told)}</title></circle>"
        )
    told = "; ".join(f"{label} {mean:.4f}" for label, mean, *_ in rows)
    return _svg(_WIDE, bottom + 22, f"{title}: {told}", "".join(body))


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round numbers from `low` to `high`, which is above it."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(step * count, 12) for count in range(first, last + 1)][:most]


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    space = 0.05 * (high - low) or max(abs(high) * 0.01, 1e-6)
    return low - space, high + space


def _svg(width: int, height: int, label: str, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{body}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(text)}</text>'
