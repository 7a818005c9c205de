"""`massivetext inspect OUT`: a local page to look at the documents, kept and dropped."""

import argparse
from pathlib import Path

from ..errors import ConfigError


def run(options: argparse.Namespace) -> int:
    root = Path(options.out)
    if not ((root / "manifests").is_dir() or (root / "measured").is_dir()):
        raise ConfigError(
            f"{root} is not the output of a build (it has neither manifests nor measured)"
        )
    if not 0 <= options.port < 1 << 16:
        raise ConfigError(f"--port is {options.port}; it must be from 0 (any) to 65535")
    # Arrow takes a moment to import: after the arguments are known to be right.
    from ..inspector.server import serve

    serve(root, options.port)
    return 0
