"""Writes measured parts and clean drop lists as the stages before would have left them."""

from pathlib import Path

import pyarrow as pa

from massivetext.config import Config, Subset
from massivetext.dataset import ParquetFile
from massivetext.document import DOCUMENT
from massivetext.dropped import DROPPED
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine


def write(root: Path, corpus: dict[str, list[list[dict]]], bad: dict[str, list[int]] | None = None):
    """Write `corpus` (subset -> parts -> documents) below `root`; `bad` maps a part's name to rows
    that the rules dropped. Return the manifests of `measure` and `clean`."""
    subsets = {}
    for name, parts in corpus.items():
        entries = []
        for number, documents in enumerate(parts):
            part = f"{name}/part-{number:05d}"
            rows = [{"source": "s", **document} for document in documents]
            with ParquetFile(root, f"measured/{part}.parquet", DOCUMENT) as file:
                file.write(pa.RecordBatch.from_pylist(rows, schema=DOCUMENT))
            drops = [
                {"id": "x", "subset": name, "stage": "clean", "rule": "r", "row": row}
                for row in (bad or {}).get(part, [])
            ]
            with ParquetFile(root, f"dropped/clean/{part}.parquet", DROPPED) as file:
                file.write(pa.RecordBatch.from_pylist(drops, schema=DROPPED))
            size = sum(len(document["text"]) for document in documents)
            entries.append({"name": part, "rows": len(rows), "bytes": size})
        subsets[name] = {"counts": {}, "parts": entries}
    return {"subsets": subsets, "files": []}, {"files": [], "bad": bad or {}}


def config(root: Path, subsets, **sections) -> Config:
    return Config(str(root), {name: Subset(("unused",)) for name in subsets}, **sections)


def context(root: Path, workers: int = 1) -> Context:
    return Context(root, Engine(workers=workers), quiet=True)
