"""Reading what earlier stages wrote, part by part, in bounded memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from massivetext.cuts import apply_cuts
from massivetext.dataset import open_parquet, read_table
from massivetext.document import BATCH_ROWS
from massivetext.storage import Location, exists

from .part import Part


def measured_parts(measured: dict[str, Any], subsets: Sequence[str] | None = None) -> list[Part]:
    """Return a part for every measured file, with its subset and number of rows as arguments."""
    return [
        Part(entry["name"], entry["bytes"], {"subset": name, "rows": entry["rows"]})
        for name, subset in sorted(measured["subsets"].items())
        if subsets is None or name in subsets
        for entry in subset["parts"]
    ]


def read_batches(
    path: Location, columns: list[str] | None = None, rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a Parquet file, in order."""
    with open_parquet(path) as file:
        yield from file.iter_batches(batch_size=rows, columns=columns)


def keep_mask(root: Location, part: Part, stages: Sequence[str]) -> np.ndarray:
    """Return bool[rows]: which rows of a measured part survive the drop lists of `stages`."""
    keep = np.ones(part.arguments["rows"], bool)
    for stage in stages:
        path = root / "dropped" / stage / f"{part.name}.parquet"
        if exists(path):
            keep[read_table(path, ["row"]).column("row").to_numpy()] = False
    return keep


class CutReader:
    """Reads what stage `spans` has cut out of a measured part, row by row, in bounded memory.

    Without that stage there is nothing to read, and nothing is cut.
    """

    def __init__(self, root: Location, part: Part):
        path = root / "spans" / f"{part.name}.parquet"
        names = ["row", "start", "stop"]
        self._batches = read_batches(path, names, 1 << 16) if exists(path) else iter(())
        self._ahead = [np.zeros(0, np.int64)] * 3

    def _take(self, stop: int) -> list[np.ndarray]:
        """Return rows, starts and stops of the cuts of rows up to `stop`, each once."""
        found = []
        while True:
            here = int(np.searchsorted(self._ahead[0], stop))
            found.append([column[:here] for column in self._ahead])
            self._ahead = [column[here:] for column in self._ahead]
            if len(self._ahead[0]) or (batch := next(self._batches, None)) is None:
                return [np.concatenate(columns) for columns in zip(*found, strict=True)]
            self._ahead = [column.to_numpy() for column in batch.columns]

    def lost_bytes(self, first: int, count: int) -> np.ndarray:
        """Return how many bytes each of `count` rows loses, int64; rows must ascend."""
        row, start, stop = self._take(first + count)
        lost = np.zeros(count, np.int64)
        np.add.at(lost, row - first, stop - start)
        return lost

    def cut(self, batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
        """Return a batch, whose first row is `first`, without what is cut out of its `text`, and
        with its `text_bytes`, if there, as they then are; rows must ascend."""
        row, start, stop = self._take(first + batch.num_rows)
        if len(row) == 0:
            return batch
        text = apply_cuts(batch.column("text"), row - first, start, stop)
        batch = batch.set_column(batch.schema.get_field_index("text"), batch.field("text"), text)
        index = batch.schema.get_field_index("text_bytes")
        if index >= 0:
            size = pc.binary_length(text).cast(pa.int64())
            batch = batch.set_column(index, batch.field("text_bytes"), size)
        return batch
