"""Which mixture to train on: the one of least predicted objective within the epoch caps.

As RegMix (2407.01492, section 3.3): predict very many Dirichlet mixtures and average the best.
Theirs are draws around the natural proportions, once; ours then go on around the average found,
ever closer to it, and count beside the first. The average is what is proposed: a single best draw
owes more to the model's errors than a hundred do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from .draws import STRENGTHS, dirichlet, generator
from .objective import Objective
from .simplex import Simplex

# RegMix draws 100,000 and averages 100.
FIRST_DRAWS = 30_000
BEST = 100

# Sum of the concentrations of each further round, and its draws.
_CLOSER = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
_ROUND_DRAWS = 3000

_SALT = 0x70726F706F7365


@dataclass(frozen=True)
class Predicted:
    """A mixture and what is predicted of it.

    Attributes:
      weights: per subset.
      objective, deviation: mean and standard deviation, bits per byte, without a run's own noise.
      gain, gain_deviation: this mixture's objective less the proposal's, and the deviation of that
        difference; what both share cancels. Below two deviations it may be chance.
    """

    weights: dict[str, float]
    objective: float
    deviation: float
    gain: float
    gain_deviation: float


@dataclass(frozen=True)
class Proposal:
    """The proposed weights, what is predicted of them, and of the mixtures to compare with."""

    weights: dict[str, float]
    objective: float
    deviation: float
    others: dict[str, Predicted]


def propose(
    objective: Objective, simplex: Simplex, others: Mapping[str, Mapping[str, float]], seed: int
) -> Proposal:
    """Return the mixture of least predicted objective, and the same prediction for `others`.

    Args:
      objective: as from `fit_objective`, of runs with the subsets of `simplex` in their order.
      others: mixtures to compare with by name, such as natural and configured; the search starts
        around them and around the uniform mixture, which is always compared (`uniform`, unless
        one is given under that name). They may be outside the epoch caps.
      seed: the config's.

    Raises:
      ConfigError: the subsets are others than those of the runs, or a mixture is none.
    """
    count = len(simplex.names)
    if objective.processes[0].points.shape[1] != count:
        raise ConfigError(
            f"the runs are of {objective.processes[0].points.shape[1]} subsets, the mixture is of "
            f"{count}; collect the runs with the subsets of the mixture"
        )
    compared = {name: simplex.array(weights) for name, weights in others.items()}
    compared.setdefault("uniform", np.full(count, 1 / count))
    weights = simplex.round(
        simplex.fill(_search(objective, simplex, list(compared.values()), seed)[None])[0]
    )
    points = np.array([simplex.array(weights), *compared.values()])
    mean, covariance = objective.posterior(points)
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    differences = np.diag(covariance) + covariance[0, 0] - 2 * covariance[0]
    return Proposal(
        weights,
        _rounded(mean[0]),
        _rounded(deviations[0]),
        {
            name: Predicted(
                dict(zip(simplex.names, points[at].tolist(), strict=True)),
                _rounded(mean[at]),
                _rounded(deviations[at]),
                _rounded(mean[at] - mean[0]),
                _rounded(np.sqrt(max(differences[at], 0.0))),
            )
            for at, name in enumerate(compared, start=1)
        },
    )


def _rounded(value: float) -> float:
    # A millionth of a bit is beyond any run; the bits after it depend on a BLAS's threads.
    return round(float(value), 6)


def _search(
    objective: Objective, simplex: Simplex, centres: Sequence[np.ndarray], seed: int
) -> np.ndarray:
    """Return the average of the `BEST` mixtures seen, [m]; a convex set holds its averages."""
    random = generator(seed, _SALT)
    each = FIRST_DRAWS // (len(centres) * len(STRENGTHS))
    drawn = [
        dirichlet(random, strength * centre, each) for centre in centres for strength in STRENGTHS
    ]
    best = _best(objective, simplex.fill(np.concatenate([*drawn, centres])))
    uniform = np.full(len(simplex.names), 1 / len(simplex.names))
    for concentration in _CLOSER:
        # One more, spread evenly, lets a subset return that none of the best holds.
        around = concentration * best.mean(axis=0) + uniform
        rows = simplex.fill(dirichlet(random, around, _ROUND_DRAWS))
        best = _best(objective, np.concatenate([best, rows]))
    return np.asarray(best.mean(axis=0))


def _best(objective: Objective, rows: np.ndarray) -> np.ndarray:
    # Rounded, so that the last bits, which differ between machines, do not decide.
    order = np.argsort(np.round(objective.predict(rows), 9), kind="stable")
    return np.asarray(rows[order[:BEST]])
