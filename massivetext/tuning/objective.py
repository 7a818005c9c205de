"""The objective of a tuning, a weighted mean of losses, as one Gaussian process per target."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError, nearest
from . import gaussian_process
from .gaussian_process import GaussianProcess
from .runs import Runs


@dataclass(frozen=True)
class Objective:
    """Weighted mean bits per byte of the targets that count; `fit_objective` makes it.

    Attributes:
      processes: one per target.
      shares: weight of each target, [t], summing to one.
      correlation: of the processes' errors, [t, t]: that of their leave-one-out residuals. Runs are
        shared, so where one target is misjudged its neighbour is as well, and deviations that were
        added as if independent would be too small.
    """

    processes: tuple[GaussianProcess, ...]
    shares: np.ndarray
    correlation: np.ndarray

    def predict(self, weights: np.ndarray) -> np.ndarray:
        """Return the mean objective, [q], of mixtures [q, m]."""
        total = np.zeros(len(weights))
        for process, share in zip(self.processes, self.shares, strict=True):
            total += share * process.predict(weights)
        return total

    def posterior(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean [q] and covariance [q, q] of the objective without noise, of a few mixtures.

        The covariance of targets s and t is correlation[s, t] * S_s S_t, with S the symmetric roots
        of their own covariances: theirs exactly where the processes are of one shape, and always a
        covariance.
        """
        parts = [process.posterior(weights) for process in self.processes]
        mean = np.asarray(self.shares @ np.array([part[0] for part in parts]))
        roots = np.array([_root(part[1]) for part in parts])
        weighted = self.shares[:, None, None] * roots
        covariance = np.einsum("spk,st,tqk->pq", weighted, self.correlation, weighted)
        return mean, covariance


def fit_objective(runs: Runs, shares: Mapping[str, float]) -> Objective:
    """Fit a process to each target of a positive share; shares are scaled to sum to one.

    Raises:
      ConfigError: a target that the runs do not have, or no positive share.
    """
    for target, share in shares.items():
        if target not in runs.targets:
            raise ConfigError(
                f"the objective names the target {target!r}, which the runs were not evaluated on"
                f"{nearest(target, runs.targets)}"
            )
        if not 0 <= share < np.inf:
            raise ConfigError(f"the objective's weight of {target!r} is {share}; it must be >= 0")
    counted = [target for target in runs.targets if shares.get(target, 0) > 0]
    if not counted:
        raise ConfigError("the objective gives no target a positive weight")
    columns = [runs.targets.index(target) for target in counted]
    processes = tuple(
        gaussian_process.fit(runs.weights, runs.losses[:, column]) for column in columns
    )
    given = np.array([shares[target] for target in counted], float)
    residuals = np.array([process.residuals() for process in processes])
    residuals /= np.sqrt((residuals**2).sum(axis=1, keepdims=True))
    return Objective(processes, given / given.sum(), residuals @ residuals.T)


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric square root of a covariance that rounding may have made indefinite."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
