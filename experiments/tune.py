"""Better sampling weights from small trainings: search, propose, and confirm what is proposed.

Regression as RegMix (Liu et al. 2024, 2407.01492): a proxy on each of many mixtures, a model of the
loss by weights, the mixture of least predicted loss. DoReMi and online mixing find weights in one
run. Whatever finds them, the proposal is then trained beside the configured, the uniform and the
natural mixture with several seeds, other than the search's, so that what is only predicted, or only
luck, is told apart from what is better.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from massivetext.config import Config
from massivetext.dataset import atomic_file, read_json, write_json
from massivetext.errors import StageError
from massivetext.progress import Progress
from massivetext.tuning.page import page

from .caps import fit
from .proxies import Proxy, ProxyResult, run_proxies
from .tune_report import mixture_json, report_json, runs_csv
from .tune_search import search
from .tune_setup import Setup, prepare

PROPOSAL = "proposal"
_SEEDS = 1 << 63


def tune(root: Path, config: Config, *, workers: int, quiet: bool = False) -> dict[str, Any]:
    """Search, confirm and write `tune/` in the output folder; return what `report.json` holds.

    Runs that are finished are not done again, so the same call continues a search that was stopped.

    Args:
      root: the build, of which the token stores are used.
      workers: proxies trained at a time.

    Raises:
      ConfigError: nothing can be tuned; nothing was trained (`tune_setup.prepare`).
      InputError: too many runs diverged.
      StageError: a run failed; the same command continues.
    """
    setup = prepare(root, config)
    folder = root / "tune"
    if not quiet:
        Progress.line("tune", _announced(config, setup))
    found, trajectory = None, None
    results: list[ProxyResult] = []
    if config.tune.method == "regression":
        proxies = [
            Proxy(f"search/{number:03d}", weights, setup.train, config.seed)
            for number, weights in enumerate(setup.draws)
        ]
        results = _run(root, config, proxies, folder, workers, quiet)
        diverged = _missing(proxies, results)
        found = search(setup, results, diverged, config.seed)
        proposal = found.proposal.weights
    else:
        method_folder = folder / config.tune.method
        proposal = fit(setup.simplex, _weights(root, config, method_folder, workers, quiet))
        trajectory = read_json(method_folder / "trajectory.json")
    mixtures = {PROPOSAL: proposal, **setup.mixtures}
    confirmed = _confirm(root, config, setup, mixtures, folder, workers, quiet)
    report = report_json(config, setup, mixtures, found, trajectory, confirmed)
    _write(folder, report, runs_csv(setup, results, confirmed))
    return report


def _announced(config: Config, setup: Setup) -> str:
    method = config.tune.method
    runs = len(setup.draws)
    first = f"{runs} mixtures" if method == "regression" else method
    return (
        f"{first}, then {len(setup.mixtures) + 1} mixtures with {config.tune.seeds} seeds each; "
        f"{setup.train.steps:,} steps a run"
    )


def _run(
    root: Path, config: Config, proxies: list[Proxy], folder: Path, workers: int, quiet: bool
) -> list[ProxyResult]:
    budget = config.mixture.tokens
    return run_proxies(
        root, config, proxies, folder, workers=workers, like_tokens=budget, quiet=quiet
    )


def _missing(proxies: Sequence[Proxy], results: Sequence[ProxyResult]) -> tuple[str, ...]:
    """Return the names of the runs that diverged: they have no result."""
    there = {result.name for result in results}
    return tuple(proxy.name for proxy in proxies if proxy.name not in there)


def _weights(
    root: Path, config: Config, folder: Path, workers: int, quiet: bool
) -> Mapping[str, float]:
    """Return the weights that DoReMi or online mixing find."""
    budget = config.mixture.tokens
    if config.tune.method == "doremi":
        from .doremi import doremi

        return doremi(root, config, folder, workers=workers, like_tokens=budget, quiet=quiet)
    from .online import online

    return online(root, config, folder, workers=workers, like_tokens=budget, quiet=quiet)


def _confirm(
    root: Path,
    config: Config,
    setup: Setup,
    mixtures: Mapping[str, Mapping[str, float]],
    folder: Path,
    workers: int,
    quiet: bool,
) -> dict[str, dict[int, ProxyResult]]:
    """Return the results of each mixture by seed; a mixture named twice is trained once."""
    seeds = [(config.seed + 1 + number) % _SEEDS for number in range(config.tune.seeds)]
    first: dict[tuple[float, ...], str] = {}
    same = {name: first.setdefault(tuple(w.values()), name) for name, w in mixtures.items()}
    proxies = [
        Proxy(f"confirm/{name}-{seed}", dict(mixtures[name]), setup.train, seed)
        for seed in seeds
        for name in first.values()
    ]
    results = _run(root, config, proxies, folder, workers, quiet)
    by_name = {result.name: result for result in results}
    confirmed = {
        name: {
            seed: by_name[run]
            for seed in seeds
            if (run := f"confirm/{same[name]}-{seed}") in by_name
        }
        for name in mixtures
    }
    if not any(confirmed.values()):
        raise StageError(
            "every run of the confirmation diverged; lower tune.train.learning_rate or raise its "
            "warmup_steps"
        )
    return confirmed


def _write(folder: Path, report: dict[str, Any], table: str) -> None:
    write_json(folder / "report.json", report)
    write_json(folder / "mixture.json", mixture_json(report))
    for name, text in (("runs.csv", table), ("index.html", page(report))):
        with atomic_file(folder / name) as out:
            out.write(text.encode())
