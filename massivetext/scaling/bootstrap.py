"""Intervals by subsampling, as the paper has them (Hoffmann et al. 2022, Table 2).

Each approach is fitted again to 80 % of the runs, drawn without replacement, 100 times; intervals
reach from the 10th to the 90th percentile. They tell how much a fit depends on single runs. Two
such subsamples share most of their runs: for independent noise, intervals of confidence are twice
as wide (Politis and Romano 1994: the factor is the root of 0.8 / 0.2).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ..errors import InputError
from .laws import Array, Frontier, KaplanLaws, ParametricLaw
from .runs import Runs

SHARE = 0.8
RESAMPLES = 100
PERCENTILES = (10.0, 90.0)

L = TypeVar("L", ParametricLaw, Frontier, KaplanLaws)


@dataclass(frozen=True)
class Estimate(Generic[L]):
    """A fitted law, the same law fitted to each subsample, and what was left out and why.

    `points` are what the law goes through, by name, for the plots.
    """

    law: L
    samples: tuple[L, ...]
    left_out: tuple[str, ...]
    points: dict[str, Array]

    def to_json(self) -> dict[str, Any]:
        constants = asdict(self.law)
        samples = {name: [getattr(law, name) for law in self.samples] for name in constants}
        return {
            "constants": constants,
            "intervals": {
                name: interval(np.array(values)) for name, values in samples.items() if values
            },
            "samples": samples,
            "left_out": list(self.left_out),
            "points": {name: values.tolist() for name, values in self.points.items()},
        }


def interval(values: Array) -> list[float]:
    """Return the 10th and the 90th percentile of (n,) values."""
    return [float(value) for value in np.percentile(values, PERCENTILES)]


def subsamples(count: int, resamples: int, seed: int) -> list[Array]:
    """Return `resamples` sorted arrays of 80 % of the indices below `count`."""
    generator = np.random.Generator(np.random.PCG64(seed))
    size = max(1, round(SHARE * count))
    return [np.sort(generator.permutation(count)[:size]) for _ in range(resamples)]


def bootstrap(
    runs: Runs, resamples: int, seed: int, fit: Callable[[Runs], L]
) -> tuple[tuple[L, ...], tuple[str, ...]]:
    """Return `fit` of each subsample of `runs`, and a note on those that were too few to fit."""
    laws = []
    for rows in subsamples(len(runs), resamples, seed):
        try:
            laws.append(fit(runs.take(rows)))
        except InputError:
            continue  # counted in the note: with 80 % of few runs an approach may have too few
    failed = resamples - len(laws)
    note = f"{failed} of {resamples} subsamples of 80 % of the runs: too few to fit"
    return tuple(laws), (note,) if failed else ()
