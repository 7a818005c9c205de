"""What `massivetext scaling predict` prints."""

from collections.abc import Sequence

from ..card import align
from ..errors import ConfigError
from . import repeated
from .axes import human
from .bootstrap import PERCENTILES
from .laws import ParametricLaw
from .predict import SMALLER, Fitted, Prediction, loss_of, overtrained, predict


def text(
    fitted: Sequence[Fitted],
    flops: float,
    *,
    unique: float | None = None,
    parameters: float | None = None,
) -> str:
    """Return the optimum of each approach for a budget, and what other sizes would cost.

    Args:
      unique: different tokens that there are; more are repetitions.
      parameters: a size that is wanted in place of the best one.

    Raises:
      ConfigError: as of `predict`, or `parameters` without a parametric law.
    """
    laws = [(one.approach, one.law) for one in fitted if isinstance(one.law, ParametricLaw)]
    if parameters is not None and not laws:
        raise ConfigError(
            "--parameters asks for another size than the best, of which only the parametric law "
            "tells; fit it too (--approach all), or take --law"
        )
    predictions = predict(fitted, flops, unique)
    lines = [f"compute-optimal for {flops:.4g} FLOPs", "", align(_optima(predictions))]
    if any(prediction.intervals for prediction in predictions):
        lines.append(f"\nintervals: {PERCENTILES[0]:.0f}th to {PERCENTILES[1]:.0f}th percentile")
    by_name = {prediction.approach: prediction for prediction in predictions}
    for name, law in laws:
        lines += ["", *_sizes(law, name, by_name[name], flops, unique, parameters)]
    if unique is not None:
        lines += ["", *_repeats(predictions, unique)]
    return "\n".join(lines)


def _optima(predictions: Sequence[Prediction]) -> list[list[str]]:
    rows = [["approach", "parameters", "", "tokens", "", "tokens/parameter", "loss", ""]]
    for found in predictions:
        n, d = found.parameters, found.tokens
        between = {
            name: " to ".join(human(end) if name != "loss" else f"{end:.3f}" for end in ends)
            for name, ends in found.intervals.items()
        }
        rows.append(
            [
                found.approach,
                "-" if n is None else human(n),
                between.get("parameters", ""),
                "-" if d is None else human(d),
                between.get("tokens", ""),
                "-" if n is None or d is None else f"{d / n:.1f}",
                f"{found.loss:.4f}",
                between.get("loss", ""),
            ]
        )
    return rows


def _sizes(
    law: ParametricLaw,
    name: str,
    best: Prediction,
    flops: float,
    unique: float | None,
    wanted: float | None,
) -> list[str]:
    """Return what smaller models, or the wanted one, give for this budget and need for its loss."""
    assert best.parameters is not None
    sizes = [best.parameters * share for share in SMALLER] if wanted is None else [wanted]
    rows = [["parameters", "loss at this budget", "tokens to the best loss", "FLOPs", "more FLOPs"]]
    for size in sizes:
        loss = loss_of(law, size, flops / (6 * size), unique)
        longer = overtrained(law, size, best.loss, unique)
        reached = longer.flops < float("inf")
        rows.append(
            [
                human(size),
                f"{loss:.4f}",
                human(longer.tokens) if reached else "never",
                f"{longer.flops:.3g}" if reached else "",
                f"{longer.flops / flops - 1:+.0%}" if reached else "",
            ]
        )
    what = "another size" if wanted is not None else "smaller models, trained longer"
    return [f"{what}, by the law of {name}", align(rows)]


def _repeats(predictions: Sequence[Prediction], unique: float) -> list[str]:
    """Return how often the data repeat, and the assumption made."""
    lines = []
    for found in predictions:
        if found.tokens is not None:
            lines.append(
                f"{found.approach}: {found.tokens / unique:.2f} epochs of {human(unique)} tokens"
            )
    lines.append(
        f"repeated data by Muennighoff et al. 2023 (R_D* = {repeated.TOKEN_DECAY:.1f}, R_N* = "
        f"{repeated.PARAMETER_DECAY:.1f}); approaches that know nothing of repeated data are left "
        "out where theirs would repeat"
    )
    return lines
