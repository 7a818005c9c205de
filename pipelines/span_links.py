"""Which copy of each unit stays: units meet by their hash, in one exchange over all documents.

A piece, a row group of a measured file, sends one row for each distinct unit in it, so that a line
repeated a billion times makes a group of one row per piece. What comes back to a piece is, for each
of its units that occur repeatedly, where the copy is that stays.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa

from massivetext.config import Spans
from massivetext.dataset import open_parquet
from massivetext.document import text_buffers
from massivetext.dropped import DROP_STAGES
from massivetext.hashing import hash_rows
from massivetext.mapped import write_arrow
from massivetext.spans import find_units, first_copies
from massivetext.storage import Location

from . import ticks
from .context import MakeExchange
from .exact import CHUNK, leaders
from .numbering import Numbering, numpy_columns
from .part import Part
from .parts import keep_mask

BEFORE = DROP_STAGES[: DROP_STAGES.index("spans")]
# Footers read at once: on a store each is a few requests, most of which is waiting.
_FOOTERS = 16
KEPT = pa.schema(
    [
        pa.field("piece", pa.uint32()),
        pa.field("hash0", pa.uint64()),
        pa.field("hash1", pa.uint64()),
        pa.field("survivor", pa.uint32()),
        pa.field("index", pa.uint32()),
    ]
)


@dataclass(frozen=True)
class Rule:
    """What is compared, and in which order copies are preferred."""

    spans: Spans
    min_words: int
    seed: int


class Pieces:
    """The row groups of the measured files, numbered over all parts: what is in memory at once."""

    def __init__(self, root: Location, work: Location, parts: list[Part]):
        self.root, self.work, self.parts = root, work, parts
        self.numbering = Numbering(parts)
        rows: list[int] = []
        self.first_of_part = [0]
        with ThreadPoolExecutor(_FOOTERS) as pool:
            for groups in pool.map(self._groups, parts):
                rows += groups
                self.first_of_part.append(len(rows))
        self.first = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.first) - 1

    def _groups(self, part: Part) -> list[int]:
        """Return the rows of each row group of a part."""
        with open_parquet(self.root / f"measured/{part.name}.parquet") as file:
            metadata = file.metadata
            return [metadata.row_group(group).num_rows for group in range(file.num_row_groups)]

    def tick(self) -> None:
        """Count one more piece or partition as done, for a person watching."""
        ticks.tick(self.work / "link")

    def ticks(self) -> int:
        """Return how many have been counted."""
        return ticks.ticks(self.work / "link")

    def part(self, piece: int) -> int:
        """Return the index of the part that a piece belongs to."""
        return int(np.searchsorted(self.first_of_part, piece, side="right")) - 1

    def of_numbers(self, numbers: np.ndarray) -> np.ndarray:
        """Return the piece that each document's number belongs to, uint32."""
        return (np.searchsorted(self.first, numbers, side="right") - 1).astype(np.uint32)

    def kept(self, piece: int) -> Location:
        """Return where the units of a piece that occur repeatedly are listed."""
        return self.work / "link" / f"{piece}.arrow"

    def batches(self, piece: int, keep: np.ndarray) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """Yield the documents of a piece that are in bool `keep`, by row of the part, and their
        rows in it: `id` and `text`."""
        part = self.part(piece)
        start = int(self.first[piece] - self.numbering.first[part])
        path = self.root / f"measured/{self.parts[part].name}.parquet"
        with open_parquet(path) as file:
            groups = [piece - self.first_of_part[part]]
            for batch in file.iter_batches(1024, row_groups=groups, columns=["id", "text"]):
                rows = np.flatnonzero(keep[start : start + batch.num_rows])
                if len(rows):
                    yield batch.take(pa.array(rows)), rows + start
                start += batch.num_rows


