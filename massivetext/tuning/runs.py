"""What proxy runs measured: the weights each was trained on, and its loss on each target."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

# Proxies round their weights to sequences, and tables to three decimals or so.
_SUM_TOLERANCE = 0.02


def runs_needed(subsets: int) -> int:
    """Return the fewest runs that a regression over so many subsets takes: 3 * (subsets + 1).

    Olmix (2602.12237): the runs needed grow linearly with the subsets, from about there.
    """
    return 3 * (subsets + 1)


@dataclass(frozen=True)
class Run:
    """One proxy run.

    Attributes:
      name: what messages call it, such as its folder.
      weights: sampling weight per subset; a subset that is not named has none.
      losses: bits per byte per target.
      tokenizer_sha256: of the tokenizer whose tokens it was trained on.
    """

    name: str
    weights: Mapping[str, float]
    losses: Mapping[str, float]
    tokenizer_sha256: str


@dataclass(frozen=True)
class Runs:
    """Runs as arrays.

    Attributes:
      subsets, targets: names of the columns.
      weights: float64 [n, m], rows sum to one.
      losses: float64 [n, t], bits per byte.
    """

    subsets: tuple[str, ...]
    targets: tuple[str, ...]
    weights: np.ndarray
    losses: np.ndarray

    @property
    def mixtures(self) -> np.ndarray:
        """Number of each run's mixture, int [n]: runs that differ in the seed alone share one."""
        return np.unique(self.weights, axis=0, return_inverse=True)[1].reshape(-1)


def collect(runs: Sequence[Run], subsets: Sequence[str], targets: Sequence[str]) -> Runs:
    """Return `runs` as arrays, in the order given.

    Raises:
      InputError: no usable table: too few different mixtures (the message says how many are
        needed), a subset that no run sampled, a loss that is missing or not a number or the same in
        every run, weights that do not sum to one, or runs of different tokenizers.
    """
    if not targets:
        raise InputError("there is no target to tune for; name at least one held-out set")
    for run in runs:
        _check(run, runs[0], subsets, targets)
    weights = np.array([[run.weights.get(name, 0.0) for name in subsets] for run in runs], float)
    losses = np.array([[run.losses[name] for name in targets] for run in runs], float)
    weights = weights.reshape(len(runs), len(subsets))
    weights /= weights.sum(axis=1, keepdims=True)
    table = Runs(tuple(subsets), tuple(targets), weights, losses.reshape(len(runs), len(targets)))
    needed = runs_needed(len(subsets))
    different = len(np.unique(weights, axis=0))
    if different < needed:
        raise InputError(
            f"{different} runs of different mixtures are too few for {len(subsets)} subsets: "
            f"{needed} are needed, so train {needed - different} more, or tune fewer subsets"
        )
    for column, name in enumerate(subsets):
        if not weights[:, column].any():
            raise InputError(
                f"no run sampled the subset {name!r}, so nothing says what it does; "
                "add runs that hold it, or leave it out of the tuning"
            )
    for column, name in enumerate(targets):
        if np.ptp(losses[:, column]) == 0:
            raise InputError(
                f"every run has the same loss on {name!r}, {losses[0, column]:g}; "
                "check the evaluation, or leave the target out"
            )
    return table


def _check(run: Run, first: Run, subsets: Sequence[str], targets: Sequence[str]) -> None:
    if run.tokenizer_sha256 != first.tokenizer_sha256:
        raise InputError(
            f"run {run.name!r} was trained with the tokenizer {run.tokenizer_sha256[:12]}, "
            f"run {first.name!r} with {first.tokenizer_sha256[:12]}; their losses cannot be "
            "compared, so remove the runs of one of them"
        )
    for name, weight in run.weights.items():
        if not 0 <= weight <= 1:
            raise InputError(f"run {run.name!r}: weight of {name!r} is {weight}; it must be 0 to 1")
        if weight and name not in subsets:
            raise InputError(
                f"run {run.name!r} sampled {name!r}, which is none of the subsets to tune: "
                f"{', '.join(subsets)}"
            )
    total = math.fsum(run.weights.values())
    if abs(total - 1) > _SUM_TOLERANCE:
        raise InputError(f"run {run.name!r}: weights sum to {total:.6g}, not 1")
    for name in targets:
        if name not in run.losses:
            raise InputError(f"run {run.name!r} has no loss on {name!r}; evaluate it there as well")
        if not math.isfinite(run.losses[name]):
            raise InputError(
                f"run {run.name!r}: loss on {name!r} is {run.losses[name]}; the run diverged, "
                "so train it again or remove it"
            )
