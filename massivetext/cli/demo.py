"""`massivetext demo`: every stage on text this machine already has, then a small model."""

import argparse
import importlib.util
import time
from importlib.resources import files
from pathlib import Path

from ..card import tables
from ..config_file import load
from ..dataset import atomic_file, claimed, read_json
from ..errors import ConfigError, MassivetextError
from ..progress import Progress, human_seconds
from .train import result_table


def run(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("jax") is None:
        raise MassivetextError('the demo trains a model; run: pip install -e ".[train]"')
    started = time.monotonic()
    root = Path(options.output).absolute()
    if '"' in str(root) or "\\" in str(root):
        raise ConfigError(f"--output {root}: quotes and backslashes do not fit into the config")
    path = root / "demo.yaml"
    if not path.exists():
        _prepare(root, path)
    config = load(path).config

    from massivetext.pipelines.build import build
    from massivetext.pipelines.context import Context
    from massivetext.pipelines.execute import Engine

    build(Context(root, Engine(workers=options.workers)), config)
    from massivetext.evaluation.samples import make_sampler
    from massivetext.trainer.train import train

    with claimed(root):
        result = train(root, config, sampler=make_sampler(root, config))
    print()
    print(tables(read_json(root / "card.json")))
    print()
    print(result_table(result))
    print()
    print(_where(root))
    print(f"\nall of it in {human_seconds(time.monotonic() - started)}")
    return 0


def _prepare(root: Path, path: Path) -> None:
    from ..demo.corpus import gather

    Progress.line("gather", "text that is already on this machine")
    try:
        counts = gather(root / "raw")
        # The config comes last: where it exists, the corpus is whole.
        template = (files("massivetext.demo") / "demo.yaml").read_text(encoding="utf-8")
        with atomic_file(path) as out:
            out.write(template.replace("@DEMO@", str(root)).encode())
    except OSError as error:
        raise ConfigError(f"cannot write the demo to {root}: {error}") from error
    Progress.line("gather", ", ".join(f"{name} {count}" for name, count in counts.items()))


def _where(root: Path) -> str:
    rows = [
        ["written", ""],
        ["config", f"{root}/demo.yaml"],
        ["training documents", f"{root}/documents/"],
        ["why documents went", f"{root}/dropped/  (massivetext why {root} ID)"],
        ["tokenizer", f"{root}/tokenizer/tokenizer.model"],
        ["training shards", f"{root}/shards/  (massivetext verify {root})"],
        ["model", f"{root}/checkpoints/"],
        ["loss plot", f"{root}/train/loss.svg"],
        ["to look at", ""],
        ["the data card", f"massivetext card {root}"],
        ["the documents", f"massivetext inspect {root}"],
    ]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{name.ljust(width)}  {place}".rstrip() for name, place in rows)