class ReadUnits(beam.DoFn):
    """Piece -> a row for each distinct unit in it: the copy that goes before its others."""

    def __init__(self, pieces: Pieces, rule: Rule):
        self.pieces, self.rule = pieces, rule

    def process(self, piece: int) -> Iterable[pa.RecordBatch]:
        part = self.pieces.part(piece)
        first = self.pieces.numbering.first[part]
        keep = keep_mask(self.pieces.root, self.pieces.parts[part], BEFORE)
        found: list[list[np.ndarray]] = []
        for batch, rows in self.pieces.batches(piece, keep):
            units = find_units(batch.column("text"), self.rule.spans, self.rule.min_words)
            priority = hash_rows(*text_buffers(batch.column("id")), self.rule.seed)
            number = (rows + first).astype(np.uint32)
            segments = np.diff(units.first)
            index_in_document = np.arange(len(units.start)) - np.repeat(units.first[:-1], segments)
            counts = units.counts
            found.append(
                [
                    units.hash0[counts],
                    units.hash1[counts],
                    np.repeat(priority, segments)[counts],
                    np.repeat(number, segments)[counts],
                    index_in_document[counts].astype(np.uint32),
                ]
            )
        self.pieces.tick()
        if not found:
            return
        columns = [np.concatenate(values) for values in zip(*found, strict=True)]
        del found
        rows, repeated = first_copies(*columns[:3])
        names = ["hash0", "hash1", "priority", "number", "index", "repeated"]
        for start in range(0, len(rows), CHUNK):
            at = rows[start : start + CHUNK]
            values = [column[at] for column in columns] + [repeated[start : start + CHUNK]]
            yield pa.RecordBatch.from_arrays([pa.array(v) for v in values], names=names)


class LinkUnits(beam.DoFn):
    """Rows of equal `hash0` modulo the partitions -> for every piece that has a unit which occurs
    repeatedly, where the copy is that stays."""

    def __init__(self, pieces: Pieces):
        self.pieces = pieces

    def process(self, group: tuple[int, pa.Table]) -> Iterable[pa.RecordBatch]:
        table = group[1].combine_chunks()
        hash0, hash1, priority, number, index = numpy_columns(
            table, "hash0", "hash1", "priority", "number", "index"
        )
        repeated = table.column("repeated").to_numpy(zero_copy_only=False)
        leader = leaders(hash0, hash1, priority, number)
        others = leader != np.arange(len(leader))
        shared = np.zeros(len(leader), bool)
        shared[leader[others | repeated]] = True
        at = np.flatnonzero(shared[leader])
        for start in range(0, len(at), CHUNK):
            rows = at[start : start + CHUNK]
            kept = leader[rows]
            piece = self.pieces.of_numbers(number[rows])
            columns = [piece, hash0[rows], hash1[rows], number[kept], index[kept]]
            yield pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=KEPT)
        self.pieces.tick()


class WriteKept(beam.DoFn):
    """Writes rows that were exchanged by `piece` with one partition a piece."""

    def __init__(self, pieces: Pieces):
        self.pieces = pieces

    def process(self, group: tuple[int, pa.Table]) -> Iterable[int]:
        piece, table = group
        write_arrow(self.pieces.kept(piece), table.combine_chunks())
        yield piece


def link_units(
    pipeline: beam.Pipeline, exchange: MakeExchange, pieces: Pieces, rule: Rule, size: int
) -> None:
    """Build the pipeline that writes, for every piece, its units that occur repeatedly.

    `size` is the number of partitions by hash; it ticks once for each of them and for each piece.
    """
    _ = (
        pipeline
        | beam.Create(range(len(pieces)), reshuffle=False)
        | beam.Reshuffle()
        | beam.ParDo(ReadUnits(pieces, rule))
        | "ByHash" >> exchange("hash0", size)
        | beam.ParDo(LinkUnits(pieces))
        | "ByPiece" >> exchange("piece", max(1, len(pieces)))
        | beam.ParDo(WriteKept(pieces))
    )
