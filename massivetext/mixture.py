"""Mixture weights, and the plan they make: sequences and epochs per subset for a token budget.

A subset of weight 0 is excluded. All arithmetic that decides a count is exact (integers and
fractions): rounding weights twice is how mixtures drift a few percent or slip into a second epoch.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from .config import Mixture
from .config_mixture import Construction, MixtureStage
from .errors import ConfigError, nearest
from .mixture_plan import MixturePlan, StagePlan, Stock, SubsetPlan
from .presets import MIXTURES

# The order multiplies two sequence counts in 64-bit integers: 6 trillion tokens in 2048s.
MAX_SEQUENCES = 3_000_000_000

Weights = Mapping[str, float]


def from_manifest(values: Mapping[str, Any]) -> Mixture:
    """Return the config section that the manifest of some shards repeats under `mixture`.

    Raises:
      ValueError, TypeError: it is none.
    """
    stages = tuple(MixtureStage(**stage) for stage in values.get("stages", ()))
    construction = Construction(values.get("construction", Construction.PACK))
    return Mixture(**{**values, "stages": stages, "construction": construction})


def resolve_weights(mixture: Mixture, subsets: Iterable[str]) -> dict[str, float]:
    """Return the sampling weight of each of the config's `subsets`, in their order.

    `mixture.weights` is taken as it is; otherwise the preset is restricted to `subsets` and scaled
    to sum to one (Gopher, 2112.11446, Table 2; Chinchilla, 2203.15556, Table A1; `presets`). With
    `mixture.stages` it is the mean over the whole budget.

    Raises:
      ConfigError: a weight for a subset that the config does not have, a subset without a weight,
        or a subset that the preset does not know.
    """
    names = list(subsets)
    stages = resolve_stages(mixture, names)
    if len(stages) == 1:
        return stages[0]
    ends = (Fraction(0), *mixture.stage_ends())
    return _mean([stop - start for start, stop in pairwise(ends)], stages)


def resolve_stages(mixture: Mixture, subsets: Iterable[str]) -> list[dict[str, float]]:
    """Return the weights of each of `mixture.stages`, or of the one stage that a mixture without
    them is; errors as `resolve_weights`."""
    names = list(subsets)
    if not mixture.stages:
        return [_base_weights(mixture, names)]
    return [
        _base_weights(mixture, names)
        if stage.weights is None
        else _given_weights(f"mixture.stages.{number}.weights", stage.weights, names)
        for number, stage in enumerate(mixture.stages)
    ]


def _base_weights(mixture: Mixture, names: list[str]) -> dict[str, float]:
    if mixture.weights is not None:
        return _given_weights("mixture.weights", mixture.weights, names)
    preset = MIXTURES[mixture.preset]
    for name in names:
        if name not in preset:
            raise ConfigError(
                f"the mixture preset {mixture.preset!r} has no weight for the subset {name!r}"
                f"{nearest(name, preset)}; rename the subset or give mixture.weights"
            )
    shares = _shares({name: preset[name] for name in names})
    return {name: float(share) for name, share in shares.items()}


def _given_weights(key: str, weights: Weights, names: list[str]) -> dict[str, float]:
    for name in weights:
        if name not in names:
            raise ConfigError(
                f"{key} names the subset {name!r}, which the config does not have"
                f"{nearest(name, names)}"
            )
    for name in names:
        if name not in weights:
            raise ConfigError(f"subset {name!r} has no weight; add it to {key} (0 leaves it out)")
    return {name: float(weights[name]) for name in names}


def _mean(sizes: Sequence[Fraction | int], stages: Sequence[Weights]) -> dict[str, float]:
    """Return the mean weights of stages of these sizes."""
    total = Fraction(0)
    means = dict.fromkeys(stages[0], Fraction(0))
    for size, weights in zip(sizes, stages, strict=True):
        total += size
        for name, share in _shares(weights).items():
            means[name] += size * share
    return {name: float(mean / total) for name, mean in means.items()}


def plan(
    mixture: Mixture,
    weights: Weights | Sequence[Weights],
    available: Mapping[str, int | Stock],
) -> MixturePlan:
    """Return how many sequences each subset gives to a budget of `mixture.tokens`.

    The budget is an upper bound: floor(tokens / sequence_length) sequences, apportioned to the
    weights by largest remainder (ties to the first name), so that each subset is within one
    sequence of its exact share and the counts sum to the total. So is each stage, whose last
    sequence is floor(share of the budget at its end * sequences); what the stages before it rounded
    is carried into its remainders.

    Args:
      weights: sampling weight per subset, as `resolve_weights` returns them, or those of each stage
        as `resolve_stages` does.
      available: stock per subset; a number stands for that many tokens packed end to end, those
        that end documents included.

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
    stages = _stages(mixture, [weights] if isinstance(weights, Mapping) else weights, total)
    names = list(stages[0].used)
    sizes = [sum(stage.used.values()) for stage in stages]
    overall = stages[0].weights
    if len(stages) > 1:
        overall = _mean(sizes, [stage.weights for stage in stages])
    stocks = {name: _stock(available.get(name, 0)) for name in names}
    used = {name: sum(stage.used[name] for stage in stages) for name in names}
    subsets = tuple(
        SubsetPlan(name, overall[name], stocks[name], stocks[name].sequences(length), used[name])
        for name in names
    )
    planned = MixturePlan(length, subsets, tuple(stages), mixture.construction)
    shares = _shares(overall)
    for subset in subsets:
        _check_subset(planned, subset, shares[subset.name])
    check_epochs(mixture, planned)
    return planned


