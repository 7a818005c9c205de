"""The variants of a build that an ablation compares: each runs one more stage than the one before.

    raw             every readable document: no rules, no deduplication, no overlap
    filtered        + every rule of documents but repetition
    de-repeated     + repetition
    deduplicated    + exact and near duplicates (and by URL, and spans, where the config has them)
    decontaminated  + copies of test documents: the whole pipeline

Extraction from markup and masks of personal data are part of reading: all variants have them.

Every variant is judged on the documents that the whole build holds out, so none may train on them.
A variant that drops less has other documents to draw from, so a draw of its own would hold out
others; and without deduplication a copy of a held-out document would be trained on. Therefore no
variant holds anything out, and the overlap stage of each has the held-out documents as test sets:
they, and what copies them by the config's own threshold, go, whatever else the variant keeps. All
variants lose them alike, so what differs between two is the stage between them.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from massivetext.config import Config, Deduplicate, HeldOut, Overlap
from massivetext.config_rules import RuleGroup, RuleName
from massivetext.dataset import atomic_file, read_json, write_json
from massivetext.pipelines import spans
from massivetext.pipelines.parts import read_batches

RULES = ("measure", "clean")
DUPLICATES = ("sketch", "deduplicate", "spans")


@dataclass(frozen=True)
class Variant:
    """A variant of a build. `adds` is what it does beyond the one before, for people; `missing`,
    when not empty, why the config has no such stage, so that there is nothing to compare."""

    name: str
    adds: str
    config: Config
    missing: str = ""


def variants(config: Config, root: Path, heldout: Sequence[Path]) -> list[Variant]:
    """Return the variants of a build in order, with outputs below `root/ablate`.

    Args:
      root: where the whole build is; its tokenizer encodes every variant.
      heldout: JSONL files of its held-out documents, as `write_heldout` makes them.
    """
    every = {name: config.rules(name) for name in config.subsets}
    used = {group for groups in every.values() for group in groups}
    filters = [group for group in RuleGroup if group in used and group is not RuleGroup.REPETITION]
    some = {name: tuple(g for g in groups if g in filters) for name, groups in every.items()}
    off = replace(config.deduplicate, enabled=False)
    on = replace(config.deduplicate, keep_shingles=False)
    kept_out = tuple(map(str, heldout))
    plain = replace(config.overlap, test_sets=kept_out, wikipedia_titles=())
    whole = replace(config.overlap, test_sets=(*kept_out, *config.overlap.test_sets))
    duplicates = config.deduplicate.enabled and set(config.subsets) - {*config.deduplicate.except_}
    copies = config.overlap.test_sets or config.overlap.wikipedia_titles

    def variant(
        name: str,
        adds: str,
        rules: Mapping[str, tuple[RuleGroup, ...]],
        deduplicate: Deduplicate,
        overlap: Overlap,
        missing: str = "",
    ) -> Variant:
        subsets = {
            key: replace(subset, rules=tuple(RuleName(group) for group in rules.get(key, ())))
            for key, subset in config.subsets.items()
        }
        changed = replace(
            config,
            output=str(root / "ablate" / name),
            subsets=subsets,
            deduplicate=deduplicate,
            overlap=overlap,
            heldout=HeldOut(fraction=0.0),
            tokenizer=replace(config.tokenizer, model=str(root / "tokenizer" / "tokenizer.model")),
        )
        return Variant(name, adds, changed, missing)

    return [
        variant("raw", "every readable document", {}, off, plain),
        variant(
            "filtered",
            f"rules of documents ({', '.join(filters)})",
            some,
            off,
            plain,
            "" if filters else "no subset has a rule besides repetition",
        ),
        variant(
            "de-repeated",
            "rules of repetition",
            every,
            off,
            plain,
            "" if RuleGroup.REPETITION in used else "no subset has the rule repetition",
        ),
        variant(
            "deduplicated",
            "duplicates",
            every,
            on,
            plain,
            "" if duplicates else "deduplication is off, or excepts every subset",
        ),
        variant(
            "decontaminated",
            "copies of test documents",
            every,
            on,
            whole,
            "" if copies else "overlap names no test sets and no titles",
        ),
    ]


def edits_text(config: Config) -> bool:
    """Whether a stage of the whole build cuts text that an earlier variant still has."""
    return spans.wanted(config) or any(
        RuleGroup.C4 in config.rules(name) for name in config.subsets
    )


def write_heldout(
    root: Path, documents: dict[str, Any], earlier: Sequence[Path], field: str, folder: Path
) -> list[Path]:
    """Write the held-out documents of a build as JSONL, a file a subset, and return the files.

    Args:
      documents: the manifest of the stage `documents` of the build in `root`.
      earlier: builds whose `measured/` holds the same documents as they were before a stage cut
        their text: such a text differs too much from what is left of it to be found by it, so it is
        an item of its own.
      field: name of the field of text, as `overlap.text_field`.
    """
    paths = []
    for name, subset in sorted(documents["heldout"].items()):
        if not subset["documents"]:
            continue
        paths.append(folder / f"{name}.jsonl")
        with atomic_file(paths[-1]) as out:
            for part in subset["parts"]:
                for key, text in _texts(root, part["path"], earlier):
                    record = {"id": key, field: text}
                    out.write((json.dumps(record, ensure_ascii=False) + "\n").encode())
    return paths


def _texts(root: Path, path: str, earlier: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield (id, text) of the held-out documents of one file, then of those as they were."""
    texts: dict[str, set[str]] = {}
    for batch in read_batches(root / path, ["id", "text"]):
        for key, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            texts.setdefault(key, set()).add(text)
            yield key, text
    measured = path.replace("heldout/", "measured/", 1)
    for folder in earlier if texts else ():
        for batch in read_batches(folder / measured, ["id", "text"]):
            for row, key in enumerate(batch.column("id").to_pylist()):
                if key in texts and (text := batch.column("text")[row].as_py()) not in texts[key]:
                    texts[key].add(text)
                    yield key, text


def adopt(root: Path, whole: Config, variant: Config) -> None:
    """Give a variant the finished stages of the whole build that are its own as well.

    Reading and measuring is most of a build's work, and of five variants only two measure what the
    whole does not. Files are linked, not copied: finished ones are never written to again. Whether
    a stage is indeed the variant's the build decides itself, by the key in its manifest.
    """
    stages: list[str] = []
    if all(whole.rules(name) == variant.rules(name) for name in whole.subsets):
        stages += RULES
        if variant.deduplicate.enabled:
            stages += DUPLICATES
    folder = Path(variant.output)
    pairs = [(root / path, folder / path) for path in (f"manifests/{s}.json" for s in stages)]
    pairs = [(source, target) for source, target in pairs if source.exists()]
    if all(target.exists() and read_json(target) == read_json(source) for source, target in pairs):
        return
    # Drop lists of another build, of parts that this one does not have, would count as its own.
    shutil.rmtree(folder, ignore_errors=True)
    for source, target in pairs:
        manifest = read_json(source)
        for file in manifest["files"]:
            _link(root / file["path"], folder / file["path"])
        write_json(target, manifest)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
