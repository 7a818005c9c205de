"""Mixture weights, and the plan they make: sequences and epochs per subset for a token budget.

A subset of weight 0 is excluded. All arithmetic that decides a count is exact (integers and
fractions): rounding weights twice is how mixtures drift a few percent or slip into a second epoch.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .config import Mixture
from .errors import ConfigError, nearest
from .presets import MIXTURES

# The order multiplies two sequence counts in 64-bit integers: 6 trillion tokens in 2048s.
MAX_SEQUENCES = 3_000_000_000


def resolve_weights(mixture: Mixture, subsets: Iterable[str]) -> dict[str, float]:
    """Return the sampling weight of each of the config's `subsets`, in their order.

    `mixture.weights` is taken as it is; otherwise the preset is restricted to `subsets` and scaled
    to sum to one (Gopher, 2112.11446, Table 2; Chinchilla, 2203.15556, Table A1; `presets`).

    Raises:
      ConfigError: a weight for a subset that the config does not have, a subset without a weight,
        or a subset that the preset does not know.
    """
    names = list(subsets)
    if mixture.weights is not None:
        for name in mixture.weights:
            if name not in names:
                raise ConfigError(
                    f"mixture.weights names the subset {name!r}, which the config does not have"
                    f"{nearest(name, names)}"
                )
        for name in names:
            if name not in mixture.weights:
                raise ConfigError(
                    f"subset {name!r} has no weight; add it to mixture.weights (0 leaves it out)"
                )
        return {name: float(mixture.weights[name]) for name in names}
    preset = MIXTURES[mixture.preset]
    for name in names:
        if name not in preset:
            raise ConfigError(
                f"the mixture preset {mixture.preset!r} has no weight for the subset {name!r}"
                f"{nearest(name, preset)}; rename the subset or give mixture.weights"
            )
    shares = _shares({name: preset[name] for name in names})
    return {name: float(share) for name, share in shares.items()}


@dataclass(frozen=True)
class SubsetPlan:
    """What one subset gives: `tokens` it has, `sequences` they fill, `used` sequences drawn."""

    name: str
    weight: float
    tokens: int
    sequences: int
    used: int

    @property
    def epochs(self) -> float:
        """Sequences used / sequences there are."""
        return self.used / self.sequences if self.used else 0.0


@dataclass(frozen=True)
class MixturePlan:
    """Sequences per subset for a budget; `subsets` are in order of name, excluded ones included."""

    sequence_length: int
    subsets: tuple[SubsetPlan, ...]

    @property
    def sequences(self) -> int:
        return sum(subset.used for subset in self.subsets)

    @property
    def tokens(self) -> int:
        """Training targets in the plan: sequences * sequence_length."""
        return self.sequences * self.sequence_length

    def entry(self, index: int) -> dict[str, Any]:
        """Return one subset as the manifest of the shards states it (docs/shards.md)."""
        subset = self.subsets[index]
        return {
            "index": index,
            "name": subset.name,
            "weight": subset.weight,
            "available_tokens": subset.tokens,
            "available_sequences": subset.sequences,
            "sequences": subset.used,
            "tokens": subset.used * self.sequence_length,
            "epochs": subset.epochs,
        }

    def table(self) -> str:
        """Return the plan as a table for people, one line per subset and a total."""
        rows = [("subset", "weight", "tokens", "sequences", "used", "trained on", "epochs")]
        for subset in self.subsets:
            rows.append(
                (
                    subset.name,
                    f"{subset.weight:.4f}",
                    f"{subset.tokens:,}",
                    f"{subset.sequences:,}",
                    f"{subset.used:,}",
                    f"{subset.used * self.sequence_length:,}",
                    f"{subset.epochs:.2f}",
                )
            )
        total = sum(subset.sequences for subset in self.subsets)
        rows.append(
            (
                "total",
                f"{sum(subset.weight for subset in self.subsets):.4f}",
                f"{sum(subset.tokens for subset in self.subsets):,}",
                f"{total:,}",
                f"{self.sequences:,}",
                f"{self.tokens:,}",
                f"{self.sequences / total:.2f}",
            )
        )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = []
        for first, *rest in rows:
            cells = [first.ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
            lines.append("  ".join(cells))
        return "\n".join(lines)


def plan(
    mixture: Mixture, weights: Mapping[str, float], available: Mapping[str, int]
) -> MixturePlan:
    """Return how many sequences each subset gives to a budget of `mixture.tokens`.

    The budget is an upper bound: floor(tokens / sequence_length) sequences, apportioned to the
    weights by largest remainder (ties to the first name), so that each subset is within one
    sequence of its exact share and the counts sum to the total.

    Args:
      weights: sampling weight per subset, as `resolve_weights` returns them.
      available: tokens per subset, end-of-document tokens included; each is a target once per
        epoch, so a subset has ceil(tokens / sequence_length) sequences, the last one padded.

    Raises:
      ConfigError: a subset has no tokens, gets no sequence, or would be repeated more than
        `mixture.max_epochs` times.
    """
    length = mixture.sequence_length
    total = mixture.tokens // length
    if not 0 < total <= MAX_SEQUENCES:
        raise ConfigError(
            f"mixture.tokens {mixture.tokens:,} make {total:,} sequences of {length}; "
            f"give from {length:,} to {MAX_SEQUENCES * length:,} tokens"
        )
    shares = _shares({name: weights[name] for name in sorted(weights)})
    sequences = {name: -(-available.get(name, 0) // length) for name in shares}
    for name, share in shares.items():
        if share and not sequences[name]:
            raise ConfigError(
                f"subset {name!r} has weight {weights[name]:g} but no tokens: check its input and "
                "the dropped documents, or set its weight to 0"
            )
    used = apportion(total, shares)
    for name, share in shares.items():
        if share and not used[name]:
            raise ConfigError(
                f"subset {name!r} (weight {weights[name]:g}) gets no sequence out of {total:,}; "
                f"give mixture.tokens of at least {math.ceil(1 / share) * length:,}, a shorter "
                "mixture.sequence_length, or weight 0"
            )
    _check_epochs(mixture, shares, sequences, used)
    return MixturePlan(
        length,
        tuple(
            SubsetPlan(name, weights[name], available.get(name, 0), sequences[name], used[name])
            for name in shares
        ),
    )


def apportion(total: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Split `total` in proportion to `shares` (which sum to 1) by largest remainder, exactly."""
    counts = {name: math.floor(share * total) for name, share in shares.items()}
    left = total - sum(counts.values())
    by_remainder = sorted(shares, key=lambda name: (counts[name] - shares[name] * total, name))
    for name in by_remainder[:left]:
        counts[name] += 1
    return counts


