"""Proxies: small models, each trained on one mixture of the same token stores (no JAX here).

    results = run_proxies(root, config, [Proxy("search/000", weights, train, seed=1), ...], folder,
                          workers=2, like_tokens=config.mixture.tokens)

A finished proxy is `folder/name/result.json`, which also says what decided it; one that was decided
by anything else is trained again. What is not finished continues from its last checkpoint.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from massivetext.config import Config
from massivetext.dataset import read_json
from massivetext.errors import ConfigError
from massivetext.progress import Progress, human_seconds

from .pool import Job, run_jobs
from .proxy_jobs import Proxy as Proxy
from .proxy_jobs import (
    finished,
    make_folder,
    make_jobs,
    millions,
    require_trainable,
    tokens_trained,
)


@dataclass(frozen=True)
class ProxyResult:
    """What a proxy was worth.

    Attributes:
      name, weights, seed: the proxy's own.
      bits_per_byte: of each held-out subset, and of each target by its name.
      loss: nats per token: those of the held-out subsets, weighted as they were sampled.
      parameters: as the papers count them: the embedding once, no norms.
      tokens: trained on.
      flops: 6 * parameters * tokens (`trainer.flops.budget_flops`).
      seconds: of training, evaluation and compilation included, over all restarts.
      curve: [tokens, training loss], at most 200; each loss is the mean since the point before.
      tokenizer_sha256: of the tokenizer of the token stores.
    """

    name: str
    weights: dict[str, float]
    seed: int
    bits_per_byte: dict[str, float]
    loss: float
    parameters: int
    tokens: int
    flops: float
    seconds: float
    curve: list[list[float]]
    tokenizer_sha256: str


def run_proxies(
    root: Path,
    config: Config,
    proxies: Sequence[Proxy],
    folder: Path,
    *,
    workers: int,
    like_tokens: int | None = None,
    heldout_root: Path | None = None,
    quiet: bool = False,
) -> list[ProxyResult]:
    """Train the proxies that are not finished; return the results of all, in the order given.

    Those that diverged have none and are left out; `diverged` names them. Each trains on
    `train.steps` batches of `mixture.sequence_length` tokens from the token stores in `root`, and
    is evaluated on their held-out sets and on `config.tune.targets`. A subset whose weight is too
    small for a sequence of the run is not sampled. `mixture.stages` play no part.

    Args:
      folder: `folder/name` is written of each: `result.json`, `train/metrics.jsonl`, `log.txt`;
        and `folder/compiled`, which only saves time. One run at a time may work in it.
      workers: processes of one thread each.
      like_tokens: training tokens of the real run. Subsets are then repeated as often as in that
        run, and `mixture.max_epochs` is that of the real run (see `mixture_records`).
      heldout_root: the build whose held-out sets are evaluated on, `root` unless given.

    Raises:
      ConfigError: before any training: a name, mixture, target or number of workers is wrong.
      InputError: token stores or a target are missing or corrupt.
      StageError: the process of a run died three times, a run could not be written, or a signal
        came; running again continues.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1")
    jobs = make_jobs(root, config, proxies, folder, like_tokens, heldout_root)
    waiting = [job for job in jobs if not finished(job)]
    for job in waiting:
        require_trainable(job)
    for job in waiting:
        make_folder(job)
    if waiting:
        _train(waiting, len(jobs), workers, folder / "compiled", quiet)
    return [result for job in jobs if (result := read_result(Path(job["folder"]))) is not None]


def read_result(folder: Path) -> ProxyResult | None:
    """Return the result in the folder of a finished proxy, or None if it diverged."""
    value = read_json(folder / "result.json")
    if "failed" in value:
        return None
    return ProxyResult(**{field.name: value[field.name] for field in fields(ProxyResult)})


def diverged(proxies: Sequence[Proxy], folder: Path) -> dict[str, str]:
    """Return why, by name, for each of the finished proxies that has no result."""
    results = {proxy.name: folder / proxy.name / "result.json" for proxy in proxies}
    values = {name: read_json(path) for name, path in results.items() if path.exists()}
    return {name: value["failed"] for name, value in values.items() if "failed" in value}


def _train(jobs: Sequence[Job], of: int, workers: int, compiled: Path, quiet: bool) -> None:
    done: set[str] = set()
    began = time.monotonic()

    def tokens() -> int:
        return sum(
            job["tokens"] if job["name"] in done else tokens_trained(Path(job["folder"]))
            for job in jobs
        )

    def say(job: Job) -> None:
        done.add(job["name"])
        if not quiet:
            result = read_result(Path(job["folder"]))
            told = f"held-out loss {result.loss:.4f}" if result else "diverged"
            spent = human_seconds(time.monotonic() - began)
            number = of - len(jobs) + len(done)
            Progress.line("proxies", f"{number}/{of} {job['name']}: {told}, {spent} so far")

    total = sum(job["tokens"] for job in jobs)
    with Progress("proxies", total, tokens, unit=millions, quiet=quiet):
        run_jobs(jobs, workers, compiled, say)
