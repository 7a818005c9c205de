"""The mixture's part of the config: weights, their stages, budget, and how sequences are made.

Each class checks its own values, as in `config`.
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

from .config_rules import known, positive
from .presets import MIXTURES


class Construction(StrEnum):
    """How the documents of a subset become sequences: end to end, or as Gopher's Algorithm 1."""

    PACK = "pack"
    GOPHER = "gopher"


@dataclass(frozen=True)
class MixtureStage:
    """Training up to `until` with `weights` of its own; unset, the mixture's.

    `until` is a share of the budget up to 1, and a number of tokens above.
    """

    until: float = 1.0
    weights: dict[str, float] | None = None

    def __post_init__(self) -> None:
        positive(self, "until")
        if self.weights is not None:
            _sum_to_one(self.weights)


@dataclass(frozen=True)
class Mixture:
    """Sampling weights per subset and the budget of training tokens."""

    preset: str = "chinchilla"
    weights: dict[str, float] | None = None
    stages: tuple[MixtureStage, ...] = ()
    construction: Construction = Construction.PACK
    tokens: int = 20_000_000
    sequence_length: int = 2048
    max_epochs: float = 4.0
    shard_sequences: int = 16_384

    def __post_init__(self) -> None:
        known("preset", self.preset, MIXTURES)
        positive(self, "tokens", "sequence_length", "max_epochs", "shard_sequences")
        if self.weights is not None:
            _sum_to_one(self.weights)
        ends = (Fraction(0), *self.stage_ends())
        for number, (before, end) in enumerate(pairwise(ends), 1):
            if end <= before:
                raise ValueError(
                    f"stage {number} ends at {float(end):.6g} of the budget, not after "
                    f"{float(before):.6g}, where it begins; order the stages by until"
                )
        if self.stages and ends[-1] != 1:
            raise ValueError(
                f"the last stage ends at {float(ends[-1]):.6g} of the budget of "
                f"{self.tokens:,} tokens; it must end with it: leave out its until"
            )

    def stage_ends(self) -> tuple[Fraction, ...]:
        """Return where each of `stages` ends, as an exact share of the budget."""
        ends = (Fraction(str(stage.until)) for stage in self.stages)
        return tuple(end if end <= 1 else end / self.tokens for end in ends)


def _sum_to_one(weights: dict[str, float]) -> None:
    total = sum(weights.values())
    for name, weight in weights.items():
        if not 0 <= weight <= 1:
            raise ValueError(f"weight of {name} is {weight}; it is a fraction, 0 to 1")
    if total <= 0:
        raise ValueError("every weight is 0")
    if abs(total - 1) > 1e-6:
        scaled = ", ".join(f"{n}: {w / total:.6g}" for n, w in weights.items())
        raise ValueError(f"weights sum to {total:.6g}, not 1; scaled to one: {{{scaled}}}")
