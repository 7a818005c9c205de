"""The driver: every stage in order, each materialised, up to the one asked for."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from massivetext.card import card
from massivetext.config import Config
from massivetext.config_file import to_yaml
from massivetext.dataset import atomic_file, write_json
from massivetext.errors import ConfigError

from . import clean, deduplicate, documents, measure, mix, overlap, tokenise
from .stage import Context


@contextmanager
def claimed(root: Path) -> Iterator[None]:
    """Hold the output folder for one run; a second one gets a clear error."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = open(root / ".lock", "w")  # noqa: SIM115 - held for the whole block
    except OSError as error:
        raise ConfigError(f"output {root} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another massivetext is working in {root}; wait for it") from error
        yield


def build(context: Context, config: Config, until: str = "shards") -> dict[str, dict[str, Any]]:
    """Run the stages up to `until`, skip those whose manifest matches, and write the card.

    Returns:
      The manifests by stage name.
    """
    manifests: dict[str, dict[str, Any]] = {}

    def last(stage: str, manifest: dict[str, Any]) -> bool:
        manifests[stage] = manifest
        return stage == until

    with claimed(context.root):
        with atomic_file(context.root / "config.yaml") as out:
            out.write(to_yaml(config).encode())
        _stages(context, config, manifests, last)
        write_json(context.root / "card.json", card(context.root))
    return manifests


def _stages(context: Context, config: Config, done: dict[str, Any], last: Any) -> None:
    measured = measure.run(context, config)
    done["measure"] = measured
    if last("clean", clean.run(context, config, measured)):
        return
    if last("deduplicate", deduplicate.run(context, config, measured, done["clean"])):
        return
    upstream = (done["clean"], done["deduplicate"])
    if last("overlap", overlap.run(context, config, measured, *upstream)):
        return
    left = documents.run(context, config, measured, *upstream, done["overlap"])
    if last("documents", left):
        return
    if last("tokenizer", tokenise.train_tokenizer_stage(context, config, left)):
        return
    if last("tokens", tokenise.tokenise_stage(context, config, left, done["tokenizer"])):
        return
    last("shards", mix.run(context, config, done["tokens"]))
