"""`massivetext why OUT ID`: what happened to a document, and the evidence."""

import argparse
from pathlib import Path

from ..errors import ConfigError
from ..evidence import explain


def run(options: argparse.Namespace) -> int:
    root = Path(options.out)
    if not (root / "manifests").is_dir():
        raise ConfigError(f"{root} is not the output of a build (it has no manifests)")
    print(explain(root, options.id))
    return 0
