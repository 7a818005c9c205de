"""Whether one mixture is better than another: differences of runs that share their seed.

Runs of one seed see the same initial model, so what the seed does cancels in their difference. With
few seeds the intervals are wide, as they should be: at 3 seeds Student's t is 4.3 deviations.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its interval at `LEVEL`, of the `seeds` it was taken over."""

    mean: float
    low: float
    high: float
    seeds: tuple[int, ...]


def interval(values: Mapping[int, float]) -> Interval | None:
    """Return Student's interval of the mean of `values` by seed; None for fewer than two."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    seeds = tuple(sorted(values))
    sample = np.array([values[seed] for seed in seeds], np.float64)
    mean = float(sample.mean())
    quantile = float(stdtrit(len(sample) - 1, 0.5 + LEVEL / 2))
    reach = quantile * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return Interval(mean, mean - reach, mean + reach, seeds)


def difference(one: Mapping[int, float], other: Mapping[int, float]) -> Interval | None:
    """Return the interval of `one` less `other` over the seeds of both; None for fewer than two."""
    return interval({seed: one[seed] - other[seed] for seed in one if seed in other})


def better(found: Interval | None) -> bool:
    """Return whether a difference of losses is below zero beyond its interval."""
    return found is not None and found.high < 0


def worse(found: Interval | None) -> bool:
    """Return whether a difference of losses is above zero beyond its interval."""
    return found is not None and found.low > 0
