"""`massivetext tune-mixture CONFIG`: better sampling weights, searched and confirmed."""

import argparse
import importlib.util
import json
import time
from pathlib import Path
from typing import Any

from ..config_file import load
from ..dataset import claimed
from ..errors import ConfigError, MassivetextError
from ..progress import human_seconds


def run(options: argparse.Namespace) -> int:
    config = load(Path(options.config), options.overrides).config
    if importlib.util.find_spec("jax") is None:
        raise MassivetextError('tuning trains models; run: pip install "massivetext[train]"')
    if not config.output:
        raise ConfigError("output is empty; name the folder of the build")
    root = Path(config.output).absolute()
    if not (root / "manifests" / "tokens.json").exists():
        raise ConfigError(
            f"there are no token stores in {root}; run: massivetext tokenize {options.config}"
        )
    from massivetext.experiments.tune import tune
    from massivetext.experiments.tune_report import text

    started = time.monotonic()
    with claimed(root):
        report = tune(root, config, workers=options.workers)
    folder = root / "tune"
    print(text(report))
    print(f"\nwritten to {folder}: mixture.json, index.html, report.json, runs.csv")
    print(_next(options.config, folder, report))
    print(f"in {human_seconds(time.monotonic() - started)}")
    return 0


def _next(config: str, folder: Path, report: dict[str, Any]) -> str:
    """Return the command that makes shards of the recommended mixture."""
    recommended = report["verdict"]["recommended"]
    if recommended == "configured":
        return f"keep the weights of {config}"
    if recommended == "proposal":
        return f"to use it: massivetext mix {config} --mixture {folder / 'mixture.json'}"
    weights = json.dumps(report["mixtures"][recommended])
    return f"to use it: massivetext mix {config} --set 'mixture.weights={weights}'"
