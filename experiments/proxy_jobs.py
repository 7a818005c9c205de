"""What is to be done for each proxy, as its worker gets it: a config of its own, and what decides
its result."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from massivetext.config import Config, Train
from massivetext.config_file import parse, to_dict, to_yaml
from massivetext.dataset import read_json, sha256_file, sha256_json, write_json
from massivetext.errors import ConfigError, InputError, StageError
from massivetext.lineage import tokens_identity
from massivetext.mixture import apportion
from massivetext.mixture_records import MixtureRecords, tokens_manifest
from massivetext.trainer.ramp import sequences_of

from .pool import PROXY, Job

# Of what a result holds and how it comes about: a change makes earlier results be trained again.
VERSION = 1

# A core trains a third faster on micro-batches that its cache holds
# (`benchmarks/tuning.py --only proxies`).
CACHED_TOKENS = 512

# The last line of a log of metrics is in so many bytes of its end.
TAIL_BYTES = 4096

_TOKENS = re.compile(rb'"tokens": (\d+)')
_NAME = re.compile(r"[A-Za-z0-9][\w-]*(/[A-Za-z0-9][\w-]*)*", re.ASCII)


@dataclass(frozen=True)
class Proxy:
    """A model to train: `name` is its folder, such as "search/007"; `weights` are by subset, those
    not named have none; `seed` is that of parameters and of the order of the data."""

    name: str
    weights: dict[str, float]
    train: Train
    seed: int


def proxy_config(config: Config, proxy: Proxy) -> Config:
    """Return the config of the proxy's own run."""
    unknown = sorted(set(proxy.weights) - set(config.subsets))
    if unknown:
        raise ConfigError(f"run {proxy.name}: there is no subset {unknown[0]!r} in the config")
    given = {name: proxy.weights.get(name, 0.0) for name in config.subsets}
    weights = sampled(given, sequences_of(proxy.train))
    train = in_cache(proxy.train, config.mixture.sequence_length)
    try:
        return replace(training_config(config, weights, train), seed=proxy.seed)
    except ValueError as error:
        raise ConfigError(f"run {proxy.name}: {error}") from error


