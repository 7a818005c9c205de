"""Near duplicates: candidate pairs verified by exact Jaccard, and one survivor per cluster.

Only the shingle hashes of candidates travel. Pairs are brought together by their component in the
graph of candidates, so clusters (components of verified pairs) never cross a partition.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from massivetext.dataset import write_json
from massivetext.document import text_buffers
from massivetext.minhash import jaccard_pairs
from massivetext.shingles import shingle_hashes, sort_unique
from massivetext.unionfind import UnionFind

from .exact import Files, WriteByPart
from .exchange import Exchange
from .numbering import (
    Numbering,
    map_array,
    mark,
    marked,
    numpy_columns,
    partitions,
    save_array,
)

MEMORY = 256 << 20
PAIRS_A_BATCH = 1 << 18
TEXT_ROWS = 1024
# A row with a == b is a document and carries its shingles; one with a < b is a candidate pair.
ROW = pa.schema(
    [
        ("component", pa.uint32()),
        ("a", pa.uint32()),
        ("b", pa.uint32()),
        ("priority", pa.uint64()),
        ("shingles", pa.large_list(pa.uint64())),
    ]
)
NEAR = pa.schema(
    [
        ("part", pa.uint32()),
        ("number", pa.uint32()),
        ("survivor", pa.uint32()),
        ("partner", pa.uint32()),
        ("jaccard", pa.float64()),
    ]
)


def pair_files(files: Files) -> list[Path]:
    return sorted((files.work / "candidates" / "pairs").glob("*.npy"))


def unpack(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smaller and the larger number of each pair, uint32."""
    return (pairs >> np.uint64(32)).astype(np.uint32), pairs.astype(np.uint32)


