"""The runs of a ladder: every size at every budget, or for every horizon.

Each is a run of its own, with the cosine of its own length, as in Chinchilla (Hoffmann et al. 2022,
section 3 and B): the losses within a longer run are not those of a shorter one that has ended. The
mixture is the configured one, computed from the token stores.

A budget is 6·N·D FLOPs (`trainer.flops.budget_flops`): N are the parameters as the papers count
them, the embedding included, norms not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from massivetext import lineage
from massivetext.config import Config, Train
from massivetext.config_train import Override
from massivetext.construction import stocks
from massivetext.errors import ConfigError, InputError
from massivetext.mixture import plan, resolve_weights
from massivetext.trainer.families import FAMILIES
from massivetext.trainer.flops import budget_flops
from massivetext.trainer.parameters import Dimensions, dimensions, parameter_count
from massivetext.trainer.ramp import batch_size, sequences_of, steps_within
from massivetext.trainer.schedule import peak_rate

EXAMPLE = """scaling:
  sizes:
    - {layers: 3, d_model: 96, heads: 3, kv_size: 32}
    - {layers: 4, d_model: 128, heads: 4, kv_size: 32}
    - {layers: 5, d_model: 192, heads: 6, kv_size: 32}
  budgets: [3e12, 6e12, 1.2e13]   # FLOPs, as 6ND; or horizons: [1_000_000, 4_000_000], in tokens"""
# Of what cannot be trained, an error says so much; the rest is of the same kind.
MAX_REFUSALS = 8


@dataclass(frozen=True)
class Rung:
    """One run of the ladder.

    Attributes:
      name: of its size and its budget or horizon.
      shape: the name of its size.
      train: how it is trained, with its own dimensions and steps.
      tokens: that it trains on: whole batches, so up to one batch short of what was asked for.
      flops: 6·N·D of these tokens.
    """

    name: str
    shape: str
    size: Dimensions
    train: Train
    tokens: int

    @property
    def parameters(self) -> int:
        return parameter_count(self.size)

    @property
    def flops(self) -> int:
        return budget_flops(self.size, self.tokens)


def plan_ladder(root: Path, config: Config) -> list[Rung]:
    """Return the runs of `config.scaling`, size by size.

    Args:
      root: a build whose documents are tokenised.

    Raises:
      ConfigError: the token stores are stale; there are no sizes, or neither budgets nor horizons;
        a size is given twice or cannot be; or a run would train on less than a batch, or repeat a
        subset more than `mixture.max_epochs` times. All before anything is trained.
      InputError: there are no token stores.
    """
    scaling = config.scaling
    if not scaling.sizes or not (scaling.budgets or scaling.horizons):
        lacking = "sizes" if not scaling.sizes else "budgets or horizons"
        raise ConfigError(
            f"the config's section scaling gives no {lacking}; a ladder is, for example,\n{EXAMPLE}"
        )
    manifest = lineage.fresh_tokens(root, config.subsets)
    if manifest is None:
        raise InputError(f"no token stores in {root}; run massivetext tokenize")
    base = scaling.train or config.train
    peak_rate(base)  # refuses the rate of another optimiser
    length = config.mixture.sequence_length
    rungs: dict[str, Rung] = {}
    refused: list[str] = []
    for number, change in enumerate(scaling.sizes):
        train = replace(base, override=_override(base.override, change))
        try:
            size = dimensions(train, manifest["vocab_size"], length)
        except ConfigError as error:
            raise ConfigError(f"scaling.sizes.{number}: {error}") from error
        shape = _shape_name(size)
        for wanted in scaling.budgets or scaling.horizons:
            name = f"{shape}-{_number_name(wanted)}-{'flops' if scaling.budgets else 'tokens'}"
            if name in rungs:
                raise ConfigError(
                    f"scaling gives the run {name} twice: all sizes must differ, and all budgets "
                    "or horizons"
                )
            tokens = int(wanted / budget_flops(size, 1)) if scaling.budgets else int(wanted)
            steps = steps_within(train, tokens // length)
            if not steps:
                refused.append(_less_than_a_batch(name, train, size, tokens, length))
                continue
            timed = replace(train, steps=steps)
            rungs[name] = Rung(name, shape, size, timed, sequences_of(timed) * length)
    refused += _beyond_the_mixture(root, config, manifest, rungs.values())
    if refused:
        more = len(refused) - MAX_REFUSALS
        lines = [*refused[:MAX_REFUSALS], *([f"and {more} more"] if more > 0 else [])]
        every = len(scaling.sizes) * len(scaling.budgets or scaling.horizons)
        raise ConfigError(
            f"{len(refused)} of the {every} runs of the ladder cannot be trained:\n  "
            + "\n  ".join(lines)
        )
    return list(rungs.values())


def _override(base: Override, change: Override) -> Override:
    """Return the dimensions of a size: those of `train.override`, changed.

    A feed-forward layer that `train.override` sets belongs to the width that it sets.
    """
    values = {**base.given(), **change.given()}
    if change.d_model is not None and change.ffw is None:
        values.pop("ffw", None)
    return Override(**values)  # type: ignore[arg-type]


def _shape_name(size: Dimensions) -> str:
    """Return a name that no other size of the same family has; short where it is as usual."""
    family = FAMILIES[size.family]
    parts = [f"{size.layers}x{size.d_model}", f"{size.heads}x{size.kv_size}"]
    if size.kv_heads != (family.kv_heads or size.heads):
        parts.append(f"kv{size.kv_heads}")
    if size.ffw != 4 * size.d_model:
        parts.append(f"ffw{size.ffw}")
    if size.positions != family.positions:
        parts.append(size.positions)
    if size.qk_norm:
        parts.append("qk_norm")
    return "-".join(parts)


def _number_name(number: float) -> str:
    """Return a number of up to twelve digits without point or sign: 15e12 for 1.5e13."""
    _, digits, exponent = Decimal(f"{number:.12g}").normalize().as_tuple()
    return "".join(map(str, digits)) + (f"e{exponent}" if exponent else "")


def _less_than_a_batch(name: str, train: Train, size: Dimensions, tokens: int, length: int) -> str:
    batch = batch_size(train, 0)
    least = f"a horizon of at least {batch * length:,}"
    if name.endswith("flops"):
        least = f"a budget of at least {budget_flops(size, batch * length):.3g}"
    return (
        f"{name}: {tokens:,} tokens, less than the batch of {batch:,} sequences of {length:,}; "
        f"give {least}, or a smaller batch_size"
    )


def _beyond_the_mixture(
    root: Path, config: Config, manifest: lineage.Manifest, rungs: Iterable[Rung]
) -> list[str]:
    """Return why runs cannot have their tokens of the mixture."""
    available = stocks(root, manifest, config.mixture, config.seed)
    weights = resolve_weights(config.mixture, config.subsets)
    refused = []
    for rung in rungs:
        mixture = replace(config.mixture, weights=weights, stages=(), tokens=rung.tokens)
        try:
            plan(mixture, weights, available)
        except ConfigError as error:
            refused.append(f"{rung.name}: with mixture.tokens at its {rung.tokens:,}, {error}")
    return refused
