"""`massivetext memorisation CONFIG`: what the model knows by heart of its training documents."""

import argparse
import importlib.util
from pathlib import Path

from ..config_file import load
from ..errors import ConfigError, MassivetextError


def run(options: argparse.Namespace) -> int:
    config = load(Path(options.config), options.overrides).config
    if options.spans < 1:
        raise ConfigError(f"--spans is {options.spans}; it must be at least 1")
    if importlib.util.find_spec("jax") is None:
        raise MassivetextError('the trainer needs JAX; run: pip install "massivetext[train]"')
    root = Path(config.output)
    if not (root / "shards" / "manifest.json").exists():
        raise ConfigError(f"no shards in {root}; run: massivetext build {options.config}")
    from massivetext.evaluation.memorisation import measure
    from massivetext.evaluation.memorisation_table import table

    print(table(measure(root, config, options.spans, options.seed)))
    print(f"written to {root / 'memorisation.json'}")
    return 0
