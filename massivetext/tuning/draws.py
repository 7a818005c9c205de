"""Mixtures to train proxies on: Dirichlet draws, as RegMix's (Liu et al. 2024, 2407.01492, 3.1).

RegMix draws from Dirichlet(strength * prior), the strength log-spaced from 0.1 (nearly one subset
alone) to 5, the prior the natural proportions to the power 0.5. Ours adds two things that a small
number of runs needs: every draw has one subset that it must hold, in turns, so that any m draws in
a row sample all m subsets; and a draw above an epoch cap is cut down to it, not thrown away.
"""

from collections.abc import Mapping

import numpy as np

from ..errors import ConfigError
from .runs import runs_needed
from .simplex import Simplex

TEMPERATURE = 0.5
STRENGTHS = np.geomspace(0.1, 5.0, 15)

# The weight that a draw must give its own subset, where the cap allows as much.
OWN_WEIGHT = 0.01

# Two draws are the same if they agree in so many decimals; a proxy cannot tell them apart.
DISTINCT_DECIMALS = 3

_TRIES = 100
_SALT = 0x6D69787475726573


def generator(seed: int, salt: int) -> np.random.Generator:
    """Return the generator of a purpose (`salt`) under the config's seed: Philox, keyed by both.

    Its bits are the same everywhere; what NumPy makes of them may change between its versions, so
    draws that others build on are to be stored.
    """
    return np.random.Generator(np.random.Philox(key=np.array([seed, salt], np.uint64)))


def natural(available: Mapping[str, int], temperature: float = 1.0) -> dict[str, float]:
    """Return proportions of the subsets' tokens to the power `temperature`."""
    sizes = np.array(list(available.values()), np.float64)
    powered = (sizes / sizes.max()) ** temperature
    return dict(zip(available, (powered / powered.sum()).tolist(), strict=True))


def draw_mixtures(
    simplex: Simplex,
    count: int,
    available: Mapping[str, int],
    configured: Mapping[str, float] | None,
    seed: int,
) -> list[dict[str, float]]:
    """Return `count` different mixtures; the first ones are the same whatever the count.

    Args:
      simplex: the subsets and their caps.
      available: tokens per subset; draws are around their proportions to the power `TEMPERATURE`
        and, m at a time in turns with them, around the weights `configured`.
      seed: the config's.

    Returns:
      Weights of `simplex.DIGITS` digits, each mixture's decimals summing to exactly one.

    Raises:
      ConfigError: `count` is too small to fit anything, or the caps leave too few mixtures.
    """
    names = simplex.names
    if count < runs_needed(len(names)):
        raise ConfigError(
            f"{count} runs are too few to tune {len(names)} subsets; "
            f"draw at least {runs_needed(len(names))}, or tune fewer subsets"
        )
    centres = [simplex.array(natural(available, TEMPERATURE))]
    if configured is not None:
        centres.append(simplex.array(configured))
    random = generator(seed, _SALT)
    seen: set[bytes] = set()
    drawn = []
    for number in range(count):
        own = number % len(names)
        centre = centres[number // len(names) % len(centres)]
        row = _draw(simplex, centre, own, random, seen)
        if row is None:
            raise ConfigError(
                f"only {number} mixtures that differ fit the epoch caps, {count} were asked for; "
                "lower mixture.tokens or raise mixture.max_epochs"
            )
        drawn.append(simplex.round(row))
    return drawn


def _draw(
    simplex: Simplex, centre: np.ndarray, own: int, random: np.random.Generator, seen: set[bytes]
) -> np.ndarray | None:
    """Return a mixture not `seen` that holds the subset `own`, or None if there seems to be none.

    Subsets that the centre hardly holds, or not at all, are drawn with an equal share at least when
    the centre itself does not yield one; strengths rise when the weaker ones bring nothing new.
    """
    least = min(max(OWN_WEIGHT, simplex.smallest), simplex.ceiling[own])
    lifted = centre.copy()
    lifted[own] = max(lifted[own], 1 / len(centre))
    first = int(random.integers(len(STRENGTHS)))
    for strength in STRENGTHS[first:]:
        for around in (centre, lifted):
            rows = simplex.fill(dirichlet(random, strength * around, _TRIES))
            fits = (rows[:, own] >= least) & ~((rows > 0) & (rows < simplex.smallest)).any(axis=1)
            for row in rows[fits]:
                key = np.round(row, DISTINCT_DECIMALS).tobytes()
                if key not in seen:
                    seen.add(key)
                    return np.asarray(row)
    return None


def dirichlet(random: np.random.Generator, concentration: np.ndarray, count: int) -> np.ndarray:
    """Draw from a Dirichlet whose concentrations may be zero: float64 [count, m]."""
    held = concentration > 0
    rows = np.zeros((count, len(concentration)))
    rows[:, held] = random.dirichlet(concentration[held], count)
    return rows