def _stages(mixture: Mixture, weights: Sequence[Weights], total: int) -> list[StagePlan]:
    """Apportion each stage, carrying what the ones before it rounded."""
    stops = [math.floor(end * total) for end in mixture.stage_ends()] or [total]
    names = sorted(weights[0])
    carry = dict.fromkeys(names, Fraction(0))
    plans: list[StagePlan] = []
    for start, stop, stage in zip([0, *stops[:-1]], stops, weights, strict=True):
        if stop == start:
            raise ConfigError(
                f"stage {len(plans) + 1} of mixture.stages gets no sequence out of {total:,}; "
                "raise its until or mixture.tokens"
            )
        shares = _shares({name: stage[name] for name in names})
        used = apportion(stop - start, shares, carry)
        for name in names:
            carry[name] += shares[name] * (stop - start) - used[name]
        plans.append(StagePlan({name: stage[name] for name in names}, used))
    return plans


def apportion(
    total: int, shares: Mapping[str, Fraction], carry: Mapping[str, Fraction] | None = None
) -> dict[str, int]:
    """Split `total` in proportion to `shares` (which sum to 1) by largest remainder, exactly.

    `carry` is added to the remainders: what earlier splits still owe to each name.
    """
    counts = {name: math.floor(share * total) for name, share in shares.items()}
    left = total - sum(counts.values())
    rest = {name: shares[name] * total - counts[name] for name in shares}
    owed = carry or {}
    by_remainder = sorted(
        (name for name in shares if rest[name]),
        key=lambda name: (-(rest[name] + owed.get(name, 0)), name),
    )
    for name in by_remainder[:left]:
        counts[name] += 1
    return counts


def _stock(available: int | Stock) -> Stock:
    return available if isinstance(available, Stock) else Stock(available, 0, available)


def _shares(weights: Weights) -> dict[str, Fraction]:
    # Through the decimal text, so that 0.1 is a tenth and not its nearest binary fraction.
    exact = {name: Fraction(str(weight)) for name, weight in weights.items()}
    total = sum(exact.values())
    return {name: weight / total for name, weight in exact.items()}


def _check_subset(planned: MixturePlan, subset: SubsetPlan, share: Fraction) -> None:
    if not share:
        return
    if not subset.sequences:
        raise ConfigError(
            f"subset {subset.name!r} has weight {subset.weight:g} but no tokens: check its input "
            "and the dropped documents, or set its weight to 0"
        )
    if not subset.used:
        least = math.ceil(1 / share) * planned.sequence_length
        raise ConfigError(
            f"subset {subset.name!r} (weight {subset.weight:g}) gets no sequence out of "
            f"{planned.sequences:,}; give mixture.tokens of at least {least:,}, a shorter "
            "mixture.sequence_length, or weight 0"
        )


def check_epochs(mixture: Mixture, planned: MixturePlan) -> None:
    """Refuse a plan that repeats a subset more than `mixture.max_epochs` times.

    What is counted are passes over the subset's tokens. Packed, they are passes over its documents;
    a crop is new text each time, so for `Construction.GOPHER` they are not.

    Raises:
      ConfigError: names the most repeated subset, and the budget that fits.
    """
    limit = Fraction(str(mixture.max_epochs))
    length = planned.sequence_length

    def once(subset: SubsetPlan) -> Fraction:
        """Sequences that pass over the subset once."""
        if planned.construction is Construction.GOPHER:
            return Fraction(subset.tokens, length)
        return Fraction(subset.sequences)

    drawn = [subset for subset in planned.subsets if subset.used]
    over = [subset for subset in drawn if subset.used > limit * once(subset)]
    if not over:
        return
    worst = max(over, key=lambda subset: (subset.used / once(subset), subset.name))
    advice = "lower mixture.tokens"
    if len(planned.stages) == 1:
        # A share rounds up to at most its ceiling, so no budget up to this one passes the limit.
        shares = _shares({subset.name: subset.weight for subset in planned.subsets})
        fits = min(math.floor(limit * once(s)) // shares[s.name] for s in drawn)
        advice = f"mixture.tokens up to {fits * length:,} fits"
    raise ConfigError(
        f"subset {worst.name!r} would be repeated for {float(worst.used / once(worst)):.2f} epochs "
        f"({worst.used:,} of {math.ceil(once(worst)):,} sequences), above mixture.max_epochs "
        f"{mixture.max_epochs:g}; {advice}, or lower its weight, or raise mixture.max_epochs"
    )
