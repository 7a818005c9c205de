"""What a tuning decides before it trains anything, so that what is wrong is said at once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from massivetext import lineage
from massivetext.config import Config
from massivetext.config_mixture import Construction
from massivetext.config_train import Train
from massivetext.config_tune import Tune
from massivetext.construction import stocks
from massivetext.errors import ConfigError, nearest
from massivetext.mixture import plan, resolve_weights
from massivetext.mixture_records import MixtureRecords
from massivetext.trainer.ramp import sequences_of
from massivetext.tuning.draws import draw_mixtures, natural
from massivetext.tuning.simplex import UNITS, Simplex

from .caps import fit, within_run

CONFIGURED, UNIFORM, NATURAL = "configured", "uniform", "natural"


@dataclass(frozen=True)
class Setup:
    """A tuning before its first run.

    Attributes:
      train: the training of one proxy.
      tokens: stored tokens per subset.
      simplex: the mixtures that the real run's epoch caps allow.
      objective: share of each target that counts, summing to one.
      mixtures: those the proposal is compared with, by name, within the caps.
      adjusted: names of those that the caps changed.
      draws: the mixtures of the regression; none for other methods.
    """

    train: Train
    tokens: dict[str, int]
    simplex: Simplex
    objective: dict[str, float]
    mixtures: dict[str, dict[str, float]]
    adjusted: tuple[str, ...]
    draws: tuple[dict[str, float], ...]


def prepare(root: Path, config: Config) -> Setup:
    """Check everything that can be checked without training.

    Raises:
      ConfigError: no token stores, or stale ones; a subset without tokens; a target that is
        unknown, missing or empty; weights, budget and caps that do not fit together; too few runs.
    """
    manifest = lineage.fresh_tokens(root, config.subsets)
    if manifest is None:
        raise ConfigError(f"there are no token stores in {root}; run massivetext tokenize")
    tokens = {name: int(manifest["subsets"][name]["tokens"]) for name in config.subsets}
    for name, count in tokens.items():
        if not count:
            raise ConfigError(
                f"the subset {name!r} has no tokens, so there is nothing to tune; look at what its "
                "documents were dropped for (massivetext card), or take it out of the config"
            )
    train = config.tune.train or config.train
    objective = objective_shares(config.tune, list(config.subsets), manifest["heldout"])
    configured = resolve_weights(config.mixture, config.subsets)
    plan(config.mixture, configured, stocks(root, manifest, config.mixture, config.seed))
    simplex = _within_epochs(root, config, train, tokens)
    wanted = {
        CONFIGURED: configured,
        UNIFORM: dict.fromkeys(tokens, 1 / len(tokens)),
        NATURAL: natural(tokens),
    }
    mixtures = {name: fit(simplex, weights) for name, weights in wanted.items()}
    adjusted = tuple(
        name
        for name, weights in wanted.items()
        if any(abs(weights[subset] - mixtures[name][subset]) > 2 / UNITS for subset in tokens)
    )
    draws = []
    if config.tune.method == "regression":
        draws = draw_mixtures(simplex, config.tune.runs, tokens, configured, config.seed)
    return Setup(train, tokens, simplex, objective, mixtures, adjusted, tuple(draws))


def objective_shares(
    tune: Tune, subsets: list[str], heldout: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """Return the share of each target that counts: `tune.objective`, or all targets alike.

    Args:
      heldout: of the manifest of the token stores.

    Raises:
      ConfigError: a name that is no target, a subset without held-out tokens, a text that is not
        there, or a text with the name of a subset.
    """
    for name, paths in tune.targets.items():
        if name in subsets:
            raise ConfigError(
                f"tune.targets names {name!r}, which is a subset; its held-out set has that name, "
                "so call the target otherwise"
            )
        if not paths:
            raise ConfigError(f"tune.targets.{name} names no file")
        for path in paths:
            if not Path(path).is_file() or not Path(path).stat().st_size:
                raise ConfigError(f"tune.targets.{name}: there is no text in {path}")
    targets = [*subsets, *tune.targets]
    given = tune.objective if tune.objective is not None else dict.fromkeys(targets, 1.0)
    for name, weight in given.items():
        if name not in targets:
            raise ConfigError(
                f"tune.objective names {name!r}, which is no subset and no target"
                f"{nearest(name, targets)}"
            )
        if weight < 0:
            raise ConfigError(f"tune.objective.{name} is {weight}; it must be at least 0")
    counted = {name: given[name] for name in targets if given.get(name, 0) > 0}
    for name in counted:
        if name in subsets and not int(heldout.get(name, {}).get("tokens", 0)):
            raise ConfigError(
                f"the objective counts the subset {name!r}, which has no held-out documents; raise "
                "heldout.fraction and build again, or give tune.objective without it"
            )
    total = math.fsum(counted.values())
    return {name: weight / total for name, weight in counted.items()}


def _within_epochs(root: Path, config: Config, train: Train, tokens: dict[str, int]) -> Simplex:
    """Return the mixtures within `max_epochs` of the real run and, to the sequence, of a proxy.

    A proxy has a sample of each subset, in whole sequences: a cap that is exact for the real run
    may be one of its sequences too many.
    """
    mixture = config.mixture
    total = sequences_of(train)
    simplex = within_run(mixture, train, tokens)
    unlimited = replace(
        mixture,
        tokens=total * mixture.sequence_length,
        weights=dict.fromkeys(tokens, 1 / len(tokens)),
        stages=(),
        max_epochs=1e12,
    )
    records = MixtureRecords(root, replace(config, mixture=unlimited), like_tokens=mixture.tokens)
    sample = {subset.name: subset for subset in records.planned.subsets}
    limit = Fraction(str(mixture.max_epochs))
    caps = []
    for name, cap in zip(simplex.names, simplex.caps, strict=True):
        once = Fraction(sample[name].sequences)
        if mixture.construction is Construction.GOPHER:
            once = min(once, Fraction(sample[name].tokens, mixture.sequence_length))
        caps.append(min(cap, Fraction(math.floor(limit * once), total)))
    return Simplex(simplex.names, tuple(caps), simplex.smallest)
