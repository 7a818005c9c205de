"""The data mixing law: L(r) = c + k * exp(sum_j t_j r_j) (Ye et al. 2024, 2403.16952, section 3).

One law per target; t_j < 0 where the subset j helps. Proportions sum to one, so k and a constant
added to every t are the same parameter: t is given with mean zero.
"""

from dataclasses import dataclass

import numpy as np

# Starts: c this far below the least loss, in ranges of the losses.
_BELOW = (0.01, 0.1, 0.3, 1.0, 3.0)
# exp of more than this is no loss; it keeps a trial step of the search finite.
_LARGEST_EXPONENT = 50.0


@dataclass(frozen=True)
class MixingLaw:
    """loss = c + k * exp(weights @ t), t [m] with mean zero."""

    c: float
    k: float
    t: np.ndarray

    def predict(self, weights: np.ndarray) -> np.ndarray:
        """Return the loss, [q], of mixtures [q, m]."""
        return np.asarray(self.c + self.k * np.exp(np.minimum(weights @ self.t, 700.0)))


def fit(weights: np.ndarray, losses: np.ndarray) -> MixingLaw:
    """Fit by least squares (Levenberg and Marquardt's trust region) from fixed starts.

    For a given c, log(loss - c) is linear in the weights, which gives each start; the best of the
    fits from them is taken. k is positive.

    Args:
      weights: [n, m], rows sum to one, n >= m + 1; losses: [n], not all equal.
    """
    from scipy.optimize import least_squares

    spread = float(np.ptp(losses))

    def residuals(parameters: np.ndarray) -> np.ndarray:
        exponents = np.minimum(weights @ parameters[1:], _LARGEST_EXPONENT)
        return np.asarray((parameters[0] + np.exp(exponents) - losses) / spread)

    def jacobian(parameters: np.ndarray) -> np.ndarray:
        exponents = weights @ parameters[1:]
        slopes = np.where(
            exponents < _LARGEST_EXPONENT, np.exp(np.minimum(exponents, _LARGEST_EXPONENT)), 0.0
        )
        by_t = weights * slopes[:, None]
        return np.column_stack([np.ones(len(losses)), by_t]) / spread

    fits = []
    for below in _BELOW:
        c = float(losses.min()) - below * spread
        t = np.linalg.lstsq(weights, np.log(losses - c), rcond=None)[0]
        found = least_squares(
            residuals, np.concatenate([[c], t]), jac=jacobian, x_scale="jac", max_nfev=200
        )
        fits.append((float(found.cost), found.x))
    best = min(fits, key=lambda pair: pair[0])[1]
    mean = float(best[1:].mean())
    return MixingLaw(float(best[0]), float(np.exp(mean)), best[1:] - mean)
