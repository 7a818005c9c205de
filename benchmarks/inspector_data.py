"""The output folder of a build that never ran: as many documents as wanted, short texts, signals.

Laid out and written as the build does it, with row groups of the same size; what the documents say
is made of a few words, and what was dropped is drawn at random.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from massivetext.config_rules import RuleGroup
from massivetext.dataset import ParquetFile, sha256_json, write_json
from massivetext.document import DOCUMENT
from massivetext.dropped import DROPPED
from massivetext.rules import RULES, SIGNALS, group_of, signal_of

PART_ROWS = 100_000
_BATCH_ROWS = 10_000
_WORDS = np.array(
    "the of and to in that have with language model data text filter rule page line word count "
    "river stone quiet paper green letter window garden music winter summer harbour engine".split()
)
_MEASURED = pa.schema([*DOCUMENT, pa.field("text_bytes", pa.int64(), nullable=False), *SIGNALS])
_DUPLICATE = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("id", "survivor", "cluster", "partner")),
        pa.field("jaccard", pa.float64()),
        pa.field("kind", pa.string()),
    ]
)
_GOPHER = (RuleGroup.QUALITY, RuleGroup.REPETITION)
# A rule that drops almost nothing, and one that drops every fourth document.
_RARE, _COMMON = "max_hash_ratio", "max_duplicate_5gram"
CONFIG = """output: .
subsets:
  massiveweb: {input: nowhere.warc.gz, format: warc}
"""
# What a query finds once in so many documents.
RARE_WORD, RARE_ROWS = "zephyranthes", 250_000
_HOSTS = 20_000
_LANGUAGES = np.array(["en", "en", "en", "en", "en", "de", "fr", "es"])
_DROPS = ("clean", "exact", "near", "overlap")


def write(root: Path, documents: int) -> None:
    """Write the folder: `documents` of the subset massiveweb, of which a third was dropped."""
    root.mkdir(parents=True)
    (root / "config.yaml").write_text(CONFIG)
    parts: list[dict[str, Any]] = []
    files: dict[str, list[dict[str, Any]]] = {
        stage: [] for stage in ("measure", "clean", "deduplicate", "overlap", "documents")
    }
    for index, start in enumerate(range(0, documents, PART_ROWS)):
        rows = min(PART_ROWS, documents - start)
        name = f"massiveweb/part-{index:05d}"
        size = _measured(root, name, start, rows, files["measure"])
        path = f"measured/{name}.parquet"
        parts.append({"name": name, "path": path, "rows": rows, "bytes": size})
        _decided(root, name, start, rows, files)
    _manifests(root, parts, files)


def _measured(root: Path, name: str, start: int, rows: int, files: list[dict[str, Any]]) -> int:
    """Write the measured documents of a part; return how many bytes their texts have."""
    random = np.random.default_rng(start)
    size = 0
    with ParquetFile(root, f"measured/{name}.parquet", _MEASURED) as file:
        for first in range(start, start + rows, _BATCH_ROWS):
            batch = _batch(random, first, min(_BATCH_ROWS, start + rows - first))
            size += int(batch.column("text_bytes").to_numpy().sum())
            file.write(batch)
    files.append(asdict(file.record))
    return size


def _batch(random: np.random.Generator, first: int, rows: int) -> pa.RecordBatch:
    numbers = range(first, first + rows)
    lengths = random.integers(10, 50, rows)
    words = _WORDS[random.integers(0, len(_WORDS), lengths.sum())].tolist()
    ends = np.cumsum(lengths).tolist()
    texts = [
        " ".join(words[a:b]) + (f" {RARE_WORD}" if n % RARE_ROWS == RARE_ROWS // 2 else "")
        for a, b, n in zip([0, *ends[:-1]], ends, numbers, strict=True)
    ]
    columns: dict[str, Any] = {
        "id": [f"massiveweb/crawl.warc.gz#{n}" for n in numbers],
        "text": texts,
        "source": ["crawl.warc.gz"] * rows,
        "url": [f"https://{n % _HOSTS}.example.org/{n}" for n in numbers],
        "text_bytes": [len(text) for text in texts],
        "language": _LANGUAGES[random.integers(0, len(_LANGUAGES), rows)].tolist(),
        "language_probability": random.random(rows, np.float32),
    }
    for rule in (rule for rule in RULES if group_of(rule) in _GOPHER):
        kind = SIGNALS.field(signal_of(rule)).type
        # Shares with a long tail, in thousandths; counts like words'.
        values = np.round(random.beta(1, 12, rows), 3)
        if pa.types.is_integer(kind):
            values = random.geometric(1 / 400, rows)
        elif "length" in rule or "alphabetic" in rule:
            values = np.round(4 + values, 3) if "length" in rule else 1 - values
        columns[signal_of(rule)] = values
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type)
        for f in _MEASURED
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=_MEASURED)


def _decided(
    root: Path, name: str, start: int, rows: int, files: dict[str, list[dict[str, Any]]]
) -> None:
    """Write what became of a part's documents."""
    random = np.random.default_rng([start, 1])
    draw = random.random(rows)
    taken = {
        "clean": np.flatnonzero(draw < 0.3),
        "near": np.flatnonzero((draw >= 0.3) & (draw < 0.34)),
        "exact": np.flatnonzero((draw >= 0.34) & (draw < 0.35)),
        "overlap": np.flatnonzero((draw >= 0.35) & (draw < 0.35001)),
    }
    common = [r for r in RULES if group_of(r) in _GOPHER and str(r) != _RARE]
    for stage, lost in taken.items():
        names = np.full(len(lost), f"{stage}_rule", object)
        if stage == "clean":
            names = np.array([str(rule) for rule in common])[random.integers(0, 20, len(lost))]
            names[random.random(len(lost)) < 0.8] = _COMMON
            names = np.where(random.random(len(lost)) < 1e-4, _RARE, names)
        values = {
            "id": [f"massiveweb/crawl.warc.gz#{start + row}" for row in lost],
            "subset": ["massiveweb"] * len(lost),
            "stage": [stage] * len(lost),
            "rule": names.tolist(),
            "value": random.random(len(lost)),
            "threshold": np.full(len(lost), 0.15),
            "row": lost,
            "partner": [f"massiveweb/crawl.warc.gz#{start + row // 2}" for row in lost],
            "detail": [None] * len(lost),
        }
        owner = "deduplicate" if stage in ("near", "exact") else stage
        files[owner].append(_file(root, f"dropped/{stage}/{name}.parquet", DROPPED, values))
        if stage == "near":
            partners = values["partner"]
            found = {"id": values["id"], "survivor": partners, "cluster": partners}
            found |= {"partner": partners, "jaccard": values["value"], "kind": ["near"] * len(lost)}
            files[owner].append(_file(root, f"duplicates/{name}.parquet", _DUPLICATE, found))
    aside = np.flatnonzero(draw > 0.9999)
    ids = {"id": [f"massiveweb/crawl.warc.gz#{start + row}" for row in aside]}
    heldout = _file(root, f"heldout/{name}.parquet", pa.schema([("id", pa.string())]), ids)
    files["documents"].append(heldout)