def _shares(weights: Mapping[str, float]) -> dict[str, Fraction]:
    # Through the decimal text, so that 0.1 is a tenth and not its nearest binary fraction.
    exact = {name: Fraction(str(weight)) for name, weight in weights.items()}
    total = sum(exact.values())
    return {name: weight / total for name, weight in exact.items()}


def _check_epochs(
    mixture: Mixture,
    shares: Mapping[str, Fraction],
    sequences: Mapping[str, int],
    used: Mapping[str, int],
) -> None:
    limit = Fraction(str(mixture.max_epochs))
    drawn = {name: share for name, share in shares.items() if share}
    over = [name for name in drawn if used[name] > limit * sequences[name]]
    if not over:
        return
    worst = max(over, key=lambda name: (Fraction(used[name], sequences[name]), name))
    # A share rounds up to at most its ceiling, so no budget up to this one can pass the limit.
    fits = min(int(limit * sequences[name]) // share for name, share in drawn.items())
    raise ConfigError(
        f"subset {worst!r} would be repeated for {used[worst] / sequences[worst]:.2f} epochs "
        f"({used[worst]:,} of {sequences[worst]:,} sequences), above mixture.max_epochs "
        f"{mixture.max_epochs:g}; mixture.tokens up to {fits * mixture.sequence_length:,} fits, "
        "or lower its weight, or raise mixture.max_epochs"
    )
