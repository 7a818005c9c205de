"""A pair of axes as SVG, logarithmic where wanted: no plotting library, the same bytes always."""

import math
from collections.abc import Sequence

import numpy as np

from .laws import Array

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 54, 44
LETTER = 7  # wide, or less
# From dark to light in equal steps of brightness: small to large sizes or budgets.
RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98))
INK, LAW = "#222", "#d55e00"


class Axes:
    """Axes from `top` down. What is drawn beyond them is cut off.

    Args:
      x, y: what the axes must reach, (low, high).
      log_y: whether y is logarithmic; x always is.
    """

    def __init__(
        self,
        top: int,
        title: str,
        labels: tuple[str, str],
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        log_y: bool,
    ):
        self.top, self.title, self.labels, self.log_y = top, title, labels, log_y
        self.x_ends = _padded(math.log10(x[0]), math.log10(x[1]))
        low, high = (math.log10(y[0]), math.log10(y[1])) if log_y else y
        self.y_ends = _padded(low, high)

    def at(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return positions in the picture."""
        low, high = self.x_ends
        across = (np.log10(x) - low) / (high - low)
        low, high = self.y_ends
        up = ((np.log10(y) if self.log_y else y) - low) / (high - low)
        down = self.top + TOP + (HEIGHT - TOP - BOTTOM) * (1 - up)
        return LEFT + (WIDTH - LEFT - RIGHT) * across, down

    def line(self, x: Array, y: Array, colour: str, width: float = 1.5) -> str:
        path = " ".join(
            f"{across:.1f},{down:.1f}"
            for across, down in zip(*self.at(x, y), strict=True)
            if math.isfinite(across) and abs(down) < 1e5
        )
        return (
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"'
            f' clip-path="url(#c{self.top})"/>'
        )

    def dots(self, x: Array, y: Array, colour: str, radius: float = 2.5) -> str:
        marks = "".join(
            f'<circle cx="{across:.1f}" cy="{down:.1f}" r="{radius}"/>'
            for across, down in zip(*self.at(x, y), strict=True)
        )
        return f'<g fill="{colour}" clip-path="url(#c{self.top})">{marks}</g>'

    def note(self, x: float, y: float, text: str) -> str:
        across, down = (float(value[0]) for value in self.at(np.array([x]), np.array([y])))
        return f'<text x="{across + 4:.1f}" y="{down - 3:.1f}" font-size="10">{text}</text>'

    def legend(self, entries: Sequence[tuple[str, str]]) -> str:
        """Return (text, colour) side by side below the title, where nothing is drawn."""
        parts, left, y = [], LEFT, self.top + 40
        for text, colour in entries:
            parts.append(
                f'<path d="M{left} {y - 4}h18" stroke="{colour}" stroke-width="2"/>'
                f'<text x="{left + 24}" y="{y}">{text}</text>'
            )
            left += 40 + LETTER * len(text)
        return "".join(parts)

    def frame(self) -> str:
        """Return grid, ticks and labels; to be drawn first."""
        bottom, middle = self.top + HEIGHT, self.top + HEIGHT / 2
        height = HEIGHT - TOP - BOTTOM
        parts = [
            f'<clipPath id="c{self.top}"><rect x="{LEFT}" y="{self.top + TOP}" '
            f'width="{WIDTH - LEFT - RIGHT}" height="{height}"/></clipPath>',
            f'<text x="{LEFT}" y="{self.top + 20}" font-size="14">{self.title}</text>',
        ]
        y_middle = 10 ** self.y_ends[0] if self.log_y else self.y_ends[0]
        for value in _log_ticks(*self.x_ends):
            across = float(self.at(np.array([value]), np.array([y_middle]))[0][0])
            parts.append(
                f'<path d="M{across:.1f} {self.top + TOP}v{height}" stroke="#ddd"/>'
                f'<text x="{across:.1f}" y="{bottom - BOTTOM + 18}" text-anchor="middle">'
                f"{value:.0e}</text>".replace("e+", "e")
            )
        x_low = 10 ** self.x_ends[0]
        ticks = _log_ticks(*self.y_ends) if self.log_y else _ticks(*self.y_ends)
        for value in ticks:
            down = float(self.at(np.array([x_low]), np.array([value]))[1][0])
            text = human(value) if self.log_y else f"{value:.4g}"
            parts.append(
                f'<path d="M{LEFT} {down:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                f'<text x="{LEFT - 8}" y="{down + 4:.1f}" text-anchor="end">{text}</text>'
            )
        parts.append(
            f'<text x="{WIDTH / 2}" y="{bottom - 8}" text-anchor="middle">{self.labels[0]}</text>'
            f'<text x="14" y="{middle}" text-anchor="middle" '
            f'transform="rotate(-90 14 {middle})">{self.labels[1]}</text>'
        )
        return "\n".join(parts)


def svg(parts: Sequence[str], panels: int) -> str:
    """Return a picture of so many axes, one below the other."""
    height = HEIGHT * panels
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">'
        f'\n<rect width="{WIDTH}" height="{height}" fill="white"/>'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def shade(share: float) -> str:
    """Return the colour at `share`, from 0 to 1, of the ramp."""
    place = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    index = min(int(place), len(RAMP) - 2)
    parts = (
        round(a + (b - a) * (place - index))
        for a, b in zip(RAMP[index], RAMP[index + 1], strict=True)
    )
    return "#" + "".join(f"{part:02x}" for part in parts)


def human(count: float) -> str:
    """Return a count as people write sizes and tokens, such as 2.8B."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size * 0.9995:
            return f"{count / size:.3g}{unit}" if count < 1e15 else f"{count:.2e}"
    return f"{count:.3g}"


def _padded(low: float, high: float) -> tuple[float, float]:
    space = max(0.03 * (high - low), 0.01)
    return low - space, high + space


def _log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten between 10^low and 10^high; with 2 and 5 times those if there are few.

    At most about ten of them.
    """
    powers = range(math.floor(low), math.ceil(high) + 1)
    stride = max(1, math.ceil((high - low) / 10))
    steps = (1, 2, 5) if high - low < 3 else (1,)
    values = [step * 10.0**power for power in powers if power % stride == 0 for step in steps]
    return [value for value in values if low <= math.log10(value) <= high]


def _ticks(low: float, high: float) -> list[float]:
    """Return three to nine round numbers between two."""
    rough = (high - low) / 8
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * count for count in range(math.ceil(low / step), math.floor(high / step) + 1)]
