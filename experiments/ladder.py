"""Trains a ladder of models and writes its runs as `massivetext scaling fit` takes them."""

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from massivetext.card import align
from massivetext.config import Config
from massivetext.dataset import atomic_file
from massivetext.errors import StageError
from massivetext.mixture import resolve_weights
from massivetext.progress import Progress, human_seconds
from massivetext.scaling.runs import SMOOTHED_FROM
from massivetext.trainer.flops import budget_flops
from massivetext.trainer.metrics import read_metrics

from .ladder_plan import Rung, plan_ladder
from .proxies import Proxy, ProxyResult, diverged, run_proxies
from .proxy_jobs import finished, make_jobs

FOLDER = "scaling"
COLUMNS = ("run", "parameters", "tokens", "flops", "loss", "tokenizer")
# Each row of a curve is a mean over a stretch of the run. `fit` would smooth longer curves again,
# and their training losses into the held-out loss that the last row is.
CURVE_ROWS = SMOOTHED_FROM - 2
# Steps of the trial by which the time is estimated: the first compiles.
TRIAL_STEPS = 4


@dataclass(frozen=True)
class Ladder:
    """What a ladder came to: its table of runs, those in it, and why others diverged, by name."""

    runs: Path
    finished: list[Rung]
    diverged: dict[str, str]


def run_ladder(root: Path, config: Config, *, workers: int, quiet: bool = False) -> Ladder:
    """Train what of `config.scaling` is not trained yet; write `root/scaling/runs.csv`.

    The table has the curve of each run, as means of its training loss over at most `CURVE_ROWS`
    stretches, and in the last row of a run its held-out loss: both in nats per token of the
    mixture. A run that diverged is not in it.

    Args:
      root: a build whose documents are tokenised.
      workers: processes, of one thread each.

    Raises:
      ConfigError, InputError: the ladder cannot be trained (`plan_ladder`).
      StageError: a run failed, or all diverged; running again continues.
    """
    rungs = plan_ladder(root, config)
    folder = root / FOLDER
    weights = resolve_weights(config.mixture, config.subsets)
    # The longest first, or the last worker would be alone with it in the end.
    proxies = [
        Proxy(rung.name, weights, rung.train, config.seed)
        for rung in sorted(rungs, key=lambda rung: (-rung.flops, rung.name))
    ]
    if not quiet:
        if config.mixture.stages:
            Progress.line("ladder", "mixture.stages: all runs have their mean weights")
        jobs = make_jobs(root, config, proxies, folder, None, None)
        done = {job["name"] for job in jobs if finished(job)}
        seconds: dict[str, float] = {}
        if len(done) < len(rungs):
            seconds = _estimates(root, config, rungs, weights, folder, workers)
        for line in table(rungs, seconds, workers, done).splitlines():
            Progress.line("ladder", line)
    trained = run_proxies(root, config, proxies, folder, workers=workers, quiet=quiet)
    results = {result.name: result for result in trained}
    if not results:
        raise StageError(
            "every run of the ladder diverged: lower train.learning_rate (or that of "
            "scaling.train) and run again"
        )
    there = [rung for rung in rungs if rung.name in results]
    path = folder / "runs.csv"
    write_runs(path, there, results)
    return Ladder(path, there, diverged(proxies, folder))


def write_runs(path: Path, rungs: list[Rung], results: dict[str, ProxyResult]) -> None:
    """Write the curves and ends of runs as CSV: parameters, tokens, FLOPs as 6ND, nats per token.

    Args:
      results: by the names of the rungs.
    """
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(COLUMNS)
    for rung in rungs:
        result = results[rung.name]
        rows = [*thinned(result.curve, rung.tokens), (rung.tokens, result.loss)]
        for tokens, loss in rows:
            flops = budget_flops(rung.size, tokens)
            numbers = (rung.parameters, tokens, flops, f"{loss:.6f}")
            out.writerow((rung.name, *numbers, result.tokenizer_sha256))
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())


def thinned(curve: list[list[float]], end: int) -> list[tuple[int, float]]:
    """Return the mean tokens and losses of at most `CURVE_ROWS` stretches of a training curve.

    Args:
      curve: [tokens, loss] in order, as of `ProxyResult`.
      end: tokens of the whole run; a stretch that is only its last step is left out, in favour of
        the held-out loss there.
    """
    points = np.array(curve, float).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    stretches = np.array_split(points, min(len(points), CURVE_ROWS)) if len(points) else []
    means = [stretch.mean(axis=0) for stretch in stretches]
    return [(round(tokens), float(loss)) for tokens, loss in means if round(tokens) < end]


def table(rungs: list[Rung], seconds: dict[str, float], workers: int, done: set[str]) -> str:
    """Return the runs as a table, and what is left of them to do.

    Args:
      seconds: that runs take, by name, where it is known.
      done: names of the runs that are trained already.
    """
    titles = ["layers", "d_model", "parameters", "steps", "tokens", "per parameter", "FLOPs"]
    rows = [["run", *titles, "time"]]
    for rung in rungs:
        numbers = [rung.size.layers, rung.size.d_model, rung.parameters, rung.train.steps]
        ratio = f"{rung.tokens / rung.parameters:.3g}"
        time = human_seconds(seconds[rung.name]) if rung.name in seconds else ""
        cells = [*(f"{number:,}" for number in (*numbers, rung.tokens)), ratio]
        time = "done" if rung.name in done else time
        rows.append([rung.name, *cells, f"{rung.flops:.3g}", time])
    left = [seconds.get(rung.name, 0.0) for rung in rungs if rung.name not in done]
    text = (
        f"{align(rows)}\n\n{len(rungs)} runs of {len({rung.shape for rung in rungs})} sizes, "
        f"{sum(rung.flops for rung in rungs):.3g} FLOPs (6ND; N with the embedding, without norms)"
    )
    if not left:
        return f"{text}; all are trained"
    lasts = human_seconds(max(sum(left) / workers, max(left)))
    return f"{text}; {len(left)} to train, about {lasts} with {workers} workers"


def _estimates(
    root: Path,
    config: Config,
    rungs: list[Rung],
    weights: dict[str, float],
    folder: Path,
    workers: int,
) -> dict[str, float]:
    """Return the seconds that runs take, by name, after a few steps of each size.

    No count of operations tells them: small models spend most of their time elsewhere.
    """
    trials = {
        rung.shape: Proxy(
            f"trial/{rung.shape}", weights, replace(rung.train, steps=TRIAL_STEPS), config.seed
        )
        for rung in rungs
    }
    Progress.line("ladder", f"{TRIAL_STEPS} steps of each of {len(trials)} sizes, for their speed")
    seconds: dict[str, float] = {}
    for result in run_proxies(
        root, config, list(trials.values()), folder, workers=workers, quiet=True
    ):
        lines = read_metrics(folder / result.name)
        times = [line["milliseconds"] / 1000 for line in lines if "milliseconds" in line]
        step = float(np.median(times[1:]))
        # Without the first step's compilation, which is kept for the other runs of this size.
        start = max(0.0, result.seconds - sum(times))
        seconds |= {
            rung.name: start + rung.train.steps * step
            for rung in rungs
            if f"trial/{rung.shape}" == result.name
        }
    return seconds
