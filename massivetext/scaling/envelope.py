"""Approach 1: the envelope of the training curves (Hoffmann et al. 2022, section 3.1)."""

import numpy as np

from .bootstrap import Estimate, bootstrap
from .laws import Array, Frontier
from .power_law import frontier
from .runs import Curve, Runs, need

# FLOP values at which the best curve is looked up, log-spaced (section 3.1).
VALUES = 1500
MIN_SIZES = 3


def fit(runs: Runs, *, resamples: int, seed: int) -> Estimate[Frontier]:
    """Fit N*, D* and the loss to the lower envelope of the curves.

    At each of 1,500 FLOP values the curve of the lowest loss is taken, interpolated between its
    points in the logarithms of both. A value counts only if a smaller and a larger size reach it
    too: the best of those at hand may otherwise be far from the best that could be. The paper does
    not say what it did at the ends.

    Raises:
      InputError: fewer than three sizes are the best anywhere.
    """
    points, left_out = envelope(runs.curves())
    law = _law(points)
    samples, note = bootstrap(runs, resamples, seed, lambda some: _law(envelope(some.curves())[0]))
    return Estimate(law, samples, (*left_out, *note), points)


def envelope(curves: tuple[Curve, ...]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return `flops`, `parameters`, `tokens` and `loss` of the best curve per FLOP value.

    Raises:
      InputError: there are curves of fewer than three sizes.
    """
    need(
        len({curve.parameters for curve in curves}),
        MIN_SIZES,
        "sizes with a training curve, or with two finished runs each",
        "the envelope",
    )
    grid = np.geomspace(
        min(curve.flops[0] for curve in curves), max(curve.flops[-1] for curve in curves), VALUES
    )
    best = np.full((3, VALUES), np.inf)  # loss, parameters, tokens
    smallest, largest = np.full(VALUES, np.inf), np.zeros(VALUES)
    for curve in curves:
        start, end = np.searchsorted(grid, (curve.flops[0], curve.flops[-1] * (1 + 1e-12)))
        inside = slice(int(start), int(end))
        loss, tokens = _interpolate(curve, grid[inside])
        better = loss < best[0, inside]
        size = np.full(len(loss), curve.parameters)
        best[:, inside] = np.where(better, (loss, size, tokens), best[:, inside])
        np.minimum(smallest[inside], size, out=smallest[inside])
        np.maximum(largest[inside], size, out=largest[inside])
    kept = (smallest < best[1]) & (best[1] < largest)
    names = ("loss", "parameters", "tokens")
    points = {"flops": grid[kept]} | {
        name: values[kept] for name, values in zip(names, best, strict=True)
    }
    out = VALUES - int(kept.sum())
    note = f"{out} of {VALUES} FLOP values: no smaller or no larger size reaches them"
    return points, (note,) if out else ()


def _interpolate(curve: Curve, flops: Array) -> tuple[Array, Array]:
    """Return loss and tokens of a curve at `flops` within its range."""
    at = np.log(flops)
    x = np.log(curve.flops)
    return tuple(np.exp(np.interp(at, x, np.log(y))) for y in (curve.loss, curve.tokens))  # type: ignore[return-value]


def _law(points: dict[str, Array]) -> Frontier:
    sizes = len(np.unique(points["parameters"]))
    need(sizes, MIN_SIZES, "sizes that are best at some FLOPs, between two others", "the envelope")
    return frontier(points["flops"], points["parameters"], points["tokens"], points["loss"])
