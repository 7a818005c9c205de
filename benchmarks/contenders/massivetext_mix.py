"""massivetext's stage `shards` on token stores, with one worker.

    python massivetext_mix.py ROOT TOKENS.json BUDGET

`TOKENS.json` is the manifest of the stores in ROOT; BUDGET is in tokens. It is a program of its
own, not a contender: the caller watches its time and memory.
"""

import json
import sys
from pathlib import Path

from massivetext.config import Config, Mixture, Subset
from massivetext.pipelines import mix
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine


def run(root: str, manifest: str, budget: str) -> None:
    tokens = json.loads(Path(manifest).read_text())
    config = Config(
        output=root,
        subsets={name: Subset(input=("none",)) for name in tokens["subsets"]},
        mixture=Mixture(tokens=int(budget), preset="gopher"),
    )
    mix.run(Context(Path(root), Engine(workers=1), quiet=True), config, tokens)


if __name__ == "__main__":
    run(*sys.argv[1:])