def _file(root: Path, path: str, schema: pa.Schema, values: dict[str, Any]) -> dict[str, Any]:
    arrays = [pa.array(values[f.name], f.type) for f in schema]
    with ParquetFile(root, path, schema) as file:
        file.write(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return asdict(file.record)


def _manifests(root: Path, parts: list[Any], files: dict[str, list[dict[str, Any]]]) -> None:
    documents, size = (sum(part[key] for part in parts) for key in ("rows", "bytes"))
    lost = {
        drop: sum(f["rows"] for own in files.values() for f in own if _below(f, f"dropped/{drop}"))
        for drop in _DROPS
    }
    heldout = sum(f["rows"] for f in files["documents"])
    digests: list[str] = []

    def counted(count: int, key: str = "bytes") -> dict[str, int]:
        # Which texts went is drawn at random, so what is left has their mean.
        return {"documents": count, key: count * size // documents}

    def manifest(stage: str, depends: dict[str, Any], **body: Any) -> str:
        value = {"stage": stage, "key": stage, "depends": depends, "files": files.get(stage, [])}
        value |= body
        write_json(root / "manifests" / f"{stage}.json", value)
        return sha256_json(value)

    left, count = {}, documents
    for drop in _DROPS:
        count -= lost[drop]
        left[drop] = counted(count)
    counts = {"records": documents, **counted(documents, "text_bytes")}
    digests.append(
        manifest("measure", {}, subsets={"massiveweb": {"counts": counts, "parts": parts}})
    )
    cleaned = counted(left["clean"]["documents"], "text_bytes")
    digests.append(manifest("clean", {"measured": digests[0]}, subsets={"massiveweb": cleaned}))
    sketch = manifest("sketch", {"upstream": digests})
    kinds = {key: lost[key] for key in ("exact", "near")}
    digests.append(manifest("deduplicate", {"sketch": sketch}, counts=kinds))
    digests.append(manifest("overlap", {"upstream": digests}, test_sets={}))
    manifest(
        "documents",
        {"upstream": digests},
        left={"massiveweb": left},
        subsets={"massiveweb": counted(count - heldout)},
        heldout={"massiveweb": counted(heldout)},
    )


def _below(file: dict[str, Any], folder: str) -> bool:
    return file["path"].startswith(f"{folder}/")
