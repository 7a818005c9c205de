"""Approach 2: a parabola per budget of FLOPs (Hoffmann et al. 2022, section 3.2)."""

from dataclasses import dataclass

import numpy as np

from .bootstrap import Estimate, bootstrap
from .laws import Array, Frontier
from .power_law import frontier
from .runs import Runs, need

# Runs within this factor of the smallest of them have one budget; published ones lie 2x apart.
SAME_BUDGET = 1.15
MIN_SIZES, MIN_BUDGETS = 3, 3


@dataclass(frozen=True)
class Profile:
    """The runs of one budget, and the parabola of their loss in x = ln N.

    loss = depth + curvature·(x - ln parameters)^2; `parameters` and `tokens` are at the minimum.
    """

    rows: Array
    flops: float
    parameters: float
    tokens: float
    depth: float
    curvature: float


def fit(runs: Runs, *, resamples: int, seed: int) -> Estimate[Frontier]:
    """Fit N*, D* and the loss to the minima of the parabolas.

    A budget is left out when it has fewer than three sizes, or when its minimum lies outside the
    sizes that were trained.

    Raises:
      InputError: fewer than three budgets remain.
    """
    found, left_out = profiles(runs)
    points = _minima(found)
    law = _law(points, left_out)
    samples, note = bootstrap(runs, resamples, seed, _refit)
    return Estimate(law, samples, (*left_out, *note), points)


def profiles(runs: Runs) -> tuple[list[Profile], tuple[str, ...]]:
    """Return the profile of each budget in ascending order, and why others have none."""
    found, left_out = [], []
    for rows in _budgets(runs.flops):
        flops = float(np.exp(np.log(runs.flops[rows]).mean()))
        name = f"the budget of {flops:.3g} FLOPs"
        x, loss = np.log(runs.parameters[rows]), runs.loss[rows]
        sizes = len(np.unique(x))
        if sizes < MIN_SIZES:
            left_out.append(f"{name}: {sizes} of the {MIN_SIZES} sizes that a parabola needs")
            continue
        middle = x.mean()
        curvature, slope, level = (float(value) for value in np.polyfit(x - middle, loss, 2))
        if curvature <= 0:
            left_out.append(f"{name}: its losses have no minimum")
            continue
        bottom = float(middle - slope / (2 * curvature))
        if not x.min() <= bottom <= x.max():
            left_out.append(f"{name}: its minimum lies outside the sizes that were trained")
            continue
        line = np.polyfit(x - middle, np.log(runs.tokens[rows]), 1)
        tokens = float(np.exp(np.polyval(line, bottom - middle)))
        depth = level - slope**2 / (4 * curvature)
        found.append(Profile(rows, flops, float(np.exp(bottom)), tokens, depth, curvature))
    return found, tuple(left_out)


def _budgets(flops: Array) -> list[Array]:
    """Return the rows of each budget, from the smallest."""
    order = np.argsort(flops, kind="stable")
    ordered = flops[order]
    groups, start = [], 0
    while start < len(order):
        end = int(np.searchsorted(ordered, ordered[start] * SAME_BUDGET, "right"))
        groups.append(order[start:end])
        start = end
    return groups


def _minima(found: list[Profile]) -> dict[str, Array]:
    return {
        "flops": np.array([profile.flops for profile in found]),
        "parameters": np.array([profile.parameters for profile in found]),
        "tokens": np.array([profile.tokens for profile in found]),
        "loss": np.array([profile.depth for profile in found]),
    }


def _refit(runs: Runs) -> Frontier:
    found, left_out = profiles(runs)
    return _law(_minima(found), left_out)


def _law(points: dict[str, Array], left_out: tuple[str, ...]) -> Frontier:
    what = "budgets of FLOPs with a minimum"
    if left_out:
        what += f" (left out: {'; '.join(left_out[:3])}{'; ...' if len(left_out) > 3 else ''})"
    need(len(points["flops"]), MIN_BUDGETS, what, "IsoFLOP")
    return frontier(points["flops"], points["parameters"], points["tokens"], points["loss"])
