"""Near duplicates: candidate pairs verified by exact Jaccard, and one survivor per cluster.

Only the shingle hashes of candidates travel: those of this build's documents are computed from
their text, those of earlier builds' were kept. Pairs are brought together by their component in the
graph of candidates, so clusters (components of verified pairs) never cross a partition.
"""

import tempfile
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa

from massivetext.dataset import open_parquet, read_table, write_json
from massivetext.document import text_buffers
from massivetext.errors import StageError
from massivetext.mapped import map_array, save_array
from massivetext.minhash import jaccard_pairs
from massivetext.scratch import scratch_folder
from massivetext.shingles import shingle_hashes, sort_unique
from massivetext.storage import Location, location, sizes
from massivetext.unionfind import UnionFind

from .context import MakeExchange
from .exact import Files, WriteByPart
from .numbering import mark, marked, numpy_columns

MEMORY = 256 << 20
PAIRS_A_BATCH = 1 << 18
DOCUMENT_ROWS = 1024
ROW_BYTES = 28
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


def pair_files(files: Files) -> list[Location]:
    folder = files.work / "candidates" / "pairs"
    return [folder / name for name in sorted(sizes(folder)) if name.endswith(".npy")]


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


def exchanged_bytes(files: Files, pairs: int) -> int:
    """Return how many bytes verification moves: candidate pairs and their documents' shingles."""
    bits = map_array(files.work / "near" / "bits.npy")
    total = ROW_BYTES * pairs
    for part in range(len(files.numbering.names)):
        first, stop = files.numbering.first[part : part + 2].tolist()
        numbers = marked(bits, first, stop)
        if len(numbers):
            table = read_table(files.sketch(part), ["row", "shingles"])
            row, shingles = numpy_columns(table, "row", "shingles")
            found = shingles[np.searchsorted(row, numbers - first)]
            total += 8 * int(found.sum()) + ROW_BYTES * len(numbers)
    return total


class ReadRows(beam.DoFn):
    """Part -> a row with its sorted shingles for each document that is in a candidate pair; file of
    candidate pairs -> a row for each.

    One function for both: Beam would send the output of two through the driver to unite it.
    """

    def __init__(self, files: Files, ngram: int):
        self.files, self.ngram = files, ngram

    def process(self, part_or_path: int | str) -> Iterable[pa.RecordBatch]:
        if isinstance(part_or_path, int):
            yield from self._documents(part_or_path)
        else:
            yield from self._pairs(location(part_or_path))
        self.files.tick("near")

    def _documents(self, part: int) -> Iterator[pa.RecordBatch]:
        first = int(self.files.numbering.first[part])
        stop = int(self.files.numbering.first[part + 1])
        numbers = marked(map_array(self.files.work / "near" / "bits.npy"), first, stop)
        if len(numbers):
            table = read_table(self.files.sketch(part), ["row", "priority"])
            row, priority = numpy_columns(table, "row", "priority")
            priority = priority[np.searchsorted(row, numbers - first)]
            priority = self.files.priority(part, priority)
            label = map_array(self.files.work / "near" / "labels.npy")[numbers]
            for picked, shingles in self._shingles(part, numbers - first):
                number = pa.array(numbers[picked].astype(np.uint32))
                columns = [pa.array(label[picked]), number, number, pa.array(priority[picked])]
                yield pa.RecordBatch.from_arrays([*columns, shingles], schema=ROW)

    def _pairs(self, path: Location) -> Iterator[pa.RecordBatch]:
        pairs = map_array(path)
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

    def _shingles(self, part: int, rows: np.ndarray) -> Iterator[tuple[slice, pa.Array]]:
        """Yield the sorted shingles of sorted `rows`, and which of the rows they are of."""
        if self.files.build(part) is not None:
            path = self.files.shingles(part)
            kept = read_table(path, ["row"]).column("row").to_numpy()
            yield from _pick(path, "shingles", np.searchsorted(kept, rows))
            return
        for picked, text in _pick(self.files.measured(part), "text", rows):
            values, starts = sort_unique(*shingle_hashes(*text_buffers(text), self.ngram))
            yield picked, pa.LargeListArray.from_arrays(pa.array(starts), pa.array(values))


def _pick(path: Location, column: str, rows: np.ndarray) -> Iterator[tuple[slice, pa.Array]]:
    """Yield a column of a Parquet file at sorted `rows`, reading only the row groups that hold any,
    and which of the rows it is."""
    with open_parquet(path) as file:
        base = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if np.searchsorted(rows, base) < np.searchsorted(rows, base + size):
                at = base
                for batch in file.iter_batches(DOCUMENT_ROWS, [group], columns=[column]):
                    low, high = np.searchsorted(rows, [at, at + batch.num_rows])
                    if low < high:
                        wanted = pa.array(rows[low:high] - at)
                        yield slice(low, high), batch.column(column).take(wanted)
                    at += batch.num_rows
            base += size


def _flat_lists(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return all values of a column of lists as one array, and where each list starts.

    Above `MEMORY` the values lie in a file that is already unlinked: a component may be larger
    than memory, and the kernel can then evict what it does not need.
    """
    lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in column.chunks]
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    total = int(starts[-1])
    if 8 * total > MEMORY:
        with tempfile.TemporaryFile(dir=scratch_folder()) as file:
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

    def process(self, group: tuple[int, pa.Table]) -> Iterable[pa.RecordBatch]:
        partition, table = group
        a, b, priority = numpy_columns(table, "a", "b", "priority")
        document = np.flatnonzero(a == b)
        document = document[np.argsort(a[document])]
        number, priority = a[document], priority[document]
        pair = np.flatnonzero(a != b)
        pair = pair[np.lexsort((b[pair], a[pair]))]
        left, right = np.searchsorted(number, a[pair]), np.searchsorted(number, b[pair])
        ends = np.concatenate([left, right]), np.concatenate([a[pair], b[pair]])
        if (np.take(number, ends[0], mode="clip") != ends[1]).any():
            raise StageError(
                "shingles of candidate documents were lost on their way to be compared"
            )
        values, starts = _flat_lists(table.column("shingles"))
        similarity = jaccard_pairs(values, starts, document[left], document[right])
        above = similarity > self.threshold
        counts = {"compared_pairs": len(pair), "verified_pairs": int(above.sum())}
        write_json(self.files.work / "near" / "counts" / f"{partition}.json", counts)
        found = choose(priority, left[above], right[above], similarity[above])
        # Two documents of earlier builds that a new one links both stay.
        new = number[found[0]] >= self.files.numbering.first_own
        lost, survivor, partner, best = (column[new] for column in found)
        if len(lost):
            columns = [self.files.numbering.part_of(number[lost])]
            columns += [number[lost], number[survivor], number[partner], best]
            yield pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=NEAR)
        self.files.tick("near")


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
    pipeline: beam.Pipeline,
    exchange: MakeExchange,
    files: Files,
    ngram: int,
    threshold: float,
    size: int,
) -> None:
    """Build the pipeline that writes `near/<part>.arrow`.

    `size` is the number of partitions by component: `partitions(exchanged_bytes(...))`.
    """
    count = len(files.numbering.names)
    units = [*range(count), *map(str, pair_files(files))]
    _ = (
        pipeline
        | beam.Create(units, reshuffle=False)
        | beam.Reshuffle()
        | beam.ParDo(ReadRows(files, ngram))
        | "ByComponent" >> exchange("component", size)
        | beam.ParDo(Verify(files, threshold))
        | "ByPart" >> exchange("part", count)
        | beam.ParDo(WriteByPart(files, "near"))
    )