def connect(files: Files) -> int:
    """Label the components of the candidate graph; return the number of candidate pairs."""
    total = files.numbering.total
    components = UnionFind(total)
    bits = np.zeros(total // 8 + 1, np.uint8)
    count = 0
    for path in pair_files(files):
        pairs = map_array(path)
        count += len(pairs)
        for start in range(0, len(pairs), PAIRS_A_BATCH):
            left, right = unpack(pairs[start : start + PAIRS_A_BATCH])
            components.add(left, right)
            mark(bits, left)
            mark(bits, right)
    save_array(files.work / "near" / "labels.npy", components.labels())
    save_array(files.work / "near" / "bits.npy", bits)
    return count


class ReadShingles(beam.DoFn):
    """Part -> a row with its sorted shingles for each document that is in a candidate pair."""

    def __init__(self, files: Files, ngram: int):
        self.files, self.ngram = files, ngram

    def process(self, part: int) -> Iterable[pa.RecordBatch]:
        first = int(self.files.numbering.first[part])
        stop = int(self.files.numbering.first[part + 1])
        numbers = marked(map_array(self.files.work / "near" / "bits.npy"), first, stop)
        if len(numbers) == 0:
            return
        table = pq.read_table(self.files.sketch(part), columns=["row", "priority"])
        row, priority = numpy_columns(table, "row", "priority")
        priority = priority[np.searchsorted(row, numbers - first)]
        label = map_array(self.files.work / "near" / "labels.npy")[numbers]
        for picked, text in self._texts(part, numbers - first):
            values, starts = sort_unique(*shingle_hashes(*text_buffers(text), self.ngram))
            number = pa.array(numbers[picked].astype(np.uint32))
            shingles = pa.LargeListArray.from_arrays(pa.array(starts), pa.array(values))
            columns = [pa.array(label[picked]), number, number, pa.array(priority[picked])]
            yield pa.RecordBatch.from_arrays([*columns, shingles], schema=ROW)

    def _texts(self, part: int, rows: np.ndarray) -> Iterator[tuple[slice, pa.Array]]:
        """Yield the texts of sorted `rows`, reading only the row groups that hold any."""
        with pq.ParquetFile(self.files.measured(part), memory_map=True) as file:
            base = 0
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if np.searchsorted(rows, base) < np.searchsorted(rows, base + size):
                    at = base
                    for batch in file.iter_batches(TEXT_ROWS, [group], columns=["text"]):
                        low, high = np.searchsorted(rows, [at, at + batch.num_rows])
                        if low < high:
                            wanted = pa.array(rows[low:high] - at)
                            yield slice(low, high), batch.column("text").take(wanted)
                        at += batch.num_rows
                base += size


class ReadPairs(beam.DoFn):
    """File of candidate pairs -> a row for each."""

    def __init__(self, files: Files):
        self.files = files

    def process(self, path: str) -> Iterable[pa.RecordBatch]:
        pairs = map_array(Path(path))
        labels = map_array(self.files.work / "near" / "labels.npy")
        for start in range(0, len(pairs), PAIRS_A_BATCH):
            left, right = unpack(pairs[start : start + PAIRS_A_BATCH])
            none = pa.array(np.zeros(len(left) + 1, np.int64))
            columns = [
                pa.array(labels[left]),
                pa.array(left),
                pa.array(right),
                pa.array(np.zeros(len(left), np.uint64)),
                pa.LargeListArray.from_arrays(none, pa.array([], pa.uint64())),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=ROW)


def _flat_lists(column: pa.ChunkedArray, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return all values of a column of lists as one array, and where each list starts.

    Above `MEMORY` the values lie in a file that is already unlinked: a component may be larger
    than memory, and the kernel can then evict what it does not need.
    """
    lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in column.chunks]
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    total = int(starts[-1])
    if 8 * total > MEMORY:
        with tempfile.TemporaryFile(dir=scratch) as file:
            values = np.asarray(np.memmap(file, np.uint64, "w+", shape=(total,)))
    else:
        values = np.empty(total, np.uint64)
    at = 0
    for chunk in column.chunks:
        piece = chunk.flatten().to_numpy()
        values[at : at + len(piece)] = piece
        at += len(piece)
    return values, starts


class Verify(beam.DoFn):
    """Components of the candidate graph -> the near duplicates to drop."""

    def __init__(self, files: Files, threshold: float):
        self.files, self.threshold = files, threshold
        self.numbering: Numbering = files.numbering

    def process(self, group: tuple[int, pa.Table]) -> Iterable[pa.RecordBatch]:
        partition, table = group
        a, b, priority = numpy_columns(table, "a", "b", "priority")
        document = np.flatnonzero(a == b)
        document = document[np.argsort(a[document])]
        number, priority = a[document], priority[document]
        pair = np.flatnonzero(a != b)
        pair = pair[np.lexsort((b[pair], a[pair]))]
        left, right = np.searchsorted(number, a[pair]), np.searchsorted(number, b[pair])
        values, starts = _flat_lists(table.column("shingles"), self.files.work)
        similarity = jaccard_pairs(values, starts, document[left], document[right])
        above = similarity > self.threshold
        counts = {"compared_pairs": len(pair), "verified_pairs": int(above.sum())}
        write_json(self.files.work / "near" / "counts" / f"{partition}.json", counts)
        lost, survivor, partner, best = choose(
            priority, left[above], right[above], similarity[above]
        )
        if len(lost):
            columns = [self.numbering.part_of(number[lost])]
            columns += [number[lost], number[survivor], number[partner], best]
            yield pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=NEAR)


def choose(
    priority: np.ndarray, left: np.ndarray, right: np.ndarray, similarity: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cluster documents 0..n-1 by verified pairs and keep the one of least priority in each.

    Args:
      priority: uint64 [n]; ties go to the smaller document.
      left, right: int64 [m] ends of the verified pairs; `similarity`: float64 [m].

    Returns:
      `(lost, survivor, partner, jaccard)` of every document that is no survivor: the survivor of
      its cluster, and the verified partner most similar to it (ties to the smaller document).
    """
    graph = UnionFind(len(priority))
    graph.add(left, right)
    label = graph.labels().astype(np.int64)
    order = np.lexsort((priority, label))
    first = np.flatnonzero(np.diff(label[order], prepend=-1))
    survivor_of = np.empty(len(priority), np.int64)
    survivor_of[label[order[first]]] = order[first]
    survivor = survivor_of[label]
    ends, others = np.concatenate([left, right]), np.concatenate([right, left])
    both = np.concatenate([similarity, similarity])
    order = np.lexsort((others, -both, ends))
    best = order[np.flatnonzero(np.diff(ends[order], prepend=-1))]
    best = best[survivor[ends[best]] != ends[best]]
    lost = ends[best]
    return lost, survivor[lost], others[best], both[best]


def find_near(
    pipeline: beam.Pipeline, files: Files, shingles: int, ngram: int, threshold: float
) -> None:
    """Build the pipeline that writes `near/<part>.arrow`."""
    count = len(files.numbering.names)
    documents = (
        pipeline
        | beam.Create(range(count), reshuffle=False)
        | "SpreadParts" >> beam.Reshuffle()
        | beam.ParDo(ReadShingles(files, ngram))
    )
    pairs = (
        pipeline
        | "PairFiles" >> beam.Create([str(path) for path in pair_files(files)], reshuffle=False)
        | "SpreadPairs" >> beam.Reshuffle()
        | beam.ParDo(ReadPairs(files))
    )
    _ = (
        (documents, pairs)
        | beam.Flatten()
        | "ByComponent" >> Exchange("component", partitions(8 * shingles), files.scratch("near"))
        | beam.ParDo(Verify(files, threshold))
        | "ByPart" >> Exchange("part", count, files.scratch("near"))
        | beam.ParDo(WriteByPart(files, "near"))
    )
