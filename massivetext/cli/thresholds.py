"""`massivetext thresholds OUT --set KEY=VALUE`: what other thresholds would change."""

import argparse

from ..errors import ConfigError
from ..storage import local_folder


def run(options: argparse.Namespace) -> int:
    root = local_folder(options.out)
    if not (root / "manifests" / "measure.json").is_file():
        raise ConfigError(f"{root} holds no measured documents; run massivetext clean first")
    # Arrow takes a moment to import: after the arguments are known to be right.
    from ..thresholds import compare, tables

    print(tables(compare(root, options.overrides), bool(options.overrides)))
    return 0
