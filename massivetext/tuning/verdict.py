"""What a confirmation says in words: whether the proposal is better, and which mixture to use."""

from collections.abc import Mapping
from typing import Any

from .confirmation import Interval, better, difference, worse

PROPOSAL, CONFIGURED = "proposal", "configured"


def verdict(
    means: Mapping[str, float],
    differences: Mapping[str, Interval | None],
    losses: Mapping[str, Mapping[int, float]],
) -> dict[str, Any]:
    """Return whether the proposal is better than each other mixture, what to use, and the words.

    A mixture is recommended instead of the configured one only where it is better beyond the
    interval: chance alone is no reason to change a mixture.

    Args:
      means: mean objective, bits per byte, of the mixtures with any run.
      differences: the proposal's objective less each other mixture's; None for fewer than two
        seeds that both have.
      losses: objective by mixture and seed.

    Returns:
      `better_than_<mixture>` for each other mixture, `recommended`, `text` (a list of lines).
    """
    lines = [_line(name, found) for name, found in differences.items()]
    recommended = _recommended(means, losses)
    if recommended == CONFIGURED:
        lines.append("Recommended: the configured mixture. Nothing is better beyond chance.")
    else:
        lines.append(f"Recommended: the {recommended} mixture.")
    return {
        **{f"better_than_{name}": better(found) for name, found in differences.items()},
        "recommended": recommended,
        "text": lines,
    }


def _recommended(means: Mapping[str, float], losses: Mapping[str, Mapping[int, float]]) -> str:
    """Return the mixture of least mean among those better than the configured one, or that one."""
    if CONFIGURED not in means:
        return min(means, key=lambda name: (means[name], name))
    found = [
        name
        for name in means
        if name != CONFIGURED and better(difference(losses[name], losses[CONFIGURED]))
    ]
    return min(found, key=lambda name: (means[name], name), default=CONFIGURED)


def _line(name: str, found: Interval | None) -> str:
    if found is None:
        return (
            f"The proposal could not be compared with the {name} mixture: fewer than two seeds "
            "of both did not diverge."
        )
    numbers = (
        f"{found.mean:+.4f} bits per byte, 95 % interval {found.low:+.4f} to {found.high:+.4f} "
        f"over {len(found.seeds)} seeds"
    )
    if better(found):
        return f"The proposal is better than the {name} mixture: {numbers}."
    if worse(found):
        return f"The proposal is WORSE than the {name} mixture: {numbers}."
    return f"The proposal is NOT shown to be better than the {name} mixture: {numbers}."
