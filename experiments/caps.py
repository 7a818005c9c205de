"""Which mixtures a tuning may train or propose: those within the epoch caps of the real run."""

import math
from collections.abc import Mapping

from massivetext.config_mixture import Mixture
from massivetext.config_train import Train
from massivetext.trainer.ramp import sequences_of
from massivetext.tuning.simplex import SMALLEST, UNITS, Simplex, within_epochs


def within_run(mixture: Mixture, train: Train, tokens: Mapping[str, int]) -> Simplex:
    """Return the mixtures of the real run in which a weight is 0 or a sequence of both runs.

    Args:
      mixture: of the real run; `train`: of a proxy.
      tokens: stored, by subset.

    Raises:
      ConfigError: fewer than two subsets, or caps that do not reach one together.
    """
    sequences = max(1, min(sequences_of(train), mixture.tokens // mixture.sequence_length))
    # One unit more, so that rounding to the last digit does not go below a sequence.
    smallest = max(SMALLEST, (math.ceil(UNITS / sequences) + 1) / UNITS)
    return within_epochs(mixture, tokens, smallest)


def fit(simplex: Simplex, weights: Mapping[str, float]) -> dict[str, float]:
    """Return the mixture within the caps that is nearest to `weights` in proportion."""
    return simplex.round(simplex.fill(simplex.array(weights)[None])[0])
