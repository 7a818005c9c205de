"""Reading what earlier stages wrote, part by part, in bounded memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from massivetext.document import BATCH_ROWS

from .stage import Part


def measured_parts(measured: dict[str, Any], subsets: Sequence[str] | None = None) -> list[Part]:
    """Return a part for every measured file, with its subset and number of rows as arguments."""
    return [
        Part(entry["name"], entry["bytes"], {"subset": name, "rows": entry["rows"]})
        for name, subset in sorted(measured["subsets"].items())
        if subsets is None or name in subsets
        for entry in subset["parts"]
    ]


def read_batches(
    path: Path, columns: list[str] | None = None, rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a Parquet file, in order."""
    with pq.ParquetFile(path, memory_map=True) as file:
        yield from file.iter_batches(batch_size=rows, columns=columns)


def keep_mask(root: Path, part: Part, stages: Sequence[str]) -> np.ndarray:
    """Return bool[rows]: which rows of a measured part survive the drop lists of `stages`."""
    keep = np.ones(part.arguments["rows"], bool)
    for stage in stages:
        path = root / "dropped" / stage / f"{part.name}.parquet"
        if path.exists():
            keep[pq.read_table(path, columns=["row"]).column("row").to_numpy()] = False
    return keep
