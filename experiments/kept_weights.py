"""Weights that one long run finds: what it trains on, what is kept of it, and the epoch caps."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from massivetext.config import Config
from massivetext.config_file import to_dict, to_yaml
from massivetext.config_train import Train
from massivetext.dataset import read_json, sha256_json, write_json
from massivetext.lineage import tokens_identity
from massivetext.mixture import resolve_weights
from massivetext.mixture_records import tokens_manifest
from massivetext.progress import Progress
from massivetext.trainer.ramp import sequences_of

from .caps import fit, within_run
from .pool import run_jobs
from .proxy_jobs import millions, tokens_trained, training_config

WEIGHTS = "weights.json"
# What runs write in their folder besides, and what of it only serves to continue them.
WRITTEN = (WEIGHTS, "trajectory.json", "checkpoints", "train", "reference", "log.txt")
CHECKPOINTS = ("checkpoints", "reference/checkpoints")

# What a run's weights do not depend on, but for rounding.
_FREE = (
    "mesh",
    "remat",
    "micro_batch_size",
    "checkpoint_every",
    "evaluate_every",
    "evaluate_sequences",
    "spikes",
    "samples",
)

# More than any run repeats a subset: a run that is to find weights is not held to `max_epochs`.
_ANY_EPOCHS = 1e12


def proxy_train(config: Config) -> Train:
    """Return the training of a proxy."""
    return config.tune.train or config.train


def even_config(config: Config) -> Config:
    """Return the config of a proxy that sees as much of each subset, however often it repeats."""
    alike = dict.fromkeys(config.subsets, 1 / len(config.subsets))
    even = training_config(config, alike, proxy_train(config))
    return replace(even, mixture=replace(even.mixture, max_epochs=_ANY_EPOCHS))


def identity(
    root: Path, config: Config, like_tokens: int | None, method: dict[str, Any]
) -> dict[str, Any]:
    """Return all that decides the weights found: JSON by name.

    Args:
      method: name, version and constants of the method.

    Raises:
      InputError: there are no token stores in `root`.
    """
    train = {name: v for name, v in to_dict(proxy_train(config)).items() if name not in _FREE}
    return {
        "method": method,
        "train": train,
        "mixture": to_dict(config.mixture),
        "subsets": list(config.subsets),
        "seed": config.seed,
        "like_tokens": like_tokens,
        "tokens": tokens_identity(tokens_manifest(root)),
    }


def found_by(
    kind: str,
    method: dict[str, Any],
    root: Path,
    config: Config,
    folder: Path,
    *,
    runs: Sequence[str],
    workers: int,
    like_tokens: int | None,
    quiet: bool,
) -> dict[str, float]:
    """Return the weights that a worker finds, or found before, within the epoch caps.

    Args:
      kind: of the job (`method_run`); `method`: as of `identity`.
      folder: what is there of another identity is removed; checkpoints go once weights are found.
      runs: the folders of the trainings, one after another, in `folder`.
      workers: threads of the one process that trains.

    Raises:
      MassivetextError: as `doremi.doremi`.
    """
    key = sha256_json(identity(root, config, like_tokens, method))
    # Before anything is trained: what cannot be proposed in the end is an error now.
    configured = resolve_weights(config.mixture, config.subsets)
    within_caps(root, config, like_tokens, configured)
    path = folder / WEIGHTS
    kept = read_json(path) if path.exists() else {}
    if kept.get("identity") != key:
        for name in WRITTEN:
            _remove(folder / name)
        write_json(path, {"identity": key, "weights": None})
    if kept.get("identity") != key or kept["weights"] is None:
        job = {
            "kind": kind,
            "name": kind,
            "folder": str(folder.absolute()),
            "root": str(root.absolute()),
            "like_tokens": like_tokens,
            "config": to_yaml(config),
            "identity": key,
        }
        total = len(runs) * sequences_of(proxy_train(config)) * config.mixture.sequence_length

        def trained() -> int:
            return sum(tokens_trained(folder / run) for run in runs)

        with Progress(kind, total, trained, unit=millions, quiet=quiet):
            run_jobs([job], 1, folder / "compiled", lambda job: None, threads=workers)
        kept = read_json(path)
        for name in CHECKPOINTS:
            _remove(folder / name)
    return within_caps(root, config, like_tokens, kept["weights"])


def within_caps(
    root: Path, config: Config, like_tokens: int | None, weights: Mapping[str, float]
) -> dict[str, float]:
    """Return the mixture in proportion to `weights` as far as the real run's epoch caps allow.

    What a proxy or the real run cannot sample once is made 0 (`tuning.simplex.Simplex.fill`).

    Raises:
      ConfigError: fewer than two subsets, or caps that do not reach one together.
    """
    mixture = config.mixture
    if like_tokens is not None:
        mixture = replace(mixture, tokens=like_tokens)
    stores = tokens_manifest(root)["subsets"]
    tokens = {name: int(stores[name]["tokens"]) for name in config.subsets}
    return fit(within_run(mixture, proxy_train(config), tokens), weights)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
