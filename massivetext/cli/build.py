"""`massivetext build`, and the commands that run it up to an earlier stage."""

import argparse
import json
import time
from pathlib import Path

from ..card import tables
from ..config_file import load, to_yaml
from ..dataset import read_json
from ..errors import ConfigError
from ..interrupts import terminable
from ..progress import human_seconds
from ..storage import is_remote, location
from .main import UNTIL


def run(options: argparse.Namespace) -> int:
    overrides = [*options.overrides, *_mixture(getattr(options, "mixture", None))]
    loaded = load(Path(options.config), overrides)
    # Beam takes a second to import: after the config is known to be well formed.
    from massivetext.pipelines import spans
    from massivetext.pipelines.build import build
    from massivetext.pipelines.context import Context
    from massivetext.pipelines.execute import Engine, check_flags
    from massivetext.pipelines.plan import check

    check_flags(options.beam_args)
    plan = check(loaded)
    if options.dry_run:
        print(to_yaml(loaded.config))
        print("\n".join(f"# {line}" for line in plan))
        return 0
    if not loaded.config.output:
        raise ConfigError("output is empty; name a folder")
    root = location(loaded.config.output)
    started = time.monotonic()
    engine = Engine(workers=options.workers, beam_args=options.beam_args)
    until = UNTIL[options.command]
    if until == "deduplicate" and spans.wanted(loaded.config):
        until = "spans"
    with terminable():
        build(Context(root if is_remote(root) else root.absolute(), engine), loaded.config, until)
    print(tables(read_json(root / "card.json")))
    print(f"\nwritten to {root} in {human_seconds(time.monotonic() - started)}")
    return 0


def _mixture(path: str | None) -> list[str]:
    """Return the override that puts the weights of a `mixture.json` into the config."""
    if path is None:
        return []
    try:
        weights = json.loads(Path(path).read_bytes())["weights"]
        pairs = {str(name): float(weight) for name, weight in weights.items()}
    except OSError as error:
        raise ConfigError(f"--mixture {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"--mixture {path}: not a mixture.json, which has `weights` by subset ({error!r})"
        ) from error
    return [f"mixture.weights={json.dumps(pairs)}"]
