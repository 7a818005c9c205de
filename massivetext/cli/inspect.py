"""`massivetext inspect OUT`: a local page to look at the documents, kept and dropped."""

import argparse
from pathlib import Path

from ..errors import ConfigError
from ..storage import local_folder


def run(options: argparse.Namespace) -> int:
    root = local_folder(options.out)
    others = [Path(other) for other in options.against]
    if not any((root / name).is_dir() for name in ("manifests", "measured", "train")):
        raise ConfigError(
            f"{root} is not the output of a build or of a training run (it has no manifests, "
            "measured or train)"
        )
    for other in others:
        if not (other / "train").is_dir():
            raise ConfigError(f"--against {other}: there is no training run (it has no train)")
    if not 0 <= options.port < 1 << 16:
        raise ConfigError(f"--port is {options.port}; it must be from 0 (any) to 65535")
    # Arrow takes a moment to import: after the arguments are known to be right.
    from ..inspector.server import serve

    serve(root, options.port, others)
    return 0
