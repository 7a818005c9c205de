"""The driver: every stage in order, each materialised, up to the one asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from massivetext.card import card
from massivetext.config import Config
from massivetext.config_file import to_yaml
from massivetext.dataset import atomic_file, claimed, remove_temporary, write_json
from massivetext.scratch import disk_full
from massivetext.storage import remove_tree

from . import clean, deduplicate, documents, measure, mix, overlap, spans, tokenise
from .context import Context


def build(context: Context, config: Config, until: str = "shards") -> dict[str, dict[str, Any]]:
    """Run the stages up to `until`, skip those whose manifest matches, and write the card.

    Returns:
      The manifests by stage name.

    Raises:
      DiskFullError: a disk is full: tells which and what to do. Running again continues.
    """
    manifests: dict[str, dict[str, Any]] = {}
    with claimed(context.root), _explained():
        remove_temporary(context.root)
        try:
            with atomic_file(context.root / "config.yaml") as out:
                out.write(to_yaml(config).encode())
            for stage, manifest in _stages(context, config):
                manifests[stage] = manifest
                if stage == until:
                    break
            write_json(context.root / "card.json", card(context.root))
            remove_tree(context.root / ".work")
        finally:
            # Of workers that died, and whose part was then done by another, or nobody any more.
            remove_temporary(context.root)
    return manifests


@contextmanager
def _explained() -> Iterator[None]:
    """Say what to do when a disk is full, whoever writes to it."""
    try:
        yield
    except OSError as error:
        if (full := disk_full(error)) is not None:
            raise full from error
        raise


def _stages(context: Context, config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run stage after stage, each from the manifests of those before it."""
    measured = measure.run(context, config)
    yield "measure", measured
    cleaned = clean.run(context, config, measured)
    yield "clean", cleaned
    deduplicated = deduplicate.run(context, config, measured, cleaned)
    yield "deduplicate", deduplicated
    if spans.wanted(config):
        # Its manifest tells of what deduplication left, and of its own cuts.
        deduplicated = spans.run(context, config, measured, cleaned, deduplicated)
        yield "spans", deduplicated
    else:
        spans.remove(context.root)
    compared = overlap.run(context, config, measured, cleaned, deduplicated)
    yield "overlap", compared
    left = documents.run(context, config, measured, cleaned, deduplicated, compared)
    yield "documents", left
    tokenizer = tokenise.train_tokenizer_stage(context, config, left)
    yield "tokenizer", tokenizer
    tokens = tokenise.tokenise_stage(context, config, left, tokenizer)
    yield "tokens", tokens
    yield "shards", mix.run(context, config, tokens)
