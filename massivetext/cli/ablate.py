"""`massivetext ablate CONFIG`: does each stage of the pipeline earn its place on this data?"""

import argparse
import importlib.util
from pathlib import Path

from ..config_file import load
from ..errors import ConfigError, MassivetextError


def run(options: argparse.Namespace) -> int:
    loaded = load(Path(options.config), options.overrides)
    if importlib.util.find_spec("jax") is None:
        raise MassivetextError('the trainer needs JAX; run: pip install "massivetext[train]"')
    from massivetext.experiments.ablate import ablate
    from massivetext.experiments.ablation_table import to_text
    from massivetext.pipelines.plan import check

    if not loaded.config.output:
        raise ConfigError("output is empty; name a folder")
    check(loaded)
    root = Path(loaded.config.output)
    value = ablate(root.absolute(), loaded.config, workers=options.workers)
    print(to_text(value["rows"]))
    print(
        f"\n± of a variant: standard deviation over {len(value['seeds'])} seeds; of a difference: "
        f"half its 95 % interval. {value['parameters']:,} parameters, {value['tokens']:,} tokens"
    )
    for skipped in value["skipped"]:
        print(f"left out: {skipped['variant']}: {skipped['reason']}")
    for name, why in value["diverged"].items():
        print(f"diverged: {name}: {why}")
    print(f"written to {root / 'ablate'}: table.json, table.csv")
    return 0
