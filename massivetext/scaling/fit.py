"""Fits every approach to the runs: what `massivetext scaling fit` writes and prints."""

from pathlib import Path
from typing import Any

import numpy as np

from ..card import align
from ..errors import ConfigError, InputError
from . import envelope, isoflop, kaplan, parametric
from .bootstrap import PERCENTILES, RESAMPLES, SHARE, Estimate, interval
from .laws import Frontier, KaplanLaws, ParametricLaw
from .published import PF_DAY
from .runs import Runs

FORMAT = "massivetext scaling fit 1"
APPROACHES = ("envelope", "isoflop", "parametric", "kaplan")

Estimates = dict[str, Estimate[Any]]


def fit(
    runs: Runs,
    approach: str = "all",
    *,
    resamples: int = RESAMPLES,
    seed: int = 1,
    drop_highest: int = 0,
) -> tuple[Estimates, dict[str, str]]:
    """Fit one approach or `all`.

    Args:
      resamples: subsamples of the runs, for the intervals.
      drop_highest: runs of the highest losses that the parametric law leaves out.

    Returns:
      The estimates by approach and, of `all`, why each other approach could not be fitted.

    Raises:
      InputError: the runs do not allow the approach, or none of all.
    """
    if drop_highest < 0 or resamples < 0:
        raise ConfigError("--drop-highest and --resamples cannot be below 0")
    chosen = APPROACHES if approach == "all" else (approach,)
    estimates: Estimates = {}
    skipped: dict[str, str] = {}
    for name in chosen:
        try:
            estimates[name] = _one(name, runs, resamples, seed, drop_highest)
        except InputError as error:
            if approach != "all":
                raise
            skipped[name] = str(error)
    if not estimates:
        raise InputError("no approach can be fitted: " + "; ".join(skipped.values()))
    return estimates, skipped


def _one(name: str, runs: Runs, resamples: int, seed: int, drop_highest: int) -> Estimate[Any]:
    if name == "envelope":
        return envelope.fit(runs, resamples=resamples, seed=seed)
    if name == "isoflop":
        return isoflop.fit(runs, resamples=resamples, seed=seed)
    if name == "parametric":
        return parametric.fit(runs, resamples=resamples, seed=seed, drop_highest=drop_highest)
    return kaplan.fit(runs, resamples=resamples, seed=seed)


def to_json(
    path: Path,
    digest: str,
    runs: Runs,
    estimates: Estimates,
    skipped: dict[str, str],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Return what fit.json holds: where the runs are from, and each approach's laws.

    Args:
      path, digest: the file of the runs and its SHA-256.
      settings: what was asked for.
    """
    return {
        "format": FORMAT,
        "runs": {
            "file": path.name,
            "sha256": digest,
            "runs": len(runs),
            "sizes": len(np.unique(runs.parameters)),
            "parameters": [float(runs.parameters.min()), float(runs.parameters.max())],
            "tokens": [float(runs.tokens.min()), float(runs.tokens.max())],
            "flops": [float(runs.flops.min()), float(runs.flops.max())],
            "loss": [float(runs.loss.min()), float(runs.loss.max())],
        },
        "settings": settings,
        "intervals": {"percentiles": list(PERCENTILES), "share_of_runs": SHARE},
        "approaches": {name: estimate.to_json() for name, estimate in estimates.items()},
        "skipped": skipped,
    }


def table(estimates: Estimates, skipped: dict[str, str]) -> str:
    """Return the exponents and constants as text, with intervals, and what was left out."""
    low, high = PERCENTILES
    rows = [["approach", "constant", "fitted", f"{low:.0f}-{high:.0f} %"]]
    for name, estimate in estimates.items():
        for label, value, samples in _constants(estimate):
            between = " to ".join(f"{end:.4g}" for end in interval(samples)) if len(samples) else ""
            rows.append([name, label, f"{value:.4g}", between])
            name = ""
    lines = [align(rows)]
    if any(estimate.samples for estimate in estimates.values()):
        lines.append(
            f"\nintervals: of fits to {SHARE:.0%} of the runs, as in the paper; those of "
            "confidence are about twice as wide"
        )
    for name, estimate in estimates.items():
        lines += [f"{name}: left out {note}" for note in estimate.left_out]
    lines += [f"{name}: not fitted, {why}" for name, why in skipped.items()]
    return "\n".join(lines)


def _constants(estimate: Estimate[Any]) -> list[tuple[str, float, np.ndarray]]:
    """Return name, value and (resamples,) values of what a person wants to see of a law."""
    labels = {
        ParametricLaw: ("a", "b", "E", "A", "B", "alpha", "beta"),
        Frontier: ("a", "b", "loss_limit", "loss_exponent"),
        KaplanLaws: ("n_c", "alpha_n", "d_c", "alpha_d", "c_c", "alpha_c"),
    }[type(estimate.law)]
    rows = []
    for label in labels:
        unit, shown = (PF_DAY, "c_c, PF-days") if label == "c_c" else (1.0, label)
        samples = np.array([getattr(law, label) for law in estimate.samples]) / unit
        rows.append((shown, getattr(estimate.law, label) / unit, samples))
    return rows
