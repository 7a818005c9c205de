"""Stage `shingles`: keeps the shingle hashes of what deduplication leaves, for later builds.

Output: `shingles/<subset>/part-*.parquet`, a row for every document that has words and was not
dropped by the rules or as a duplicate. With the sketches it is all that a later build needs to
remove duplicates of these documents (`deduplicate.against`): their text is not read again.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from massivetext.dataset import sha256_json
from massivetext.document import text_buffers
from massivetext.shingles import shingle_hashes, sort_unique
from massivetext.storage import Location, remove_tree
from massivetext.storage import remove as remove_file

from .context import Context
from .part import Part, PartOutput, add_counts
from .parts import keep_mask, read_batches
from .stage import materialise, run_parts

VERSION = 1
STAGE = "shingles"
DOCUMENT_ROWS = 1024

# Row of the document in the measured file of the same subset and part name; its distinct hashes,
# sorted.
SHINGLES = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("shingles", pa.large_list(pa.uint64()), nullable=False),
    ]
)


class KeepShingles:
    """Writes the shingles of the documents of one measured part that are left."""

    def __init__(self, ngram: int):
        self.ngram = ngram

    def setup(self) -> None:
        pass

    def run(self, part: Part, out: PartOutput) -> None:
        keep = keep_mask(out.root, part, ("clean", "exact", "near"))
        path = out.root / f"measured/{part.name}.parquet"
        start = 0
        with out.parquet(f"shingles/{part.name}.parquet", SHINGLES) as file:
            for batch in read_batches(path, ["text"], DOCUMENT_ROWS):
                rows = np.flatnonzero(keep[start : start + batch.num_rows])
                text = batch.column("text").take(pa.array(rows))
                values, starts = sort_unique(*shingle_hashes(*text_buffers(text), self.ngram))
                words = np.flatnonzero(np.diff(starts))
                shingles = pa.LargeListArray.from_arrays(pa.array(starts), pa.array(values))
                columns = [pa.array(rows[words] + start), shingles.take(pa.array(words))]
                file.write(pa.RecordBatch.from_arrays(columns, schema=SHINGLES))
                start += batch.num_rows
                out.counts["documents"] += len(words)
                out.counts["shingles"] += len(values)
                out.progress(part.bytes * start // max(1, len(keep)))


def run(
    context: Context, ngram: int, parts: list[Part], deduplicated: dict[str, Any]
) -> dict[str, Any]:
    """Return the manifest of `shingles`: `counts`, and `parts` with `name`, `subset` and `rows`
    (of the measured file)."""
    depends = {"deduplicate": sha256_json(deduplicated), "ngram": ngram, "version": VERSION}

    def produce(key: str) -> dict[str, Any]:
        results = run_parts(context, STAGE, key, parts, KeepShingles(ngram)) if parts else []
        return {
            "files": [file for result in results for file in result.files],
            "counts": add_counts(results),
            "parts": [{"name": part.name, **part.arguments} for part in parts],
        }

    return materialise(context, STAGE, depends, (STAGE,), produce)


def remove(root: Location) -> None:
    """Remove what the stage left in a dataset whose config no longer asks for it."""
    remove_tree(root / STAGE)
    remove_file(root / "manifests" / f"{STAGE}.json")
