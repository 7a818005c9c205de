"""`massivetext thresholds OUT --set KEY=VALUE`: what other thresholds would change."""

import argparse
from pathlib import Path

from ..errors import ConfigError


def run(options: argparse.Namespace) -> int:
    root = Path(options.out)
    if not (root / "manifests" / "measure.json").is_file():
        raise ConfigError(f"{root} holds no measured documents; run massivetext clean first")
    # Arrow takes a moment to import: after the arguments are known to be right.
    from ..thresholds import compare, tables

    print(tables(compare(root, options.overrides), bool(options.overrides)))
    return 0
