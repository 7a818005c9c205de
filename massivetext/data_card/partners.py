"""How large the clusters of duplicates are, and what the copies of test items look like."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..document import text_buffers
from ..hashing import hash_rows
from . import files

# Hashes of clusters held at once; of more duplicates, the files are read several times.
HELD = 1 << 25
KINDS = ("url", "exact", "near")
EXAMPLES = 20
SEED = 0


def cluster_sizes(folder: Path, held: int = HELD) -> dict[str, dict[str, int]]:
    """Return, per kind of duplicate, how many clusters there are of each size.

    A size counts the survivor, and is a power of two or the next below: {"2": 7, "4": 1} says
    seven clusters of 2 or 3 documents and one of 4 to 7.

    Args:
      folder: `duplicates/` of a build.
    """
    paths = sorted(folder.glob("*/*.parquet"))
    rows = sum(files.rows(path) for path in paths)
    passes = max(1, -(-rows // held))
    sizes = {kind: np.zeros(64, np.int64) for kind in KINDS}
    for turn in range(passes):
        found: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
        for batch in _batches(paths, ("cluster", "kind")):
            hashes = hash_rows(*text_buffers(batch.column("cluster")), SEED)
            mine = hashes % np.uint64(passes) == turn
            for kind in KINDS:
                chosen = mine & np.asarray(pc.equal(batch.column("kind"), kind))
                found[kind].append(hashes[chosen])
        for kind, parts in found.items():
            if parts:
                _, counts = np.unique(np.concatenate(parts), return_counts=True)
                # The survivor is in the cluster, and in none of its rows.
                octave = np.log2(counts + 1).astype(np.int64)
                sizes[kind] += np.bincount(octave, minlength=64)
    return {
        kind: {str(1 << int(i)): int(counts[i]) for i in np.flatnonzero(counts)}
        for kind, counts in sizes.items()
        if counts.any()
    }


def overlap_examples(folder: Path) -> dict[str, Any]:
    """Return how many documents copy an item of each test set, and the first examples.

    The n-grams themselves are not stored: `bytes` is the length of the longest run of them.
    """
    counts: dict[str, dict[str, int]] = {}
    examples: list[dict[str, Any]] = []
    wanted = ("id", "test_set", "test_id", "kind", "jaccard", "containment", "start", "end")
    for batch in _batches(sorted(folder.glob("*/*.parquet")), wanted):
        if not batch.num_rows:
            continue
        rows = pa.Table.from_batches([batch])
        for row in rows.group_by(["test_set", "kind"]).aggregate([([], "count_all")]).to_pylist():
            entry = counts.setdefault(row["test_set"] or "titles", {})
            entry[row["kind"]] = entry.get(row["kind"], 0) + row["count_all"]
        examples += rows.slice(0, EXAMPLES - len(examples)).to_pylist()
    for row in examples:
        start, end = row.pop("start", None), row.pop("end", None)
        row["bytes"] = None if start is None or end is None else end - start
    return {"documents": dict(sorted(counts.items())), "examples": examples}


def _batches(paths: list[Path], columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    for path in paths:
        yield from files.batches(path, columns)
