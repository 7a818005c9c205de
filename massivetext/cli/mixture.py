"""`massivetext mixture PRESET|CONFIG`: what a mixture takes of each subset, told beforehand."""

import argparse
from pathlib import Path

from .. import lineage
from ..card import align
from ..config import Config
from ..config_file import load, parse
from ..config_mixture import Construction
from ..errors import ConfigError, nearest
from ..mixture import plan, resolve_stages, resolve_weights
from ..mixture_plan import Stock
from ..presets import CORPORA, MIXTURES


def run(options: argparse.Namespace) -> int:
    overrides = list(options.overrides)
    if options.tokens is not None:
        overrides.append(f"mixture.tokens={options.tokens}")
    name = options.mixture
    if name in MIXTURES:
        config, available = _preset(name, overrides)
        unknown = "the paper does not say how many tokens there were of each subset"
    elif Path(name).exists() or "." in name or "/" in name:
        config = load(Path(name), overrides).config
        available = _stores(config)
        unknown = f"tokens and epochs are known when massivetext tokenize {name} has run"
    else:
        raise ConfigError(
            f"there is no mixture preset and no config {name!r}{nearest(name, MIXTURES)}"
        )
    if available is None:
        print(_budget(config))
        print(f"\n{unknown}")
    else:
        stages = resolve_stages(config.mixture, config.subsets)
        print(plan(config.mixture, stages, available).table())
    return 0


def _preset(name: str, overrides: list[str]) -> tuple[Config, dict[str, Stock] | None]:
    """Return a config of a paper's mixture and budget, and the tokens that the paper had."""
    corpus = CORPORA[name]
    subsets = "".join(f"  {subset}: {{input: none}}\n" for subset in MIXTURES[name])
    text = (
        f"output: none\nsubsets:\n{subsets}mixture: {{preset: {name}, tokens: {corpus.budget}}}\n"
    )
    config = parse(text, f"the preset {name}", overrides).config
    if config.mixture.construction is Construction.GOPHER:
        raise ConfigError(
            "mixture.construction gopher draws documents, of which a paper does not tell the "
            "lengths; give the config of a build whose documents are tokenised"
        )
    if not corpus.tokens:
        return config, None
    return config, {subset: Stock(n, 0, n) for subset, n in corpus.tokens.items()}


def _stores(config: Config) -> dict[str, Stock] | None:
    """Return what the token stores of a build hold; None when there are none yet.

    Raises:
      ConfigError: the stores have no tokens of one of the config's subsets.
    """
    root = Path(config.output)
    manifest = lineage.fresh_tokens(root, config.subsets)
    if manifest is None:
        return None
    from ..construction import stocks  # numba, which other answers do not need

    return stocks(root, manifest, config.mixture, config.seed)


def _budget(config: Config) -> str:
    """Return weights and tokens of each subset as a table, when nothing else is known."""
    weights = resolve_weights(config.mixture, config.subsets)
    rows = [["subset", "weight", "trained on"]]
    for name in sorted(weights):
        rows.append([name, f"{weights[name]:.4f}", f"{weights[name] * config.mixture.tokens:,.0f}"])
    rows.append(["total", f"{sum(weights.values()):.4f}", f"{config.mixture.tokens:,}"])
    return align(rows)
