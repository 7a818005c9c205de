"""Gaussian process from a mixture's weights to a loss (Rasmussen and Williams 2006, chapters 2, 5).

Matern 3/2 on the square roots of the weights: their Euclidean distance is Hellinger's, in which a
step from 0 to 1 % counts for more than one from 50 to 51 %, as it does in training. On RegMix's
public runs this ranks held-out mixtures better than gradient-boosted trees do.
"""

import math
from dataclasses import dataclass

import numpy as np

# Distances are at most sqrt(2): the shortest length makes every run an island, the longest a plane.
LENGTHS = (0.05, 20.0)
# Variance of the noise, as a multiple of that of the function.
NOISES = (1e-6, 10.0)

_START_LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_START_NOISES = (1e-4, 1e-2, 0.3)
_REFINED = 3
_CHUNK = 4096


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process; `fit` makes it.

    Attributes:
      points: square roots of the weights of the n runs, float64 [n, m].
      length: of the kernel, in the distance of square roots.
      noise: variance of the noise / variance of the function.
      variance: of the function, in standardised units.
      offset, scale: mean and deviation of the losses; the process is of (loss - offset) / scale.
      factor: lower Cholesky factor of C + noise * I, [n, n], with C the correlations of the runs.
      dual: (C + noise * I)^-1 y, [n].
    """

    points: np.ndarray
    length: float
    noise: float
    variance: float
    offset: float
    scale: float
    factor: np.ndarray
    dual: np.ndarray

    @property
    def noise_deviation(self) -> float:
        """Standard deviation of one run about the function, in units of the loss."""
        return self.scale * math.sqrt(self.variance * self.noise)

    def predict(self, weights: np.ndarray) -> np.ndarray:
        """Return the mean loss, [q], of mixtures [q, m]."""
        roots = np.sqrt(weights)
        mean = np.empty(len(roots))
        for start in range(0, len(roots), _CHUNK):
            part = slice(start, start + _CHUNK)
            mean[part] = _matern(_distances(roots[part], self.points) / self.length) @ self.dual
        return self.offset + self.scale * mean

    def posterior(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean [q] and covariance [q, q] of the loss without noise, of a few mixtures."""
        from scipy.linalg import solve_triangular

        roots = np.sqrt(weights)
        across = _matern(_distances(roots, self.points) / self.length)
        solved = solve_triangular(self.factor, across.T, lower=True)
        prior = _matern(_distances(roots, roots) / self.length)
        covariance = self.scale**2 * self.variance * (prior - solved.T @ solved)
        return self.offset + self.scale * (across @ self.dual), covariance

    def deviation(self, weights: np.ndarray) -> np.ndarray:
        """Return the standard deviation of the loss without noise, [q], of a few mixtures."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.posterior(weights)[1]), 0.0)))

    def residuals(self) -> np.ndarray:
        """Return each run's loss less what the other runs predict, in deviations of that: [n].

        Leave-one-out in closed form (Rasmussen and Williams, section 5.4.2).
        """
        precision = np.diag(_inverse(self.factor))
        return np.asarray(self.dual / np.sqrt(precision * self.variance))


def fit(weights: np.ndarray, losses: np.ndarray) -> GaussianProcess:
    """Fit a process to runs by the largest marginal likelihood.

    Length and noise are searched from a fixed grid of starts, the best of them refined by L-BFGS;
    the variance has a closed form for each. No randomness.

    Args:
      weights: [n, m], rows sum to one; losses: [n], not all equal.
    """
    from scipy.optimize import minimize

    points = np.sqrt(weights)
    offset, scale = float(losses.mean()), float(losses.std())
    y = (losses - offset) / scale
    distances = _distances(points, points)
    starts = [(math.log(a), math.log(b)) for a in _START_LENGTHS for b in _START_NOISES]
    values = [_evidence(np.array(start), distances, y)[0] for start in starts]
    bounds = [tuple(map(math.log, limits)) for limits in (LENGTHS, NOISES)]
    refined = []
    for number in np.argsort(values, kind="stable")[:_REFINED]:
        found = minimize(
            _evidence,
            starts[number],
            args=(distances, y),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
        )
        refined.append((float(found.fun), found.x))
    length, noise = np.exp(min(refined, key=lambda pair: pair[0])[1])
    return condition(weights, losses, _rounded(length), _rounded(noise))


def condition(
    weights: np.ndarray, losses: np.ndarray, length: float, noise: float
) -> GaussianProcess:
    """Return the process of this length and noise, given runs as in `fit`."""
    from scipy.linalg import cho_solve

    points = np.sqrt(weights)
    offset, scale = float(losses.mean()), float(losses.std())
    y = (losses - offset) / scale
    factor = _factor(_matern(_distances(points, points) / length), noise)
    dual = cho_solve((factor, True), y)
    variance = float(y @ dual) / len(y)
    return GaussianProcess(points, length, noise, variance, offset, scale, factor, dual)


def _rounded(value: float) -> float:
    # Where the search ends depends on the order in which a BLAS sums, so on its threads; three
    # digits do not, and the likelihood is flat beyond them.
    return float(f"{value:.3g}")


def _evidence(logs: np.ndarray, distances: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the negative log marginal likelihood and its gradient.

    At the best variance, y' A^-1 y / n, and but for a constant (n/2 log variance + 1/2 log det A).

    Args:
      logs: logarithms of length and noise.
    """
    from scipy.linalg import cho_solve

    length, noise = np.exp(logs)
    scaled = distances / length
    factor = _factor(_matern(scaled), noise)
    dual = cho_solve((factor, True), y)
    fitted = float(y @ dual)
    value = 0.5 * len(y) * math.log(fitted / len(y)) + float(np.log(np.diag(factor)).sum())
    inverse = _inverse(factor)
    u = math.sqrt(3.0) * scaled
    slope = u**2 * np.exp(-u)  # of the kernel, by log(length)
    pull = len(y) / fitted
    by_length = 0.5 * (float((inverse * slope).sum()) - pull * float(dual @ slope @ dual))
    by_noise = 0.5 * noise * (float(np.trace(inverse)) - pull * float(dual @ dual))
    return value, np.array([by_length, by_noise])


def _matern(scaled: np.ndarray) -> np.ndarray:
    """Matern's correlation of smoothness 3/2 at distances in units of the length."""
    u = math.sqrt(3.0) * scaled
    return np.asarray((1.0 + u) * np.exp(-u))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Euclidean distances, [len(a), len(b)]."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * (a @ b.T)
    # Rounding leaves 1e-16 between equal points, whose root would be a distance of 1e-8.
    return np.sqrt(np.where(squares < 1e-14, 0.0, squares))


def _factor(correlations: np.ndarray, noise: float) -> np.ndarray:
    return np.linalg.cholesky(correlations + noise * np.eye(len(correlations)))


def _inverse(factor: np.ndarray) -> np.ndarray:
    from scipy.linalg import cho_solve

    return np.asarray(cho_solve((factor, True), np.eye(len(factor))))
