"""What a build would do, checked before any work: paths, globs, models, rules, weights."""

from collections.abc import Iterator
from contextlib import contextmanager

from massivetext.config import Config
from massivetext.config_file import Loaded
from massivetext.config_rules import NEED_SECTION
from massivetext.errors import ConfigError, nearest
from massivetext.extract.libraries import extractor
from massivetext.mixture import resolve_weights
from massivetext.progress import human_bytes
from massivetext.readers import plan
from massivetext.storage import Location, is_remote, location, size
from massivetext.store_errors import reason
from massivetext.test_sets import expand
from massivetext.tokenizer.encode import Tokenizer

from . import earlier
from .encode import sentinel_ids


def check(loaded: Loaded) -> list[str]:
    """Return the plan of a build in readable lines.

    Raises:
      ConfigError: a path, glob, model, rule or weight is wrong; names file and line of the key.
    """
    config = loaded.config
    with _located(loaded, "output"):
        location(config.output)
    lines = [_read(loaded, name) for name in config.subsets]
    with _located(loaded, "extraction.extractor"):
        extractor(config.extraction.extractor, config.extraction.seconds)
    for key, path in _models(config):
        with _located(loaded, key):
            _readable(location(path))
    if config.url is not None:
        for key in ("domains", "words"):
            with _located(loaded, f"url.{key}"):
                expand(getattr(config.url, key))
    with _located(loaded, "overlap"):
        lines.append(_overlap(config))
    lines.append(_deduplicate(loaded))
    if config.fill_in_the_middle is not None:
        lines.append(_fill_in_the_middle(loaded))
    with _located(loaded, "mixture"):
        weights = resolve_weights(config.mixture, config.subsets)
    shares = ", ".join(f"{name} {weight:.4g}" for name, weight in weights.items())
    lines.append(f"mixture   {config.mixture.tokens:,} tokens: {shares}")
    return lines


def _read(loaded: Loaded, name: str) -> str:
    config = loaded.config
    subset = config.subsets[name]
    with _located(loaded, f"subsets.{name}.input"):
        splits = plan(subset, name)
    groups = config.rules(name)
    for group in NEED_SECTION:
        if group in groups and getattr(config, group) is None:
            raise ConfigError(
                f"{loaded.where(f'subsets.{name}.rules')}: the rule {group} of {name} needs a "
                f"section '{group}' in the config; add it, or take the rule out"
            )
    files = sum(len(split.paths) for split in splits)
    size = human_bytes(sum(split.bytes for split in splits))
    rules = ", ".join(groups) or "none"
    return f"read      {name}: {files} files ({subset.format}), {size}; rules: {rules}"


def _models(config: Config) -> list[tuple[str, str]]:
    found = [
        ("language.model", config.language.model if config.language else None),
        ("safety.model", config.safety.model if config.safety else None),
        ("safety.words", config.safety.words if config.safety else None),
        ("classifier.model", config.classifier.model if config.classifier else None),
        ("tokenizer.model", config.tokenizer.model),
    ]
    return [(key, path) for key, path in found if path is not None]


def _readable(file: Location) -> None:
    if is_remote(file):
        try:
            size(file)
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {reason(error)}") from error
        return
    if not file.is_file():
        siblings = sorted(p.name for p in file.parent.iterdir()) if file.parent.is_dir() else []
        hint = nearest(file.name, siblings[:1000]) if siblings else "; nor is there its folder"
        raise ConfigError(f"there is no file {file}{hint}")
    try:
        file.open("rb").close()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error


def _overlap(config: Config) -> str:
    files = len(expand(config.overlap.test_sets)) if config.overlap.test_sets else 0
    titles = len(expand(config.overlap.wikipedia_titles)) if config.overlap.wikipedia_titles else 0
    if not files and not titles:
        return "overlap   off: overlap.test_sets is empty, so nothing is compared"
    return f"overlap   {files} test sets, {titles} lists of titles"


def _deduplicate(loaded: Loaded) -> str:
    config = loaded.config
    rule = config.deduplicate
    if not rule.enabled:
        return "dedupe    off"
    # The default excepts two of the paper's subsets, which need not be there; a name that a
    # person wrote must be, unless it is one of those.
    for name in rule.except_:
        if name not in config.subsets and name not in ("wikipedia", "github"):
            raise ConfigError(
                f"{loaded.where('deduplicate.except')}: deduplicate.except names no subset "
                f"{name!r}{nearest(name, config.subsets)}"
            )
    names = ", ".join(name for name in config.subsets if name not in rule.except_) or "no subset"
    plan = f"dedupe    {names}: {rule.ngram}-gram Jaccard above {rule.jaccard}"
    with _located(loaded, "deduplicate.against"):
        builds = earlier.load(config)
    for build in builds:
        plan += f"\n          against {build.folder}: {build.documents:,} documents"
    return plan


def _fill_in_the_middle(loaded: Loaded) -> str:
    config = loaded.config
    rule, model = config.fill_in_the_middle, config.tokenizer.model
    assert rule is not None
    with _located(loaded, "fill_in_the_middle.subsets"):
        for name in rule.subsets or ():
            if name not in config.subsets:
                raise ConfigError(f"there is no subset {name!r}{nearest(name, config.subsets)}")
    if model is not None:
        with _located(loaded, "tokenizer.model"):
            sentinel_ids(Tokenizer.load(model), model)
    names = ", ".join(name for name in config.subsets if rule.covers(name))
    return f"infill    {names}: {rule.rate:.4g} of the documents, {rule.spm_rate:.4g} of them SPM"


@contextmanager
def _located(loaded: Loaded, key: str) -> Iterator[None]:
    """Name the place of `key` in the config in front of an error."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{loaded.where(key)}: {key}: {error}") from error
