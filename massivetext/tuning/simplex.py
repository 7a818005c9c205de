"""The mixtures that may be drawn or proposed: weights that sum to one, under epoch caps.

A cap keeps a subset from being repeated too often: weight * budget <= max_epochs * its tokens.
Weights are decimals of `DIGITS` digits, so that a cap holds exactly and not but for rounding.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..config_mixture import Mixture
from ..errors import ConfigError, nearest

DIGITS = 6
UNITS = 10**DIGITS

# RegMix (2407.01492) sets weights below this to zero.
SMALLEST = 2e-4

# What is below this share is a zero; scaling it up to fill a mixture would overflow.
_NOTHING = 1e-12


@dataclass(frozen=True)
class Simplex:
    """The mixtures of m subsets that a budget allows.

    Attributes:
      names: the subsets, in the order of every array's columns.
      caps: largest weight of each, exact.
      smallest: a lower weight than this is made 0; one sequence of a proxy's run, or more.

    Raises:
      ConfigError: the caps do not reach one together, or `smallest` is too much for them.
    """

    names: tuple[str, ...]
    caps: tuple[Fraction, ...]
    smallest: float = SMALLEST

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise ConfigError("a mixture to be tuned needs at least two subsets")
        if self.smallest * len(self.names) > 1:
            raise ConfigError(
                f"{len(self.names)} subsets cannot each have the least weight that a run can "
                f"sample, {self.smallest:.2g}; raise the tokens of a run, or tune fewer subsets"
            )
        for name, units in zip(self.names, self.units, strict=True):
            if units < self.smallest * UNITS:
                raise ConfigError(
                    f"subset {name!r} may have a weight of at most {units / UNITS:.2g} within "
                    f"mixture.max_epochs, below {self.smallest:.2g}, the least that a run can "
                    "sample; leave the subset out of the tuning, lower mixture.tokens, or raise "
                    "mixture.max_epochs or the tokens of a run"
                )
        if sum(self.units) < UNITS:
            raise ConfigError(
                f"within mixture.max_epochs all subsets together fill {sum(self.units) / UNITS:.1%}"
                " of mixture.tokens; lower mixture.tokens or raise mixture.max_epochs"
            )

    @property
    def units(self) -> tuple[int, ...]:
        """The caps in units of the last digit, at most one."""
        return tuple(math.floor(min(cap, Fraction(1)) * UNITS) for cap in self.caps)

    @property
    def ceiling(self) -> np.ndarray:
        """The caps, float64 [m]."""
        return np.array(self.units) / UNITS

    def fill(self, weights: np.ndarray) -> np.ndarray:
        """Return mixtures in proportion to `weights` as far as the caps allow.

        Each row becomes min(cap, c * row) with the c that makes it sum to one. Where all of its
        subsets are at their caps, the others take the rest in proportion to theirs.

        Args:
          weights: float64 [n, m], not negative, no row all zero.
        """
        ceiling = self.ceiling
        rows = weights / weights.sum(axis=1, keepdims=True)
        # An even mixture stays one if rounding puts it just below the least weight.
        least = max(self.smallest * (1 - 1e-9), _NOTHING)
        rows = np.where(rows < least, 0.0, rows)
        filled = np.minimum(rows / rows.sum(axis=1, keepdims=True), ceiling)
        for _ in self.names:
            left = 1 - filled.sum(axis=1)
            growing = np.where(filled < ceiling, filled, 0.0)
            total = growing.sum(axis=1)
            factor = np.divide(left, total, out=np.zeros_like(left), where=total > 0)
            filled = np.minimum(filled + growing * factor[:, None], ceiling)
        left = 1 - filled.sum(axis=1)
        room = ceiling - filled
        total = room.sum(axis=1)
        factor = np.divide(left, total, out=np.zeros_like(left), where=total > 0)
        return np.asarray(np.clip(filled + room * factor[:, None], 0.0, ceiling))

    def round(self, row: np.ndarray) -> dict[str, float]:
        """Return one filled row as weights of `DIGITS` digits whose decimals sum to exactly one.

        Largest remainder, ties to the first subset; no weight passes its cap, and a zero stays one
        unless the caps of the others do not reach one.
        """
        caps = self.units
        exact = [Fraction(float(weight)) * UNITS for weight in row]
        units = [min(math.floor(value), cap) for value, cap in zip(exact, caps, strict=True)]
        order = sorted(range(len(units)), key=lambda at: (not units[at], units[at] - exact[at], at))
        left = UNITS - sum(units)
        while left > 0:
            # A round gives each one unit, so that rounding is spread; it ends: the caps reach one.
            for at in order:
                if left and units[at] < caps[at] and (units[at] or _full(units, caps)):
                    units[at] += 1
                    left -= 1
        while left < 0:
            for at in reversed(order):
                if left and units[at]:
                    units[at] -= 1
                    left += 1
        return {name: count / UNITS for name, count in zip(self.names, units, strict=True)}

    def array(self, weights: Mapping[str, float]) -> np.ndarray:
        """Return `weights` as float64 [m], scaled to sum to one.

        Raises:
          ConfigError: a subset has no weight, one is none, or a weight is for another subset.
        """
        for name, weight in weights.items():
            if weight and name not in self.names:
                raise ConfigError(
                    f"a mixture has a weight for {name!r}, which is not a subset to tune"
                    f"{nearest(name, self.names)}"
                )
        for name in self.names:
            if name not in weights:
                raise ConfigError(f"a mixture has no weight for the subset {name!r}; give 0")
        row = np.array([weights[name] for name in self.names], np.float64)
        if not np.isfinite(row).all() or (row < 0).any() or not row.sum():
            raise ConfigError(f"weights of a mixture must be 0 to 1 and sum to 1: {dict(weights)}")
        return row / row.sum()


def _full(units: Iterable[int], caps: Iterable[int]) -> bool:
    """Return whether every subset that is sampled at all is at its cap."""
    return all(count == cap for count, cap in zip(units, caps, strict=True) if count)


def within_epochs(
    mixture: Mixture, available: Mapping[str, int], smallest: float = SMALLEST
) -> Simplex:
    """Return the mixtures that `mixture.tokens` allow of `available` tokens per subset.

    A cap is the lower of max_epochs * tokens / budget and the whole sequences in it, so that
    `massivetext.mixture.plan`, which rounds to sequences, accepts what is within it.

    Raises:
      ConfigError: as `Simplex`.
    """
    total = mixture.tokens // mixture.sequence_length
    if not total:
        raise ConfigError(
            f"mixture.tokens {mixture.tokens:,} are not one sequence of {mixture.sequence_length}"
        )
    limit = Fraction(str(mixture.max_epochs))
    caps = []
    for tokens in available.values():
        most = limit * tokens
        sequences = math.floor(most / mixture.sequence_length)
        caps.append(min(most / mixture.tokens, Fraction(sequences, total), Fraction(1)))
    return Simplex(tuple(available), tuple(caps), smallest)
