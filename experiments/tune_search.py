"""What the runs of a search say: models of the loss by weights, and the mixture they propose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from massivetext.errors import InputError
from massivetext.tuning.crossvalidation import MODELS, cross_validate, rank_correlation
from massivetext.tuning.objective import Objective, fit_objective
from massivetext.tuning.proposal import Proposal, propose
from massivetext.tuning.runs import Run, Runs, collect
from massivetext.tuning.slices import Slice, cut, frontier, split

from .proxies import ProxyResult
from .tune_setup import Setup

# Points of a frontier that are kept for the page.
FRONTIER = 60
OBJECTIVE = "objective"


@dataclass(frozen=True)
class Search:
    """The search's runs, what is fitted to them, and the proposal.

    Attributes:
      results, losses: each run, and its objective in bits per byte, [n].
      diverged: names of the runs that have no loss.
      predicted: by model, each run's objective as the other folds predict it, [n].
      correlation: by model and target (and `OBJECTIVE`), Spearman's, -1 to 1.
      mixtures: by model and mixture, the objective predicted from all runs.
      slices: by subset and target (and `OBJECTIVE`): the process along that subset's weight.
      frontiers: by target, what it trades against the others: `slices.frontier`.
      traded: by target and mixture, its place in that picture.
    """

    results: tuple[ProxyResult, ...]
    losses: np.ndarray
    diverged: tuple[str, ...]
    proposal: Proposal
    predicted: dict[str, np.ndarray]
    correlation: dict[str, dict[str, float]]
    mixtures: dict[str, dict[str, float]]
    slices: dict[str, dict[str, Slice]]
    frontiers: dict[str, np.ndarray]
    traded: dict[str, dict[str, list[float]]]


def search(
    setup: Setup, results: Sequence[ProxyResult], diverged: tuple[str, ...], seed: int
) -> Search:
    """Fit the models to the runs that did not diverge, and propose.

    Raises:
      InputError: what is left of the runs is too little (`tuning.runs.collect`).
    """
    targets = list(setup.objective)
    runs = _collect(setup, results, diverged)
    objective = fit_objective(runs, setup.objective)
    proposal = propose(objective, setup.simplex, setup.mixtures, seed)
    points = {
        "proposal": setup.simplex.array(proposal.weights),
        **{name: setup.simplex.array(weights) for name, weights in setup.mixtures.items()},
    }
    shares = np.array([setup.objective[target] for target in targets])
    losses = runs.losses @ shares
    crossed = cross_validate(runs, seed)
    predicted = {name: values @ shares for name, values in crossed.predicted.items()}
    correlation = {
        name: {**crossed.correlation[name], OBJECTIVE: rank_correlation(predicted[name], losses)}
        for name in MODELS
    }
    return Search(
        tuple(results),
        losses,
        diverged,
        proposal,
        predicted,
        correlation,
        _mixtures(runs, shares, points),
        _slices(objective, setup, targets, points["proposal"]),
        *_frontiers(objective, setup, targets, points, seed),
    )


def _collect(setup: Setup, results: Sequence[ProxyResult], diverged: tuple[str, ...]) -> Runs:
    runs = [Run(r.name, r.weights, r.bits_per_byte, r.tokenizer_sha256) for r in results]
    try:
        return collect(runs, setup.simplex.names, tuple(setup.objective))
    except InputError as error:
        if not diverged:
            raise
        raise InputError(
            f"{len(diverged)} runs diverged and were left out ({', '.join(diverged)}); of the "
            f"others: {error}; or lower tune.train.learning_rate"
        ) from error


def _mixtures(
    runs: Runs, shares: np.ndarray, points: dict[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Return the objective of each mixture as each model predicts it from all runs."""
    rows = np.array(list(points.values()))
    found = {}
    for name, fit in MODELS.items():
        losses = [fit(runs.weights, column).predict(rows) for column in runs.losses.T]
        found[name] = dict(zip(points, (shares @ np.array(losses)).tolist(), strict=True))
    return found


def _slices(
    objective: Objective, setup: Setup, targets: list[str], through: np.ndarray
) -> dict[str, dict[str, Slice]]:
    """Return, per subset, the objective and the subset's own held-out loss along its weight."""
    slices: dict[str, dict[str, Slice]] = {}
    for column, name in enumerate(setup.simplex.names):
        processes: dict[str, Any] = {OBJECTIVE: objective}
        if name in targets:
            processes[name] = objective.processes[targets.index(name)]
        slices[name] = {
            target: cut(process, setup.simplex, through, column)
            for target, process in processes.items()
        }
    return slices


def _frontiers(
    objective: Objective,
    setup: Setup,
    targets: list[str],
    points: dict[str, np.ndarray],
    seed: int,
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, list[float]]]]:
    if len(targets) < 2:
        return {}, {}
    rows = list(points.values())
    frontiers, traded = {}, {}
    for number, target in enumerate(targets):
        line = frontier(objective, setup.simplex, number, rows, seed)
        kept = np.unique(np.linspace(0, len(line) - 1, FRONTIER).round().astype(int))
        frontiers[target] = line[kept]
        places = split(objective, np.array(rows), number)
        traded[target] = dict(zip(points, places.tolist(), strict=True))
    return frontiers, traded
