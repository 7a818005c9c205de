"""`massivetext why OUT ID`: what happened to a document, and the evidence."""

import argparse

from ..errors import ConfigError
from ..evidence import explain
from ..storage import local_folder


def run(options: argparse.Namespace) -> int:
    root = local_folder(options.out)
    if not (root / "manifests").is_dir():
        raise ConfigError(f"{root} is not the output of a build (it has no manifests)")
    print(explain(root, options.id))
    return 0
