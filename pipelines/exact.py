"""Exact duplicates: groups of equal normalised text, or before that of equal URL, by 128-bit hash.

Each part sends one row per distinct text, its leader, so that a text repeated a billion times
makes groups of at most one row per part. A group's survivor is the document of lowest priority;
documents of earlier builds go before those of this one, and none of them is dropped. Texts are
compared among the documents that their URLs leave.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa

from massivetext.dataset import read_table
from massivetext.mapped import read_arrow, write_arrow
from massivetext.storage import Location, location

from . import ticks
from .context import MakeExchange
from .numbering import Numbering, numpy_columns
from .parts import keep_mask

CHUNK = 1 << 18
LEADER_BYTES = 28
LINK = pa.schema([("part", pa.uint32()), ("number", pa.uint32()), ("survivor", pa.uint32())])

# The hash columns of a sketch by which a step groups documents.
KEYS = {"url": ("url_hash0", "url_hash1"), "exact": ("hash0", "hash1")}


@dataclass(frozen=True)
class Files:
    """Where the steps of one deduplication find their inputs and leave their results; `by_url`
    says whether there is a step `url`. Parts are those of `numbering`."""

    root: Location
    work: Location
    numbering: Numbering
    by_url: bool = False

    def build(self, part: int) -> str | None:
        """Return the folder of the earlier build that a part belongs to; None if it is ours."""
        return self.numbering.parts[part].arguments.get("build")

    def _file(self, kind: str, part: int) -> Location:
        root = self.root if (build := self.build(part)) is None else location(build)
        return root / f"{kind}/{self.numbering.names[part]}.parquet"

    def sketch(self, part: int) -> Location:
        return self._file("sketches", part)

    def measured(self, part: int) -> Location:
        return self._file("measured", part)

    def shingles(self, part: int) -> Location:
        return self._file("shingles", part)

    def dropped_before(self, part: int) -> np.ndarray:
        """Return the documents that an earlier build dropped as duplicates, by number, sorted;
        none of a part of this build."""
        if (build := self.build(part)) is None:
            return np.zeros(0, np.uint32)
        keep = keep_mask(location(build), self.numbering.parts[part], ("exact", "near"))
        return (np.flatnonzero(~keep) + self.numbering.first[part]).astype(np.uint32)

    def priority(self, part: int, values: np.ndarray) -> np.ndarray:
        """Return the priorities of documents of a part, uint64, those of earlier builds first."""
        if self.numbering.own == 0:
            return values
        half = values >> np.uint64(1)
        return half if part < self.numbering.own else half | np.uint64(1 << 63)

    def result(self, step: str, part: int) -> Location:
        return self.work / step / f"{part}.arrow"

    def tick(self, step: str) -> None:
        """Count one more part or partition of a step as done, for a person watching."""
        ticks.tick(self.work / step)

    def ticks(self, step: str) -> int:
        """Return how many have been counted."""
        return ticks.ticks(self.work / step)


def leaders(
    hash0: np.ndarray, hash1: np.ndarray, priority: np.ndarray, number: np.ndarray
) -> np.ndarray:
    """Return for every row the index of the row of equal 128-bit hash with the least
    (priority, number); int64 [n]."""
    order = np.lexsort((number, priority, hash1, hash0))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(hash0[order]) != 0) | (np.diff(hash1[order]) != 0)
    out = np.empty(len(order), np.int64)
    out[order] = order[np.flatnonzero(first)[np.cumsum(first) - 1]]
    return out


def _read_keys(files: Files, part: int, step: str) -> list[np.ndarray]:
    columns = [*KEYS[step], "priority", "row"]
    table = read_table(files.sketch(part), columns)
    if step == "url":
        table = table.drop_null()
    *keys, row = numpy_columns(table, *columns)
    keys[2] = files.priority(part, keys[2])
    number = (row + files.numbering.first[part]).astype(np.uint32)
    gone = files.dropped_before(part)
    if step == "exact" and files.by_url and files.build(part) is None:
        gone = dropped_by(files, part, "url")[0]
    if len(gone) == 0:
        return [*keys, number]
    left = ~np.isin(number, gone, assume_unique=True)
    return [column[left] for column in (*keys, number)]


class ReadLeaders(beam.DoFn):
    """Part -> one row for each distinct text, or URL, in it."""

    def __init__(self, files: Files, step: str):
        self.files, self.step = files, step

    def process(self, part: int) -> Iterable[pa.RecordBatch]:
        columns = _read_keys(self.files, part, self.step)
        own = np.flatnonzero(leaders(*columns) == np.arange(len(columns[0])))
        names = ("hash0", "hash1", "priority", "number")
        for start in range(0, len(own), CHUNK):
            rows = own[start : start + CHUNK]
            yield pa.RecordBatch.from_arrays([pa.array(c[rows]) for c in columns], names=names)
        self.files.tick(self.step)


class LinkLeaders(beam.DoFn):
    """Rows of equal `hash0` modulo the partitions -> a link for each that is no survivor."""

    def __init__(self, files: Files, step: str):
        self.files, self.step = files, step

    def process(self, group: tuple[int, pa.Table]) -> Iterable[pa.RecordBatch]:
        columns = numpy_columns(group[1], "hash0", "hash1", "priority", "number")
        leader = leaders(*columns)
        number = columns[3]
        own = number >= self.files.numbering.first_own
        lost = np.flatnonzero(own & (leader != np.arange(len(leader))))
        part = self.files.numbering.part_of(number[lost])
        if len(lost):
            yield pa.RecordBatch.from_arrays(
                [pa.array(part), pa.array(number[lost]), pa.array(number[leader[lost]])],
                schema=LINK,
            )
        self.files.tick(self.step)


class WriteByPart(beam.DoFn):
    """Writes rows that were exchanged by `part` with one partition a part, in number order."""

    def __init__(self, files: Files, step: str):
        self.files, self.step = files, step

    def process(self, group: tuple[int, pa.Table]) -> Iterable[int]:
        part, table = group
        table = table.sort_by("number").combine_chunks()
        write_arrow(self.files.result(self.step, part), table)
        yield part


def link_leaders(
    pipeline: beam.Pipeline, exchange: MakeExchange, files: Files, step: str, size: int
) -> None:
    """Build the pipeline that writes `<step>/<part>.arrow`: leaders and their survivors.

    `size` is the number of partitions by hash: `partitions(documents * LEADER_BYTES)`.
    """
    count = len(files.numbering.names)
    _ = (
        pipeline
        | beam.Create(range(count), reshuffle=False)
        | beam.Reshuffle()
        | beam.ParDo(ReadLeaders(files, step))
        | "ByHash" >> exchange("hash0", size)
        | beam.ParDo(LinkLeaders(files, step))
        | "ByPart" >> exchange("part", count)
        | beam.ParDo(WriteByPart(files, step))
    )


def dropped(files: Files, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the duplicates in a part by URL and by text: their numbers, sorted, and those of the
    documents that their groups keep."""
    number, survivor = dropped_by(files, part, "exact")
    if files.by_url:
        others = dropped_by(files, part, "url")
        number, survivor = (
            np.concatenate([number, others[0]]),
            np.concatenate([survivor, others[1]]),
        )
        order = np.argsort(number)
        number, survivor = number[order], survivor[order]
    return number, survivor


def dropped_by(files: Files, part: int, step: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what `dropped` does, of one step."""
    columns = _read_keys(files, part, step)
    number = columns[3]
    survivor = number[leaders(*columns)]
    lost, won = numpy_columns(read_arrow(files.result(step, part), LINK), "number", "survivor")
    if len(lost):
        at = np.minimum(np.searchsorted(lost, survivor), len(lost) - 1)
        survivor = np.where(lost[at] == survivor, won[at], survivor)
    gone = np.flatnonzero(survivor != number)
    return number[gone], survivor[gone]
