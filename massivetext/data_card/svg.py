"""Drawings of the card: SVG with a text alternative, coloured by the page's style sheet."""

import math
from collections.abc import Sequence

from .html import escape

WIDTH = 720
_ROW = 26
_LABEL = 150
_VALUE = 150


def _svg(width: int, height: int, label: str, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{body}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(text)}</text>'


def figure(caption: str, drawing: str, wide: bool = False) -> str:
    """Return a drawing with its caption; a `wide` one is scrolled on a phone, not shrunk."""
    if wide:
        label = escape(caption)
        drawing = (
            f'<div class="scroll wide" tabindex="0" role="region" aria-label="{label}">'
            f"{drawing}</div>"
        )
    return f"<figure><figcaption>{escape(caption)}</figcaption>{drawing}</figure>"


def waterfall(caption: str, steps: Sequence[tuple[str, float, float, str]]) -> str:
    """Return a waterfall: a bar for what there is, and for what each step takes away.

    Args:
      steps: `(label, from, to, value)`: where the bar starts and ends, and its number as text;
        a bar from 0 is an amount, another a loss.
    """
    top = max((stop for _, _, stop, _ in steps), default=0) or 1
    scale = (WIDTH - _LABEL - _VALUE) / top
    body = []
    for i, (label, start, stop, value) in enumerate(steps):
        # What is there is seen, however little it is.
        x, width = _LABEL + start * scale, max(float(stop > start), (stop - start) * scale)
        colour = "kept" if start == 0 else "dropped"
        body.append(_text(_LABEL - 8, i * _ROW + 17, label, "end"))
        body.append(
            f'<rect x="{x:.1f}" y="{i * _ROW + 3}" width="{width:.1f}" height="{_ROW - 6}" '
            f'fill="var(--{colour})"/>'
        )
        body.append(_text(WIDTH, i * _ROW + 17, value, "end"))
    told = "; ".join(f"{label} {value}" for label, _, _, value in steps)
    drawing = _svg(WIDTH, len(steps) * _ROW, f"{caption}: {told}", "".join(body))
    return figure(caption, drawing, wide=True)


def shares(
    caption: str,
    parts: Sequence[tuple[str, int]],
    rows: Sequence[tuple[str, Sequence[float]]],
) -> str:
    """Return a bar per row, cut into shares, with a key of the colours.

    Args:
      parts: the name of each share, and the number of its colour, from 0 to 6.
      rows: a label, and an amount for each of `parts`.
    """
    body = []
    for i, (label, values) in enumerate(rows):
        total = sum(values) or 1
        x = float(_LABEL)
        body.append(_text(_LABEL - 8, i * _ROW + 17, label[:22], "end"))
        for (name, colour), value in zip(parts, values, strict=True):
            width = (WIDTH - _LABEL) * value / total
            if width:
                title = escape(f"{label}: {name} {value / total:.1%}")
                body.append(
                    f'<rect x="{x:.1f}" y="{i * _ROW + 3}" width="{width:.1f}" '
                    f'height="{_ROW - 6}" fill="var(--c{colour})" stroke="var(--paper)">'
                    f"<title>{title}</title></rect>"
                )
            x += width
    key = "".join(
        f'<span class="key" style="background:var(--c{colour})"></span>{escape(name)}'
        for name, colour in parts
    )
    drawing = _svg(WIDTH, len(rows) * _ROW, f"{caption}; the table has the numbers", "".join(body))
    return f'<p class="note">{key}</p>' + figure(caption, drawing, wide=True)


def histogram(
    caption: str,
    edges: Sequence[float],
    above: Sequence[int],
    below: Sequence[int],
    limits: Sequence[tuple[str, float]] = (),
    names: tuple[str, str] = ("kept", "dropped"),
) -> str:
    """Return two histograms with one axis, `above` it and `below` it, counts on a log scale.

    Args:
      edges: lower edges of the n bins, of the values of `above` and `below`.
      limits: thresholds, each with its name, drawn as lines.
    """
    width, half, bottom = 340, 62, 16
    axis = half + 14
    most = max([1, *above, *below])
    slot = width / max(1, len(edges))
    body = [_bars(above, slot, axis, -half, most, "kept"), _bars(below, slot, axis, half, most)]
    body.append(f'<path d="M0 {axis}H{width}" stroke="var(--faint)"/>')
    told = []
    for name, limit in limits:
        at = _place(limit, edges)
        told.append(f"{name} {_short(limit)}")
        if at is not None:
            body.append(
                f'<path d="M{at * slot:.1f} 12V{axis + half}" stroke="var(--limit)" '
                f'stroke-width="2" stroke-dasharray="4 3"><title>{escape(told[-1])}</title></path>'
            )
    body.append(_text(0, 10, f"{names[0]} {sum(above):,}", kind="faint"))
    body.append(_text(width, 10, f"{names[1]} {sum(below):,}", "end", "faint"))
    height = axis + half + bottom
    if len(edges):
        body.append(_text(0, height - 2, _short(edges[0])))
        middle = len(edges) // 2
        body.append(_text(middle * slot, height - 2, _short(edges[middle]), "middle"))
        body.append(_text(width, height - 2, f"{_short(edges[-1])} and more", "end"))
    label = f"{caption}: {names[0]} {sum(above):,}, {names[1]} {sum(below):,}"
    label += f"; thresholds: {', '.join(told)}" if told else ""
    title = f"{caption} ({', '.join(told)})" if told else caption
    return figure(title, _svg(width, height, label, "".join(body)))


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _bars(
    counts: Sequence[int], slot: float, axis: int, reach: int, most: int, colour: str = "dropped"
) -> str:
    path = []
    for i, count in enumerate(counts):
        if count:
            height = reach * math.log1p(count) / math.log1p(most)
            path.append(f"M{i * slot:.1f} {axis}v{height:.1f}h{max(slot - 0.6, 0.8):.1f}V{axis}z")
    return f'<path d="{"".join(path)}" fill="var(--{colour})"/>'


def _place(limit: float, edges: Sequence[float]) -> float | None:
    """Return where a value is among bins, in bins; None beyond the last edge."""
    for i in range(len(edges) - 1):
        if edges[i] <= limit < edges[i + 1]:
            return i + (limit - edges[i]) / (edges[i + 1] - edges[i])
    return float(len(edges) - 1) if len(edges) and limit == edges[-1] else None
