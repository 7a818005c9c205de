"""datatrove, jsonl to deduplicated Parquet: Gopher's filters, MinHash, clusters, writer.

`seconds` are those of all its steps, reading and writing included, without loading the tokenizer.
The MinHash is datatrove's default (14 buckets of 8 hashes of 5-grams).
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from contender import Document, Stopwatch, main
from datatrove.data import Document as TroveDocument
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter, ParquetWriter


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    config = MinhashConfig()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "in").mkdir()
        with open(folder / "in" / "part.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(document) + "\n" for document in documents)
        quality = GopherQualityFilter()
        # Loads the tokenizer.
        quality.filter(TroveDocument(text="the words of a first document", id="first"))
        clean = str(folder / "clean")
        signatures, buckets, remove = (str(folder / n) for n in ("signatures", "buckets", "remove"))
        steps = {
            "clean": [
                JsonlReader(str(folder / "in")),
                GopherRepetitionFilter(),
                quality,
                JsonlWriter(clean, compression=None),
            ],
            "signatures": [JsonlReader(clean), MinhashDedupSignature(signatures, config)],
            "buckets": [MinhashDedupBuckets(signatures, buckets, config=config)],
            "cluster": [MinhashDedupCluster(buckets, remove, config=config)],
            "filter": [
                JsonlReader(clean),
                MinhashDedupFilter(remove),
                ParquetWriter(str(folder / "out")),
            ],
        }
        seconds = {}
        total = Stopwatch()
        for name, step in steps.items():
            watch = Stopwatch()
            size = config.num_buckets if name == "buckets" else 1
            with watch, total:
                for rank in range(size):
                    kept = _run(step, rank, size)
            seconds[name] = watch.cpu
    return {
        **total.result(),
        "seconds_by": seconds,
        "kept": kept,
        "configuration": "JsonlReader, GopherRepetitionFilter, GopherQualityFilter, "
        f"MinhashDedup* with {config}, ParquetWriter; all defaults",
    }


def _run(steps: list[Any], rank: int, size: int) -> int:
    """Run a pipeline as its executor does; return how many documents come out at its end."""
    data: Any = None
    for step in steps:
        data = step(data, rank, size)
    return sum(1 for _ in data or ())


main(measure)
