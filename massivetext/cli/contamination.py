"""`massivetext contamination OUT`: how much of each test set stands in the training documents."""

import argparse

from ..errors import ConfigError
from ..storage import local_folder


def run(options: argparse.Namespace) -> int:
    root = local_folder(options.out)
    if not (root / "manifests").is_dir():
        raise ConfigError(f"{root} is not the output of a build (it has no manifests)")
    # Arrow and numba take a moment to import: after the arguments are known to be right.
    from ..contamination_report import FOLDER, measure, table

    print(table(measure(root, options.test_set)))
    print(f"written to {root / FOLDER}: report.json, and the items of each class as they were")
    return 0
