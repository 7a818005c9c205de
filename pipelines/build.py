"""The driver: every stage in order, each materialised, up to the one asked for."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from massivetext.card import card
from massivetext.config import Config, RuleGroup
from massivetext.config_file import Loaded, to_yaml
from massivetext.dataset import atomic_file, write_json
from massivetext.errors import ConfigError, MassivetextError
from massivetext.mixture import resolve_weights
from massivetext.progress import human_bytes
from massivetext.readers import plan
from massivetext.test_sets import expand

from . import clean, deduplicate, documents, measure, mix, overlap, tokenise
from .stage import Context

STAGES = ("clean", "deduplicate", "overlap", "documents", "tokenizer", "tokens", "shards")


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


def check(loaded: Loaded) -> list[str]:
    """Find what would stop the build, before any work; return the plan in readable lines.

    Raises:
      ConfigError: a path, glob, model, rule or weight is wrong; names file and line of the key.
    """
    config = loaded.config
    lines = []
    for name, subset in config.subsets.items():
        with _located(loaded, f"subsets.{name}.input"):
            splits = plan(subset, name)
        size = human_bytes(sum(split.bytes for split in splits))
        number = sum(len(split.paths) for split in splits)
        groups = ", ".join(config.rules(name)) or "none"
        lines.append(f"read      {name}: {number} files ({subset.format}), {size}; rules: {groups}")
        for group, section in ((RuleGroup.LANGUAGE, config.language), (RuleGroup.SAFETY, config.safety)):
            if group in config.rules(name) and section is None:
                raise ConfigError(
                    f"{loaded.where(f'subsets.{name}.rules')}: the rule {group} of {name} needs the "
                    f"section {group!r}; add it with a model, or take the rule out"
                )
    for key, paths in _models(config):
        for path in paths:
            with _located(loaded, key):
                _readable(path)
    for key, globs in (
        ("overlap.test_sets", config.overlap.test_sets),
        ("overlap.wikipedia_titles", config.overlap.wikipedia_titles),
    ):
        if globs:
            with _located(loaded, key):
                lines.append(f"test sets {key.split('.')[1]}: {len(expand(globs))} files")
    for name in config.deduplicate.except_:
        # The default names two subsets of the paper; a name the user wrote must exist.
        if name not in config.subsets and "deduplicate.except" in loaded.marks:
            where = loaded.where("deduplicate.except")
            if name not in ("wikipedia", "github"):
                raise ConfigError(f"{where}: deduplicate.except names no subset {name!r}")
    lines.append("dedupe    " + _describe_deduplicate(config))
    if not config.overlap.test_sets:
        lines.append("overlap   off: overlap.test_sets is empty, so nothing is compared")
    with _located(loaded, "mixture"):
        weights = resolve_weights(config.mixture, config.subsets)
    shares = ", ".join(f"{name} {weight:.4g}" for name, weight in weights.items())
    lines.append(f"mixture   {config.mixture.tokens:,} tokens: {shares}")
    return lines


def _describe_deduplicate(config: Config) -> str:
    rule = config.deduplicate
    if not rule.enabled:
        return "off"
    names = [name for name in config.subsets if name not in rule.except_]
    return f"{', '.join(names)}: {rule.ngram}-gram Jaccard above {rule.jaccard}"


def _models(config: Config) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    if config.language:
        found.append(("language.model", [config.language.model]))
    if config.safety:
        found.append(("safety.model", [config.safety.model] if config.safety.model else []))
        found.append(("safety.words", [config.safety.words] if config.safety.words else []))
    if config.tokenizer.model:
        found.append(("tokenizer.model", [config.tokenizer.model]))
    return found


def _readable(path: str) -> None:
    from massivetext.errors import nearest

    file = Path(path)
    if not file.is_file():
        siblings = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
        hint = nearest(file.name, siblings) if siblings else "; its folder does not exist"
        raise ConfigError(f"no file at {path}{hint if len(hint) < 200 else ''}")
    try:
        file.open("rb").close()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


@contextmanager
def _located(loaded: Loaded, key: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{loaded.where(key)}: {key}: {error}") from error
    except MassivetextError:
        raise
