"""The pictures of the papers: loss envelopes, IsoFLOP parabolas, contours of the parametric law."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .axes import HEIGHT, INK, LAW, Axes, human, shade, svg
from .bootstrap import Estimate
from .isoflop import profiles
from .laws import Array, Frontier, ParametricLaw
from .runs import Curve, Runs

CURVES, POINTS = 200, 300  # drawn at most: of curves, and of points of each
CONTOURS = 12


def draw(runs: Runs, estimates: dict[str, Estimate[Any]]) -> dict[str, str]:
    """Return the SVG of each approach that has one, by its name."""
    pictures: dict[str, Callable[[Runs, Estimate[Any]], str]] = {
        "envelope": envelope_svg,
        "isoflop": isoflop_svg,
        "parametric": contours_svg,
    }
    return {
        name: pictures[name](runs, estimate)
        for name, estimate in estimates.items()
        if name in pictures
    }


def envelope_svg(runs: Runs, estimate: Estimate[Frontier]) -> str:
    """Draw the curves, darkest the smallest size, the envelope's law, and N* below (Figure 2)."""
    curves = runs.curves()
    low, high = _ends(np.array([curve.parameters for curve in curves]))
    flops = np.concatenate([curve.flops for curve in curves])
    last = np.array([curve.loss[-1] for curve in curves])
    # Losses of the first steps would press the rest into the bottom.
    ceiling = float(max(last.max(), np.median([curve.loss[0] for curve in curves])))
    axes = Axes(
        0,
        "Training curves and their envelope",
        ("FLOPs", "loss, nats per token"),
        _ends(flops),
        (float(min(curve.loss.min() for curve in curves)), ceiling),
        log_y=False,
    )
    parts = [axes.frame()]
    for curve in curves[:: -(-len(curves) // CURVES)]:
        x, y = _thinned(curve)
        parts.append(axes.line(x, y, shade(_share(curve.parameters, low, high)), 1))
    x = np.geomspace(estimate.points["flops"][0], estimate.points["flops"][-1], 50)
    parts.append(axes.line(x, estimate.law.optimum(x)[2], LAW, 2))
    parts.append(axes.legend([("loss along the frontier", LAW), *_sizes(low, high)]))
    parts += _sizes_panel(estimate)
    return svg(parts, 2)


def isoflop_svg(runs: Runs, estimate: Estimate[Frontier]) -> str:
    """Draw each budget's runs and parabola, and N* below (Figure 3)."""
    found, _ = profiles(runs)
    rows = np.concatenate([profile.rows for profile in found])
    axes = Axes(
        0,
        "IsoFLOP profiles",
        ("parameters", "loss, nats per token"),
        _ends(runs.parameters[rows]),
        _ends(runs.loss[rows]),
        log_y=False,
    )
    parts = [axes.frame()]
    low, high = found[0].flops, found[-1].flops
    for profile in found:
        colour = shade(_share(profile.flops, low, high))
        sizes = runs.parameters[profile.rows]
        x = np.geomspace(*_ends(sizes), 60)
        y = profile.depth + profile.curvature * np.log(x / profile.parameters) ** 2
        parts.append(axes.line(x, y, colour, 1))
        parts.append(axes.dots(sizes, runs.loss[profile.rows], colour))
        parts.append(axes.note(float(x[-1]), float(y[-1]), _plain(profile.flops)))
    points = estimate.points
    parts.append(axes.dots(points["parameters"], points["loss"], LAW, 4))
    parts.append(axes.legend([("minimum of each budget", LAW)]))
    parts += _sizes_panel(estimate)
    return svg(parts, 2)


def contours_svg(runs: Runs, estimate: Estimate[ParametricLaw]) -> str:
    """Draw lines of equal loss over FLOPs and parameters, with the frontier (Figure 4)."""
    law, points = estimate.law, estimate.points
    flops, sizes = _ends(points["flops"]), _ends(points["parameters"])
    axes = Axes(
        0,
        "Lines of equal loss by the parametric law",
        ("FLOPs", "parameters"),
        flops,
        sizes,
        log_y=True,
    )
    parts = [axes.frame()]
    x = np.geomspace(*flops, 50)
    losses = law.optimum(np.geomspace(*flops, CONTOURS))[2]
    n = np.geomspace(sizes[0] / 3, sizes[1] * 3, 400)
    for number, loss in enumerate(losses.tolist()):
        c = 6 * n * law.tokens_to_reach(loss, n)
        inside = (c >= flops[0] / 10) & (c <= flops[1] * 10)
        parts.append(axes.line(c[inside], n[inside], shade(number / CONTOURS), 1))
        if inside.any():
            best = int(np.argmin(c))
            parts.append(axes.note(float(c[best]), float(n[best]), f"{loss:.2f}"))
    parts.append(axes.dots(points["flops"], points["parameters"], INK, 1.5))
    parts.append(axes.line(x, law.optimum(x)[0], LAW, 2))
    parts.append(axes.legend([("compute-optimal", LAW), ("runs", INK)]))
    return svg(parts, 1)


def _sizes_panel(estimate: Estimate[Frontier]) -> list[str]:
    """Draw the best size and its tokens against FLOPs, with the laws."""
    points, law = estimate.points, estimate.law
    chosen = np.unique(np.linspace(0, len(points["flops"]) - 1, POINTS).astype(int))
    flops = points["flops"][chosen]
    x = np.geomspace(flops.min(), flops.max(), 50)
    n, d, _ = law.optimum(x)
    everything = np.concatenate([points["parameters"], points["tokens"], n, d])
    axes = Axes(
        HEIGHT,
        "Compute-optimal parameters and tokens",
        ("FLOPs", "parameters, tokens"),
        _ends(flops),
        _ends(everything),
        log_y=True,
    )
    blue = "#0072b2"
    return [
        axes.frame(),
        axes.dots(flops, points["parameters"][chosen], LAW),
        axes.dots(flops, points["tokens"][chosen], blue),
        axes.line(x, n, LAW, 2),
        axes.line(x, d, blue, 2),
        axes.legend([(f"parameters, C^{law.a:.3f}", LAW), (f"tokens, C^{law.b:.3f}", blue)]),
    ]


def _thinned(curve: Curve) -> tuple[Array, Array]:
    """Return FLOPs and losses of at most `POINTS` points, evenly spread in the FLOPs' logarithm."""
    if len(curve.flops) <= POINTS:
        return curve.flops, curve.loss
    at = np.searchsorted(curve.flops, np.geomspace(curve.flops[0], curve.flops[-1], POINTS))
    rows = np.unique(np.minimum(at, len(curve.flops) - 1))
    return curve.flops[rows], curve.loss[rows]


def _sizes(low: float, high: float) -> list[tuple[str, str]]:
    return [(f"{human(low)} parameters", shade(0)), (f"{human(high)} parameters", shade(1))]


def _plain(flops: float) -> str:
    return f"{flops:.2g}".replace("e+", "e")


def _share(value: float, low: float, high: float) -> float:
    return float(np.log(value / low) / np.log(high / low)) if high > low else 0.0


def _ends(values: Array) -> tuple[float, float]:
    return float(values.min()), float(values.max())
