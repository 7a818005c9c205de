"""`massivetext verify OUT`: check every output against its manifest."""

import argparse

from ..errors import ConfigError
from ..storage import local_folder
from ..verify import verify


def run(options: argparse.Namespace) -> int:
    root = local_folder(options.out)
    if not (root / "manifests").is_dir():
        raise ConfigError(f"{root} is not the output of a build (it has no manifests)")
    for line in verify(root):
        print(f"ok  {line}")
    return 0
