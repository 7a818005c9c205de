"""Gathers the data of the card: manifests, stored signals, duplicates and overlaps; no text."""

import platform
from pathlib import Path
from typing import Any

from .. import __version__, lineage
from ..card import card
from ..config import Config
from ..config_file import load, to_dict
from ..dataset import sha256_json
from ..errors import ConfigError
from ..rules import RULES, signal_of, threshold
from . import datasheet, times, training
from .measured import Scan
from .partners import cluster_sizes, overlap_examples

FORMAT = "massivetext-card"
VERSION = 1

# The stages of every build, and what the card lacks without each.
STAGES = {
    "measure": "documents and signals",
    "clean": "what the rules dropped",
    "sketch": "sketches of the documents",
    "deduplicate": "duplicates",
    "overlap": "copies of test documents",
    "documents": "training and held-out documents",
    "tokenizer": "vocabulary",
    "tokens": "tokens by subset",
    "shards": "mixture and epochs",
}
# The folders below `dropped/` that each stage writes.
_DROPS = {
    "clean": ("clean",),
    "deduplicate": ("exact", "near"),
    "spans": ("spans",),
    "overlap": ("overlap",),
}


def gather(root: Path) -> dict[str, Any]:
    """Return the card of the dataset at `root` as JSON: a superset of the build's `card.json`.

    Stages that have not run, or not since an earlier one changed, are absent and listed under
    `missing`.

    Raises:
      ConfigError: `root` is not the output of a build, or its `card.yaml` is wrong.
    """
    if not (root / "manifests").is_dir():
        raise ConfigError(f"{root} is not the output of a build (it has no manifests)")
    manifests = lineage.load(root)
    stale = lineage.stale(manifests)
    missing = _missing(manifests, stale)
    manifests = {stage: m for stage, m in manifests.items() if stage not in stale}
    config = _config(root, missing)
    measured = _scan(root, manifests, config, missing)
    value: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": {"massivetext": __version__, "python": platform.python_version()},
        **card(root),
        "measured": measured,
        "thresholds": {} if config is None else thresholds(config),
        "config": None if config is None else to_dict(config),
        "stages": {stage: _stage(manifest) for stage, manifest in manifests.items()},
        "seconds": times.seconds(root, manifests),
    }
    if "deduplicate" in manifests:
        value["duplicates"] = {
            "counts": manifests["deduplicate"]["counts"],
            "clusters": cluster_sizes(root / "duplicates"),
        }
    if "overlap" in manifests:
        value["overlaps"] = overlap_examples(root / "overlaps")
    if "tokenizer" in manifests:
        value["tokenizer"] = _pick(
            manifests["tokenizer"], "vocab_size", "sha256", "lossless", "report"
        )
    if "tokens" in manifests:
        value["tokens"] = {
            name: {key: entry[key] for key in ("documents", "text_bytes", "tokens")}
            for name, entry in manifests["tokens"]["subsets"].items()
        }
    if "shards" in manifests:
        value["mixture"] = _pick(manifests["shards"], "sequence_length", "sequences", "subsets")
        value["mixture"]["config"] = manifests["shards"]["depends"].get("mixture")
    trained = training.summary(root / "train" / "metrics.jsonl")
    if trained is not None:
        value["training"] = trained
    value["missing"] = missing
    value["datasheet"] = datasheet.answers(root, value)
    return value


def thresholds(config: Config) -> dict[str, list[dict[str, Any]]]:
    """Return, by signal, the rules that hold it against a number, and that number."""
    found: dict[str, list[dict[str, Any]]] = {}
    for rule in RULES:
        limit = threshold(config, rule)
        if limit is not None:
            found.setdefault(signal_of(rule), []).append({"rule": str(rule), "limit": limit})
    return found


def _pick(manifest: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: manifest.get(key) for key in keys}


def _missing(manifests: dict[str, Any], stale: list[str]) -> list[str]:
    lines = [
        f"{stage} has not finished, so the card lacks: {lacks}"
        for stage, lacks in STAGES.items()
        if stage not in manifests
    ]
    lines += [f"{stage} was made before an earlier stage changed: left out" for stage in stale]
    return lines


def _config(root: Path, missing: list[str]) -> Config | None:
    try:
        return load(root / "config.yaml").config
    except ConfigError as error:
        missing.append(f"config.yaml cannot be used, so rules and thresholds are unknown: {error}")
        return None


def _scan(
    root: Path, manifests: dict[str, Any], config: Config | None, missing: list[str]
) -> dict[str, Any]:
    """Return what the signals of each subset say."""
    drops = [folder for stage in manifests for folder in _DROPS.get(stage, ())]
    result = {}
    for name, subset in manifests.get("measure", {}).get("subsets", {}).items():
        scan = Scan(name, config)
        for part in subset["parts"]:
            path = root / part["path"]
            if not path.is_file():
                missing.append(f"{part['path']} is missing: its {part['rows']:,} documents too")
                continue
            file = f"{part['name']}.parquet"
            scan.read(path, [root / "dropped" / folder / file for folder in drops])
        if scan.problem:
            missing.append(f"rules of {name}: {scan.problem}; run a build with this version")
        found = scan.result()
        result[name] = found
        groups = manifests.get("clean", {}).get("depends", {}).get("groups", {}).get(name)
        if groups is None:
            groups = [str(group) for group in scan.groups or ()]
        result[name]["groups"] = groups
        counted = manifests.get("clean", {}).get("subsets", {}).get(name)
        if counted is None or scan.problem or config is None:
            continue
        was = {k.removeprefix("rule/"): v for k, v in counted.items() if k.startswith("rule/")}
        now = {rule: entry["first"] for rule, entry in found["rules"].items() if entry["first"]}
        if was != now:
            missing.append(
                f"rules of {name}: config.yaml has other thresholds than clean ran with; which "
                "rules fail is by config.yaml, what was dropped is by clean"
            )
    return result


def _stage(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what a stage wrote, and digests that change when any byte of it does."""
    files = manifest["files"]
    return {
        "key": manifest["key"],
        "version": manifest["depends"].get("version"),
        "files": len(files),
        "bytes": sum(file["bytes"] for file in files),
        "sha256": sha256_json([[file["path"], file["sha256"]] for file in files]),
    }
