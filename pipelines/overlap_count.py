"""First step of the containment rule: which n-grams of test documents every document holds.

A document's share of a test item can be judged only when it is known how common the item's n-grams
are in the whole corpus. So one step reads the text and writes, for every part, the n-grams found in
its documents (usually few) and how many documents hold each; the deciding step needs no more.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from massivetext.containment import Weights, count_documents, weigh
from massivetext.document import text_buffers
from massivetext.mapped import map_array, read_arrow
from massivetext.overlap_hits import Hits, find_hits
from massivetext.overlap_index import Index
from massivetext.storage import Location

from .part import Part, PartOutput
from .parts import CutReader, keep_mask, read_batches

# Of a document with test n-grams: its row in the measured part, and what `Hits` has of it.
_HITS = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("words", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("keys", pa.large_list(pa.uint32()), nullable=False),
    ]
)


def hits_file(work: str, part: str) -> str:
    return f"{work}/hits/{part}.arrow"


def _counts_file(work: str, part: str) -> str:
    return f"{work}/counts/{part}.npy"


class CountDocuments:
    """Finds the test n-grams in the surviving documents of one measured part.

    Args:
      work: folder of the step's files, relative to the dataset; the index is in `work/index`.
    """

    def __init__(self, work: str, root: Location, ngram: int, stages: Sequence[str]):
        self.work, self.root, self.ngram, self.stages = work, root, ngram, stages
        self.index: Index | None = None

    def setup(self) -> None:
        self.index = Index.open(self.root / self.work / "index", self.ngram)

    def run(self, part: Part, out: PartOutput) -> None:
        assert self.index is not None
        keep = keep_mask(out.root, part, self.stages)
        cuts = CutReader(out.root, part)
        df = np.zeros(len(self.index.keys), np.uint32)
        start = 0
        with (
            out.file(hits_file(self.work, part.name)) as file,
            pa.ipc.new_file(pa.PythonFile(file, "w"), _HITS) as writer,
        ):
            path = out.root / f"measured/{part.name}.parquet"
            for batch in read_batches(path, ["text"]):
                batch = cuts.cut(batch, start)
                rows = np.flatnonzero(keep[start : start + batch.num_rows])
                kept = batch.take(pa.array(rows))
                out.counts["documents"] += len(rows)
                hits = find_hits(*text_buffers(kept.column("text")), self.index, short=True)
                count_documents(hits, df)
                writer.write_batch(_to_batch(hits, rows + start))
                start += batch.num_rows
                out.progress(part.bytes * start // max(1, len(keep)))
        # Only what occurs, so that the files of many parts stay small beside a large index.
        held = np.flatnonzero(df)
        with out.file(_counts_file(self.work, part.name)) as file:
            np.save(file, np.stack([held.astype(np.uint32), df[held]]), allow_pickle=False)  # type: ignore[arg-type]


def _to_batch(hits: Hits, rows: np.ndarray) -> pa.RecordBatch:
    """The rows that hold a key, by their number in the measured part."""
    at = np.flatnonzero(np.diff(hits.starts))
    # Rows without keys have no length, so the others' starts still cut the flat keys.
    starts = pa.array(np.append(hits.starts[at], len(hits.keys)), pa.int64())
    keys = pa.LargeListArray.from_arrays(starts, pa.array(hits.keys, pa.uint32()))
    columns = [pa.array(values) for values in (rows[at], hits.words[at], hits.sizes[at])]
    return pa.RecordBatch.from_arrays([*columns, keys], schema=_HITS)


class StoredHits:
    """The hits of one measured part, mapped from disk."""

    def __init__(self, path: Location):
        self._table = read_arrow(path, _HITS)
        self._rows = self._table.column("row").to_numpy()

    def of(self, rows: np.ndarray) -> Hits:
        """Return the hits of some documents of the part, by ascending rows."""
        first, stop = np.searchsorted(self._rows, [rows[0], rows[-1] + 1]) if len(rows) else (0, 0)
        table = self._table.slice(first, stop - first)
        at = np.searchsorted(rows, table.column("row").to_numpy())
        lists = table.column("keys").combine_chunks()
        counts = np.zeros(len(rows), np.int64)
        counts[at] = np.diff(lists.offsets.to_numpy())
        words, sizes = np.zeros((2, len(rows)), np.int64)
        words[at] = table.column("words").to_numpy()
        sizes[at] = table.column("size").to_numpy()
        starts = np.append(0, np.cumsum(counts))
        return Hits(starts, lists.flatten().to_numpy(), words, sizes)


def sum_documents(root: Location, work: str, parts: list[Part], index: Index) -> np.ndarray:
    """Return how many documents of all parts hold each key: uint32 [k]."""
    df = np.zeros(len(index.keys), np.uint32)
    for part in parts:
        held, counts = map_array(root / _counts_file(work, part.name))
        df[held] += counts
    return df


def save_weights(
    root: Location, work: str, parts: list[Part], index: Index, documents: int
) -> Weights:
    """Weigh the index's n-grams by all parts' counts; write the weights for the deciding step."""
    weights = weigh(index, sum_documents(root, work, parts, index), documents)
    weights.save(root / work / "weights")
    return weights