def in_cache(train: Train, sequence_length: int) -> Train:
    """Return `train` with micro-batches of at most `CACHED_TOKENS`, or of as few sequences as its
    mesh takes, unless it says itself of how many."""
    if train.micro_batch_size is not None:
        return train
    most = min(train.batch_size, max(1, CACHED_TOKENS // sequence_length))
    split = (train.mesh.data or 1) * train.mesh.fsdp
    sizes = [n for n in range(split, train.batch_size + 1, split) if train.batch_size % n == 0]
    fitting = [n for n in sizes if n <= most]
    return replace(train, micro_batch_size=max(fitting, default=min(sizes, default=None)))


def training_config(config: Config, weights: Mapping[str, float], train: Train) -> Config:
    """Return the config of a run on `weights` from its first to its last token, and no longer.

    Raises:
      ValueError: the weights are none.
    """
    mixture = replace(
        config.mixture,
        weights=dict(weights),
        stages=(),
        tokens=sequences_of(train) * config.mixture.sequence_length,
    )
    return replace(config, train=train, mixture=mixture)


def sampled(weights: Mapping[str, float], sequences: int) -> dict[str, float]:
    """Return the weights without those that give no sequence of so many, still summing to one."""
    exact = {name: Fraction(str(weight)) for name, weight in weights.items()}
    left = dict(weights)
    while total := sum(exact.values()):
        counts = apportion(sequences, {name: part / total for name, part in exact.items()})
        lost = [name for name, part in exact.items() if part and not counts[name]]
        if not lost:
            break
        exact |= dict.fromkeys(lost, Fraction(0))
        left = {name: float(part / sum(exact.values())) for name, part in exact.items()}
    return left


def make_jobs(
    root: Path,
    config: Config,
    proxies: Sequence[Proxy],
    folder: Path,
    like_tokens: int | None,
    heldout_root: Path | None,
) -> list[Job]:
    """Return the job of each proxy: JSON, all that a worker needs, and its `identity`.

    Raises:
      ConfigError, InputError: as `proxies.run_proxies`.
    """
    names = [proxy.name for proxy in proxies]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} cannot name a run; use letters, digits, _, - and /")
    if len(set(names)) < len(names):
        raise ConfigError("two runs have the same name; each needs a folder of its own")
    tokens = tokens_manifest(root)
    held = tokens if heldout_root is None else tokens_manifest(heldout_root)
    shared = {
        "version": VERSION,
        "tokens": tokens_identity(tokens),
        "heldout": tokens_identity(held),
        "targets": _targets(config, held),
        "like_tokens": like_tokens,
    }
    jobs = []
    for proxy in proxies:
        own = proxy_config(config, proxy)
        train = to_dict(own.train)
        for name in ("checkpoint_every", "samples"):
            del train[name]
        decides = {"seed": own.seed, "mixture": to_dict(own.mixture), "train": train}
        jobs.append(
            {
                "kind": PROXY,
                "name": proxy.name,
                "folder": str((folder / proxy.name).absolute()),
                "root": str(root.absolute()),
                "heldout_root": str(heldout_root.absolute()) if heldout_root else "",
                "like_tokens": like_tokens,
                "config": to_yaml(own),
                "weights": {name: proxy.weights.get(name, 0.0) for name in config.subsets},
                "targets": {name: list(paths) for name, paths in config.tune.targets.items()},
                "tokens": own.mixture.tokens,
                "identity": sha256_json({**shared, **decides, "weights": proxy.weights}),
            }
        )
    return jobs


def _targets(config: Config, held: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the sha256 of the files of each target."""
    targets: dict[str, list[str]] = {}
    for name, paths in config.tune.targets.items():
        if name in held["heldout"]:
            raise ConfigError(f"tune.targets: {name!r} is a subset; call the target otherwise")
        if not paths:
            raise ConfigError(f"tune.targets: {name!r} names no file")
        try:
            targets[name] = [sha256_file(Path(path)) for path in paths]
        except OSError as error:
            raise InputError(
                f"{error.filename}: {error.strerror}; tune.targets: {name} must name text files"
            ) from error
    return targets


def finished(job: Job) -> bool:
    """Whether the result of exactly this job is there."""
    folder = Path(job["folder"])
    path = folder / "result.json"
    if not path.exists() or read_json(path).get("identity") != job["identity"]:
        return False
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # if it was killed right before
    return True


def job_records(job: Job) -> MixtureRecords:
    """Return the records that the run trains on; errors as of `MixtureRecords`."""
    return MixtureRecords(
        Path(job["root"]),
        job_config(job),
        like_tokens=job["like_tokens"],
        heldout_root=Path(job["heldout_root"]) if job["heldout_root"] else None,
    )


def job_config(job: Job) -> Config:
    return parse(job["config"], f"run {job['name']}").config


def require_trainable(job: Job) -> None:
    """Refuse what would fail in a worker, before anything is trained.

    Raises:
      ConfigError: its mixture cannot be had, or nothing that it samples is evaluated on.
    """
    try:
        records = job_records(job)
    except ConfigError as error:
        raise ConfigError(f"run {job['name']}: {error}") from error
    if not any(job["weights"][name] for name in records.heldout_names):
        raise ConfigError(
            f"run {job['name']}: no subset that it samples has held-out documents to evaluate on; "
            "set heldout.fraction and build again"
        )


def make_folder(job: Job) -> None:
    """Make the folder of a run; what is there of another run is removed."""
    folder = Path(job["folder"])
    path = folder / "job.json"
    try:
        if not path.exists() or read_json(path)["identity"] != job["identity"]:
            (folder / "result.json").unlink(missing_ok=True)
            (folder / "log.txt").unlink(missing_ok=True)
            for part in ("checkpoints", "train"):
                shutil.rmtree(folder / part, ignore_errors=True)
        write_json(path, job)
    except OSError as error:
        raise StageError(f"{folder} cannot be written ({error.strerror})") from error


def tokens_trained(folder: Path) -> int:
    """Return how many tokens the run has trained on so far, by the end of its log of metrics."""
    try:
        with open(folder / "train" / "metrics.jsonl", "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            tail = file.read()
    except FileNotFoundError:
        return 0
    found = _TOKENS.findall(tail)
    return int(found[-1]) if found else 0


def millions(tokens: float) -> str:
    """Return a number of tokens as progress shows it."""
    return f"{tokens / 1e6:,.2f} M tokens"
