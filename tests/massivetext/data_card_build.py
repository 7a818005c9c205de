"""The output folder of a build with two small subsets, written by hand for the card's tests."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from massivetext.dataset import sha256_json
from massivetext.document import DOCUMENT
from massivetext.dropped import DROPPED
from massivetext.lineage import documents_identity, tokens_identity
from massivetext.rules import SIGNALS

MEASURED = pa.schema([*DOCUMENT, pa.field("text_bytes", pa.int64(), nullable=False), *SIGNALS])

CONFIG = """
output: out
subsets:
  massiveweb: {input: "pages.warc.gz", format: warc, rules: [language, quality]}
  books: {input: "books.jsonl", rules: []}
language: {model: lid.ftz, keep: [en], min_probability: 0.5}
quality: {min_words: 50, max_words: 1000}
"""

GOOD = {
    "language": "en",
    "language_probability": 0.9,
    "quality_words": 50,
    "quality_mean_word_length": 5.0,
    "quality_hash_ratio": 0.0,
    "quality_ellipsis_ratio": 0.0,
    "quality_bullet_lines": 0.0,
    "quality_ellipsis_lines": 0.0,
    "quality_alphabetic_words": 1.0,
    "quality_stop_words": 5,
}
# What each document of massiveweb has that a good one has not; the last fails three rules.
WEB: list[dict[str, Any]] = [
    {},
    {"url": "https://a.example/1"},
    {"quality_words": 49},
    {"quality_words": 1000},
    {"quality_words": 1001},
    {"language": "de", "url": "http://B.example:80/x"},
    {"language": "de", "language_probability": 0.25, "quality_words": 1},
]


def table(rows: list[dict[str, Any]], subset: str) -> pa.Table:
    whole = [
        {"id": f"{subset}/{i}", "text": "", "source": "s", "text_bytes": 100 * (i + 1)} | row
        for i, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(whole, schema=MEASURED)


def write(path: Path, rows: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)


def drop(root: Path, stage: str, subset: str, rows: list[int]) -> None:
    values = [
        {"id": f"{subset}/{row}", "subset": subset, "stage": stage, "rule": "r", "row": row}
        for row in rows
    ]
    path = root / "dropped" / stage / subset / "part-00000.parquet"
    write(path, pa.Table.from_pylist(values, schema=DROPPED))


def manifest(root: Path, stage: str, depends: dict[str, Any], **body: Any) -> dict[str, Any]:
    value = {"stage": stage, "key": "k", "depends": depends, "files": [], **body}
    path = root / "manifests" / f"{stage}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return value


def build(root: Path, until: str = "shards", config: str = CONFIG) -> Path:
    """Write the folder of a build that went up to `until`: measure, clean or shards."""
    (root / "manifests").mkdir(parents=True)
    (root / "config.yaml").write_text(config)
    web = table([GOOD | row for row in WEB], "massiveweb")
    books = table([{}, {}, {}], "books")
    entries = {}
    for name, rows in (("massiveweb", web), ("books", books)):
        path = f"measured/{name}/part-00000.parquet"
        write(root / path, rows)
        size = sum(rows["text_bytes"].to_pylist())
        counts = {"records": len(rows), "documents": len(rows), "text_bytes": size}
        part = {"name": f"{name}/part-00000", "path": path, "rows": len(rows), "bytes": size}
        entries[name] = {"counts": counts, "parts": [part]}
    measured = manifest(root, "measure", {"version": 1}, subsets=entries, counts={})
    if until == "measure":
        return root
    drop(root, "clean", "massiveweb", [2, 4, 5, 6])
    groups = {"massiveweb": ["language", "quality"], "books": []}
    web_counts = {"documents": 3, "text_bytes": 700}
    web_counts |= {"rule/language": 2, "rule/min_words": 1, "rule/max_words": 1}
    cleaned = manifest(
        root,
        "clean",
        {"measured": sha256_json(measured), "groups": groups},
        subsets={"massiveweb": web_counts, "books": {"documents": 3, "text_bytes": 600}},
    )
    if until == "clean":
        return root
    _rest(root, measured, cleaned)
    return root


def _rest(root: Path, measured: dict[str, Any], cleaned: dict[str, Any]) -> None:
    upstream = [sha256_json(measured), sha256_json(cleaned)]
    sketch = manifest(root, "sketch", {"upstream": upstream})
    drop(root, "near", "books", [2])
    counts = {"documents": 6, "exact": 0, "near": 1}
    near = manifest(root, "deduplicate", {"sketch": sha256_json(sketch)}, counts=counts)
    duplicate = {"id": "books/2", "cluster": "books/0", "kind": "near"}
    write(root / "duplicates/books/part-00000.parquet", pa.Table.from_pylist([duplicate]))
    upstream.append(sha256_json(near))
    drop(root, "overlap", "massiveweb", [3])
    copy = {"id": "massiveweb/3", "test_set": "t", "test_id": "9", "kind": "jaccard"}
    copy |= {"jaccard": 0.875, "containment": None, "start": 10, "end": 52}
    write(root / "overlaps/massiveweb/part-00000.parquet", pa.Table.from_pylist([copy]))
    sets = {"t": {"items": 4, "wordless": 0, "documents_jaccard": 1, "items_matched": 1}}
    overlap = manifest(root, "overlap", {"upstream": upstream}, test_sets=sets, counts={})
    upstream.append(sha256_json(overlap))

    def amount(documents: int, size: int) -> dict[str, int]:
        return {"documents": documents, "bytes": size}

    web = dict.fromkeys(("clean", "exact", "near"), amount(3, 700)) | {"overlap": amount(2, 300)}
    book = dict.fromkeys(("clean", "exact"), amount(3, 600))
    book |= dict.fromkeys(("near", "overlap"), amount(2, 300))
    documents = manifest(
        root,
        "documents",
        {"upstream": upstream},
        left={"massiveweb": web, "books": book},
        subsets={"massiveweb": amount(2, 300), "books": amount(1, 200)},
        heldout={"massiveweb": amount(0, 0), "books": amount(1, 100)},
    )
    identity = documents_identity(documents)
    model = {"vocab_size": 300, "sha256": "abc", "lossless": True}
    manifest(root, "tokenizer", {"documents": identity}, **model)
    each = {
        "massiveweb": {"documents": 2, "text_bytes": 300, "tokens": 100},
        "books": {"documents": 1, "text_bytes": 200, "tokens": 50},
    }
    tokens = manifest(root, "tokens", {"documents": identity}, subsets=each)
    share = {"available_tokens": 100, "sequences": 2, "tokens": 150, "epochs": 1.5, "weight": 0.5}
    manifest(
        root,
        "shards",
        {"tokens": tokens_identity(tokens), "mixture": {"stages": [], "tokens": 300}},
        sequence_length=75,
        sequences=4,
        subsets=[{"name": name, **share} for name in each],
    )
