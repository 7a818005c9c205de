"""RegMix's public runs (Liu et al. 2024, 2407.01492): 512 small ones to fit, held-out ones to rank.

The held-out mixtures were trained at 1M parameters like those fitted, at 60M and at 1B. What is
ranked is the loss on Pile-CC, the paper's target; the other targets are in the JSON.
"""

import csv
from collections.abc import Callable

import numpy as np
from corpora import locate
from report import Bench, Row, median

from massivetext.errors import ConfigError
from massivetext.tuning import gaussian_process
from massivetext.tuning.crossvalidation import MODELS, Model, rank_correlation

FOLDER = "mixtures/regmix"
TARGET = "pile_cc"
QUICK_RUNS = 128

# Rank correlation x 100 on the held-out runs of each size that the Gaussian process must reach.
SIZES = {"1m": ("1M", 98.0), "60m": ("60M", 98.0), "1B": ("1B", 96.5)}
LABELS = {
    "gaussian_process": "Gaussian process",
    "mixing_law": "mixing law",
    "linear": "linear",
}


def held_out(bench: Bench) -> None:
    """Rank the held-out runs of each size by each model; add how honest the deviations are."""
    targets, weights, losses = _runs("train", "1m")
    if bench.quick:
        weights, losses = weights[:QUICK_RUNS], losses[:QUICK_RUNS]
    tests = {size: _runs("test", size) for size in SIZES}
    for name, fit in MODELS.items():
        fitted = _fit(fit, weights, losses, targets, [TARGET] if bench.quick else list(targets))
        for size, (label, least) in SIZES.items():
            _, held, measured = tests[size]
            correlations = {
                target: 100 * rank_correlation(model.predict(held), measured[:, at])
                for at, target in enumerate(targets)
                if (model := fitted.get(target)) is not None
            }
            bench.report.add(
                Row(
                    "regmix",
                    f"{LABELS[name]}, {label}",
                    correlations[TARGET],
                    "% rank correlation",
                    at_least=least if name == "gaussian_process" else None,
                    detail={
                        "runs_fitted": len(weights),
                        "runs_held_out": len(held),
                        "rank_correlation": correlations,
                        "median": median(list(correlations.values())),
                    },
                )
            )
        process = fitted[TARGET]
        if isinstance(process, gaussian_process.GaussianProcess):
            _, held, measured = tests["1m"]
            _deviations(bench, process, held, measured[:, targets.index(TARGET)])


def _fit(
    fit: Callable[[np.ndarray, np.ndarray], Model],
    weights: np.ndarray,
    losses: np.ndarray,
    targets: tuple[str, ...],
    chosen: list[str],
) -> dict[str, Model]:
    return {target: fit(weights, losses[:, targets.index(target)]) for target in chosen}


def _deviations(
    bench: Bench,
    process: gaussian_process.GaussianProcess,
    held: np.ndarray,
    measured: np.ndarray,
) -> None:
    """Add the share of held-out losses within two predicted deviations, a run's own noise in."""
    deviations = np.sqrt(process.deviation(held) ** 2 + process.noise_deviation**2)
    errors = (measured - process.predict(held)) / deviations
    bench.report.add(
        Row(
            "regmix",
            "within 2 deviations, 1M",
            100 * float((np.abs(errors) <= 2).mean()),
            "% of held-out runs",
            detail={
                "length": process.length,
                "noise_deviation": process.noise_deviation,
                "root_mean_square_error": float(np.sqrt(((errors * deviations) ** 2).mean())),
            },
        )
    )


def _runs(part: str, size: str) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Return targets, weights [n, m] and losses [n, t] of the runs that have both."""
    subsets, weights = _table(f"{part}_mixture_{size}.csv", "train_the_pile_", "")
    targets, losses = _table(f"{part}_pile_loss_{size}.csv", "metric/the_pile_", "_val_loss")
    both = [number for number in losses if number in weights]
    if len(both) < len(losses):
        raise ConfigError(f"{FOLDER}: losses of the {part} runs at {size} without a mixture")
    rows = np.array([weights[number] for number in both])
    assert rows.shape[1] == len(subsets)
    # The weights are printed with three decimals.
    return targets, rows / rows.sum(axis=1, keepdims=True), np.array([losses[n] for n in both])


def _table(name: str, prefix: str, suffix: str) -> tuple[tuple[str, ...], dict[str, list[float]]]:
    """Return the columns' names and the rows by their index; blank rows at the end are none."""
    with open(locate(f"{FOLDER}/{name}"), newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    columns = tuple(column.removeprefix(prefix).removesuffix(suffix) for column in head[1:])
    return columns, {row[0]: [float(cell) for cell in row[1:]] for row in rows if row and row[0]}
