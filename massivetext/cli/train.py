"""`massivetext train`, `evaluate` and `generate`: the JAX side."""

import argparse
import importlib.util
from pathlib import Path

from ..config import Config
from ..config_file import load
from ..errors import ConfigError, MassivetextError


def run(options: argparse.Namespace) -> int:
    config = load(Path(options.config), options.overrides).config
    if importlib.util.find_spec("jax") is None:
        raise MassivetextError('the trainer needs JAX; run: pip install "massivetext[train]"')
    root = Path(config.output)
    if not (root / "shards" / "manifest.json").exists():
        raise ConfigError(f"no shards in {root}; run: massivetext build {options.config}")
    return {"train": _train, "evaluate": _evaluate, "generate": _generate}[options.command](
        root, config, options
    )


def _train(root: Path, config: Config, options: argparse.Namespace) -> int:
    from massivetext.trainer.train import train

    result = train(root, config, quiet=options.quiet)
    print(result.table())
    return 0


def _evaluate(root: Path, config: Config, options: argparse.Namespace) -> int:
    from massivetext.trainer.evaluate import evaluate

    for name, bits in evaluate(root, config).items():
        print(f"{name:<16} {bits:.4f} bits per byte")
    return 0


def _generate(root: Path, config: Config, options: argparse.Namespace) -> int:
    from massivetext.trainer.generate import generate

    print(
        generate(
            root,
            config,
            options.prompt,
            tokens=options.tokens,
            temperature=options.temperature,
            top_k=options.top_k,
            seed=options.seed,
        )
    )
    return 0
