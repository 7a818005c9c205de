"""The plainest model of a loss: linear in the weights, as RegMix's first (2407.01492), ridged."""

from dataclasses import dataclass

import numpy as np

# Penalties tried, as multiples of the mean variance of a weight.
_PENALTIES = np.geomspace(1e-8, 10.0, 28)


@dataclass(frozen=True)
class Linear:
    """loss = intercept + weights @ slopes, slopes [m]."""

    intercept: float
    slopes: np.ndarray

    def predict(self, weights: np.ndarray) -> np.ndarray:
        """Return the loss, [q], of mixtures [q, m]."""
        return np.asarray(self.intercept + weights @ self.slopes)


def fit(weights: np.ndarray, losses: np.ndarray) -> Linear:
    """Fit by ridge regression; the penalty is the one of least leave-one-out squared error.

    The weights sum to one, so the slopes are fixed only up to a constant: the ridge chooses those
    that sum to zero.

    Args:
      weights: [n, m], rows sum to one; losses: [n].
    """
    centre, mean = weights.mean(axis=0), float(losses.mean())
    u, s, vt = np.linalg.svd(weights - centre, full_matrices=False)
    along = u.T @ (losses - mean)
    unit = float((s**2).mean())
    # Squared error of each run predicted from the others, from the hat matrix; 1/n: the intercept.
    best, slopes = np.inf, np.zeros(len(centre))
    for penalty in _PENALTIES * unit:
        shrink = s**2 / (s**2 + penalty)
        left = losses - mean - u @ (shrink * along)
        leverage = (u**2) @ shrink + 1 / len(losses)
        error = float(((left / np.maximum(1 - leverage, 1e-9)) ** 2).mean())
        if error < best:
            best, slopes = error, vt.T @ (s / (s**2 + penalty) * along)
    return Linear(mean - float(centre @ slopes), slopes)
