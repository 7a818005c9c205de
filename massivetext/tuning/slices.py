"""What the fitted processes say around a mixture: one subset at a time, and what is traded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .draws import dirichlet, generator
from .gaussian_process import GaussianProcess
from .objective import Objective
from .simplex import Simplex

POINTS = 25
# Mixtures of which the frontier is taken, of each of these strengths around uniform.
_DRAWS = 1000
_STRENGTHS = (0.3, 1.0, 3.0)
_SALT = 0x736C69636573


@dataclass(frozen=True)
class Slice:
    """The loss along the weight of one subset; all arrays [POINTS]."""

    weights: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


def cut(
    process: GaussianProcess | Objective, simplex: Simplex, through: np.ndarray, column: int
) -> Slice:
    """Return the loss as the subset `column` goes from none to its cap.

    The others keep their proportions in the mixture `through`, [m]; where it has no others they are
    even. Their own caps are not looked at.
    """
    others = through.copy()
    others[column] = 0.0
    if not others.sum():
        others = np.where(np.arange(len(through)) == column, 0.0, 1.0)
    weights = np.linspace(0.0, float(simplex.ceiling[column]), POINTS)
    rows = (1 - weights)[:, None] * (others / others.sum())
    rows[:, column] = weights
    mean, covariance = process.posterior(rows)
    return Slice(weights, mean, np.sqrt(np.maximum(np.diag(covariance), 0.0)))


def frontier(
    objective: Objective, simplex: Simplex, target: int, also: Sequence[np.ndarray], seed: int
) -> np.ndarray:
    """Return what a lower loss on one target costs the others: [k, 2], ascending in the first.

    The pairs (loss on the target, weighted mean of the others), as predicted, of which none is
    below another in both, over many mixtures within the caps and those in `also`.

    Args:
      target: position among the objective's processes, of which there are at least two.
    """
    random = generator(seed, _SALT)
    uniform = np.ones(len(simplex.names))
    drawn = [dirichlet(random, strength * uniform, _DRAWS) for strength in _STRENGTHS]
    pairs = split(objective, simplex.fill(np.concatenate([*drawn, np.array(also)])), target)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    lowest = np.minimum.accumulate(pairs[:, 1])
    falls = np.concatenate([[True], lowest[1:] < lowest[:-1]])
    return np.asarray(pairs[falls])


def split(objective: Objective, rows: np.ndarray, target: int) -> np.ndarray:
    """Return the predicted loss on one target and the weighted mean of the others: [n, 2]."""
    losses = np.array([process.predict(rows) for process in objective.processes])
    shares = objective.shares.copy()
    shares[target] = 0.0
    return np.stack([losses[target], (shares / shares.sum()) @ losses], axis=1)
