"""How well each model ranks mixtures that it has not seen, by k-fold cross-validation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from . import gaussian_process, linear, mixing_law
from .draws import generator
from .runs import Runs

FOLDS = 5

_SALT = 0x666F6C6473


class Model(Protocol):
    """A fitted model of one target."""

    def predict(self, weights: np.ndarray) -> np.ndarray: ...


MODELS: dict[str, Callable[[np.ndarray, np.ndarray], Model]] = {
    "gaussian_process": gaussian_process.fit,
    "mixing_law": mixing_law.fit,
    "linear": linear.fit,
}


@dataclass(frozen=True)
class CrossValidation:
    """What models fitted to the other folds predict.

    Attributes:
      predicted: by model, float64 [n, t]: loss of each run on each target.
      correlation: by model and target, Spearman's between predicted and measured, -1 to 1.
    """

    predicted: dict[str, np.ndarray]
    correlation: dict[str, dict[str, float]]


def cross_validate(runs: Runs, seed: int, folds: int = FOLDS) -> CrossValidation:
    """Fit every model to all folds but one, predict that one, and rank all runs together.

    Runs of the same mixture, which differ in their seed, are in one fold: one would tell the other.

    Args:
      runs: as from `collect`, which has checked that they are enough for their subsets.
      seed: the config's; it deals the mixtures to the folds.
    """
    mixtures = runs.mixtures
    count = int(mixtures.max()) + 1
    fold = (generator(seed, _SALT).permutation(count) % folds)[mixtures]
    predicted = {name: np.empty_like(runs.losses) for name in MODELS}
    for number in range(folds):
        held = fold == number
        for column in range(len(runs.targets)):
            losses = runs.losses[~held, column]
            for name, fit in MODELS.items():
                # Runs that differ in the fold held out alone have nothing to fit.
                constant = np.ptp(losses) == 0
                predicted[name][held, column] = (
                    losses[0]
                    if constant
                    else fit(runs.weights[~held], losses).predict(runs.weights[held])
                )
    correlation = {
        name: {
            target: rank_correlation(values[:, column], runs.losses[:, column])
            for column, target in enumerate(runs.targets)
        }
        for name, values in predicted.items()
    }
    return CrossValidation(predicted, correlation)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; 0 if one side is constant."""
    x, y = (_ranks(values) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place])
