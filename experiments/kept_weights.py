"""Weights that one long run finds: what it trains on, what is kept of it, and the epoch caps."""

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.config_train import Train
from massivetext.dataset import read_json, sha256_json, write_json
from massivetext.lineage import tokens_identity
from massivetext.mixture import resolve_weights
from massivetext.mixture_records import tokens_manifest
from massivetext.trainer.ramp import sequences_of
from massivetext.tuning.simplex import SMALLEST, UNITS, within_epochs

from .apart import run_apart

WEIGHTS = "weights.json"
# What runs write in their folder besides, and what of it only serves to continue them.
WRITTEN = (WEIGHTS, "trajectory.json", "checkpoints", "train", "reference")
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
)

# More than any run repeats a subset: a run that is to find weights is not held to `max_epochs`.
_ANY_EPOCHS = 1e12


def proxy_train(config: Config) -> Train:
    """Return the training of a proxy."""
    return config.tune.train or config.train


def proxy_config(config: Config, weights: Mapping[str, float]) -> Config:
    """Return the config of a proxy trained on `weights` from its first to its last token."""
    train = proxy_train(config)
    mixture = replace(
        config.mixture,
        weights=dict(weights),
        stages=(),
        tokens=sequences_of(train) * config.mixture.sequence_length,
    )
    return replace(config, train=train, mixture=mixture)


def even_config(config: Config) -> Config:
    """Return the config of a proxy that sees as much of each subset, however often it repeats."""
    even = proxy_config(config, dict.fromkeys(config.subsets, 1 / len(config.subsets)))
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


def found_once(
    folder: Path, decides: dict[str, Any], find: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """Return the weights that `find` returns, or did when it was called before.

    Args:
      folder: where `find` writes `WRITTEN`. What is there of another identity is removed, and so
        are the checkpoints once the weights are found.
      decides: the identity.
    """
    path, key = folder / WEIGHTS, sha256_json(decides)
    kept = read_json(path) if path.exists() else {}
    if kept.get("identity") != key:
        for name in WRITTEN:
            _remove(folder / name)
        kept = {"identity": key, "weights": None}
        write_json(path, kept)
    if kept["weights"] is None:
        kept = {**kept, "weights": find()}
        write_json(path, kept)
        for name in CHECKPOINTS:
            _remove(folder / name)
    return dict(kept["weights"])


def weights_apart(
    find: Callable[..., dict[str, float]],
    method: dict[str, Any],
    root: Path,
    config: Config,
    folder: Path,
    *,
    workers: int,
    like_tokens: int | None,
    quiet: bool,
) -> dict[str, float]:
    """Return the weights that `find` finds in a process of its own, once, within the epoch caps.

    Args:
      find: a function of a module, of (root, config, folder, like_tokens, quiet).
      method: as of `identity`; the rest as of `doremi.doremi`, and the errors.
    """
    decides = identity(root, config, like_tokens, method)
    # Before anything is trained: what cannot be proposed in the end is an error now.
    configured = resolve_weights(config.mixture, config.subsets)
    within_caps(root, config, like_tokens, configured)

    def train() -> dict[str, float]:
        arguments = (root, config, folder, like_tokens, quiet)
        found: dict[str, float] = run_apart(find, *arguments, threads=workers)
        return found

    return within_caps(root, config, like_tokens, found_once(folder, decides, train))


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
    sequences = min(sequences_of(proxy_train(config)), mixture.tokens // mixture.sequence_length)
    # One unit more, so that rounding to the last digit does not go below a sequence.
    smallest = max(SMALLEST, (math.ceil(UNITS / max(1, sequences)) + 1) / UNITS)
    simplex = within_epochs(mixture, tokens, smallest)
    return simplex.round(simplex.fill(simplex.array(weights)[None])[0])


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
