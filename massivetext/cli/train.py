"""`massivetext train`, `evaluate` and `generate`: the JAX side."""

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from ..card import align
from ..config import Config
from ..config_file import load
from ..dataset import claimed
from ..errors import ConfigError, MassivetextError

if TYPE_CHECKING:
    from massivetext.trainer.train import TrainResult


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

    with claimed(root):
        result = train(root, config, quiet=options.quiet)
    print(result_table(result))
    return 0


def result_table(result: "TrainResult") -> str:
    """Return bits per byte of every held-out subset before and after training, as text."""
    rows = [["held out", "bits per byte before", "after"]]
    for name, before in result.bpb_before.items():
        rows.append([name, f"{before:.3f}", f"{result.bpb_after[name]:.3f}"])
    skipped = f", {result.skipped} steps skipped" if result.skipped else ""
    return (
        f"{align(rows)}\n\n{result.parameters:,} parameters, {result.steps:,} steps, "
        f"{result.tokens:,} tokens, loss {result.loss_first:.3f} -> {result.loss_last:.3f}{skipped}"
    )


def _evaluate(root: Path, config: Config, options: argparse.Namespace) -> int:
    from massivetext.trainer.evaluate import evaluate

    rows = [["held out", "bits per byte"]]
    rows += [[name, f"{bits:.4f}"] for name, bits in evaluate(root, config).items()]
    print(align(rows))
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
