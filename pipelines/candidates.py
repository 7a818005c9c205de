"""Candidate pairs: exact survivors that share a band of their MinHash signature."""

from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import pyarrow as pa

from massivetext.candidates import propose, repeated
from massivetext.dataset import open_parquet, write_json
from massivetext.mapped import save_array, write_arrow

from .context import MakeExchange
from .exact import Files, dropped

ROW_BYTES = 16
# An average document proposes far fewer pairs than bands; crowded buckets need the head room.
PAIR_PARTITIONS = 4
SKETCH_ROWS = 4096
EXACT = pa.schema([("number", pa.uint32()), ("survivor", pa.uint32())])


class ReadBands(beam.DoFn):
    """Part -> a row (band, rank, number) for each band of each document that is not an exact
    duplicate; the duplicates found on the way are written to `drops/<part>.arrow`."""

    def __init__(self, files: Files, bands: int):
        self.files, self.bands = files, bands

    def process(self, part: int) -> Iterable[pa.RecordBatch]:
        if self.files.build(part) is None:
            lost, survivor = dropped(self.files, part)
            table = pa.table([lost, survivor], schema=EXACT)
            write_arrow(self.files.result("drops", part), table)
        else:
            lost = self.files.dropped_before(part)
        first, stop = self.files.numbering.first[part : part + 2].tolist()
        kept = np.ones(stop - first, bool)
        kept[lost - np.int64(first)] = False
        with open_parquet(self.files.sketch(part)) as file:
            for batch in file.iter_batches(SKETCH_ROWS, columns=["row", "priority", "bands"]):
                yield self._explode(batch, part, kept)
        self.files.tick("candidates")

    def _explode(self, batch: pa.RecordBatch, part: int, kept: np.ndarray) -> pa.RecordBatch:
        row = batch.column("row").to_numpy()
        keep = kept[row]
        number = (row + self.files.numbering.first[part]).astype(np.uint32)
        column = batch.column("bands")
        buffer = np.frombuffer(column.buffers()[1], np.uint64).reshape(-1, self.bands)
        bands = buffer[column.offset : column.offset + len(column)][keep]
        priority = self.files.priority(part, batch.column("priority").to_numpy())
        # The rank only picks the centre of a crowded bucket: half of the priority is enough.
        rank = (priority >> np.uint64(32)).astype(np.uint32)[keep]
        return pa.RecordBatch.from_arrays(
            [
                pa.array(bands.reshape(-1)),
                pa.array(np.repeat(rank, self.bands)),
                pa.array(np.repeat(number[keep], self.bands)),
            ],
            names=["band", "rank", "number"],
        )


class ProposePairs(beam.DoFn):
    """Rows of equal `band` modulo the partitions -> pairs; counts crowded buckets on the side."""

    def __init__(self, files: Files):
        self.files = files

    def process(self, group: tuple[int, pa.Table]) -> Iterable[pa.RecordBatch]:
        partition, table = group
        bands, ranks, numbers = self._repeated(table)
        del table, group
        pieces, large = propose(bands, ranks, numbers, self.files.numbering.first_own)
        path = self.files.work / "candidates" / "buckets" / f"{partition}.json"
        write_json(path, {"large_buckets": large.buckets, "uncompared_pairs": large.uncompared})
        for pairs in pieces:
            yield pa.RecordBatch.from_arrays([pa.array(pairs)], names=["pair"])
        self.files.tick("candidates")

    @staticmethod
    def _repeated(table: pa.Table) -> list[np.ndarray]:
        """Return the columns of the rows whose band may be shared, without a copy of the rest."""
        chunks = [[chunk.to_numpy() for chunk in column.chunks] for column in table.columns]
        kept = repeated(chunks[table.column_names.index("band")])
        return [
            np.concatenate([c[k] for c, k in zip(values, kept, strict=True)]) for values in chunks
        ]


class WritePairs(beam.DoFn):
    """Writes the distinct pairs of a partition, sorted, to `candidates/pairs/<partition>.npy`."""

    def __init__(self, files: Files):
        self.files = files

    def process(self, group: tuple[int, pa.Table]) -> Iterable[int]:
        partition, table = group
        pairs = np.unique(table.column("pair").to_numpy())
        save_array(self.files.work / "candidates" / "pairs" / f"{partition}.npy", pairs)
        self.files.tick("candidates")
        yield partition


def find_candidates(
    pipeline: beam.Pipeline, exchange: MakeExchange, files: Files, bands: int, size: int
) -> None:
    """Build the pipeline from sketches to distinct candidate pairs.

    `size` is the number of partitions by band: `partitions(documents * bands * ROW_BYTES)`.
    """
    _ = (
        pipeline
        | beam.Create(range(len(files.numbering.names)), reshuffle=False)
        | beam.Reshuffle()
        | beam.ParDo(ReadBands(files, bands))
        | "ByBand" >> exchange("band", size)
        | beam.ParDo(ProposePairs(files))
        | "ByPair" >> exchange("pair", PAIR_PARTITIONS * size)
        | beam.ParDo(WritePairs(files))
    )
