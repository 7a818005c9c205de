"""The loss curve as an SVG of its own: no plotting library, the same bytes every time."""

from collections.abc import Sequence

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 36, 44
SMOOTHING = 0.9
MAX_POINTS = 2000


def loss_svg(tokens: Sequence[int], losses: Sequence[float], title: str) -> str:
    """Return an SVG of `losses` (nats per token) over `tokens`, with their moving average."""
    stride = max(1, len(tokens) // MAX_POINTS)
    smooth = _smooth(losses)
    points = list(range(0, len(tokens), stride))
    x_max = max(tokens, default=1) or 1
    low, high = min(losses, default=0.0), max(losses, default=1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / x_max

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    def line(values: Sequence[float], colour: str, width: float) -> str:
        path = " ".join(f"{x(tokens[i]):.1f},{y(values[i]):.1f}" for i in points)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{_escape(title)}</text>',
    ]
    for tick in range(5):
        value = low + (high - low) * tick / 4
        parts.append(
            f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>'
        )
        at = x_max * tick / 4
        parts.append(
            f'<text x="{x(at):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{_human(at)}</text>"
        )
    parts += [
        line(losses, "#b9cfe8", 1),
        line(smooth, "#1f5fa8", 2),
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">tokens</text>',
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {HEIGHT / 2})">loss, nats per token</text>',
        "</svg>\n",
    ]
    return "\n".join(parts)


def _smooth(losses: Sequence[float]) -> list[float]:
    """Exponential moving average, corrected for its start as Adam's moments are."""
    smooth, average, weight = [], 0.0, 0.0
    for loss in losses:
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        smooth.append(average / weight)
    return smooth


def _human(count: float) -> str:
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
