"""The curves of a run as an SVG of its own: no plotting library, the same bytes every time."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import chain

from massivetext.scaling.axes import human

Points = Sequence[tuple[int, float]]

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 36, 44
SMOOTHING = 0.9
MAX_POINTS = 2000
# Told apart by people who see colours differently (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def run_svg(losses: Points, held_out: Mapping[str, Points], title: str) -> str:
    """Return an SVG of the losses with their moving average and, below, of the held-out sets.

    Args:
      losses: (tokens, nats per token), in order.
      held_out: (tokens, bits per byte) by subset. Without a second point anywhere there is no
        second panel.
    """
    curves = {name: points for name, points in held_out.items() if len(points) > 1}
    height = HEIGHT * (2 if curves else 1)
    end = max((tokens for tokens, _ in chain(losses, *curves.values())), default=1) or 1
    loss = _Panel(0, end, [value for _, value in losses], "loss, nats per token")
    smooth = list(zip((x for x, _ in losses), _smooth([y for _, y in losses]), strict=True))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title, quote=False)}</text>',
        *loss.frame(),
        loss.curve(losses, "#b9cfe8", 1),
        loss.curve(smooth, "#1f5fa8", 2),
    ]
    if curves:
        values = [value for points in curves.values() for _, value in points]
        panel = _Panel(HEIGHT, end, values, "held out, bits per byte")
        parts += panel.frame()
        for number, (name, points) in enumerate(sorted(curves.items())):
            colour = COLOURS[number % len(COLOURS)]
            parts += [panel.curve(points, colour, 2), panel.legend(number, name, colour)]
    return "\n".join([*parts, "</svg>\n"])


class _Panel:
    """One pair of axes, from `top` down: tokens from 0 to `end` across, all of `values` up."""

    def __init__(self, top: int, end: int, values: Sequence[float], label: str):
        self.top, self.end, self.label = top, end, label
        self.low, self.high = min(values, default=0.0), max(values, default=1.0)
        if self.high - self.low < 1e-9:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def x(self, tokens: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * tokens / self.end

    def y(self, value: float) -> float:
        share = (self.high - value) / (self.high - self.low)
        return self.top + TOP + (HEIGHT - TOP - BOTTOM) * share

    def curve(self, points: Points, colour: str, width: float) -> str:
        chosen = points[:: max(1, len(points) // MAX_POINTS)]
        path = " ".join(f"{self.x(tokens):.1f},{self.y(value):.1f}" for tokens, value in chosen)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    def frame(self) -> list[str]:
        bottom = self.top + HEIGHT
        parts = []
        for tick in range(5):
            value = self.low + (self.high - self.low) * tick / 4
            at = self.end * tick / 4
            parts.append(
                f'<path d="M{LEFT} {self.y(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                f'<text x="{LEFT - 8}" y="{self.y(value) + 4:.1f}" text-anchor="end">'
                f'{value:.2f}</text><text x="{self.x(at):.1f}" y="{bottom - BOTTOM + 18}" '
                f'text-anchor="middle">{human(at)}</text>'
            )
        middle = self.top + HEIGHT / 2
        parts += [
            f'<text x="{WIDTH / 2}" y="{bottom - 8}" text-anchor="middle">tokens</text>',
            f'<text x="14" y="{middle}" text-anchor="middle" '
            f'transform="rotate(-90 14 {middle})">{self.label}</text>',
        ]
        return parts

    def legend(self, number: int, name: str, colour: str) -> str:
        y = self.top + TOP + 14 + 16 * number
        return (
            f'<path d="M{WIDTH - 150} {y - 4}h18" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{WIDTH - 126}" y="{y}">{escape(name, quote=False)}</text>'
        )


def _smooth(losses: Sequence[float]) -> list[float]:
    """Exponential moving average, corrected for its start as Adam's moments are."""
    smooth, average, weight = [], 0.0, 0.0
    for loss in losses:
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        smooth.append(average / weight)
    return smooth
