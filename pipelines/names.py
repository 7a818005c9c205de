"""Ids of the documents that others are reported to duplicate, by number, in bounded memory."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from massivetext.dataset import open_parquet
from massivetext.mapped import arrow_file, map_array, open_arrow, read_arrow, save_array

from .candidates import EXACT
from .exact import Files
from .near import NEAR
from .numbering import mark, marked, numpy_columns

ID = pa.schema([("id", pa.string())])


def collect(files: Files) -> None:
    """Write what cutting the drop lists looks up: near duplicates with their survivors, in number
    order, and the ids of all survivors and partners."""
    bits = np.zeros(files.numbering.total // 8 + 1, np.uint8)
    lost, won = [], []
    for part in range(len(files.numbering.names)):
        near = read_arrow(files.result("near", part), NEAR)
        for column in numpy_columns(near, "survivor", "partner"):
            mark(bits, column)
        number, survivor = numpy_columns(near, "number", "survivor")
        lost.append(number)
        won.append(survivor)
        mark(bits, *numpy_columns(read_arrow(files.result("drops", part), EXACT), "survivor"))
    # Survivors of exact groups that fell to a near duplicate are marked with theirs above.
    links = np.concatenate(lost), np.concatenate(won)
    # The document kept for its URL may be an exact duplicate of another: link it to what that
    # became. No other survivor of an exact group is lost to one.
    if files.by_url:
        kept = [_marked_drops(files, part, bits) for part in range(len(files.numbering.names))]
        number, survivor = (np.concatenate(column) for column in zip(*kept, strict=True))
        number, survivor = (
            np.concatenate([links[0], number]),
            np.concatenate([links[1], final(*links, survivor)]),
        )
        order = np.argsort(number)
        links = number[order], survivor[order]
    save_array(files.work / "names" / "lost.npy", links[0])
    save_array(files.work / "names" / "won.npy", links[1])
    numbers = []
    with arrow_file(files.work / "names" / "ids.arrow", ID) as writer:
        for number, batch in _needed(files, bits):
            numbers.append(number)
            writer.write_batch(batch)
    flat = np.concatenate(numbers) if numbers else np.zeros(0, np.uint32)
    save_array(files.work / "names" / "numbers.npy", flat)
    starts = np.cumsum([0, *map(len, numbers)])
    save_array(files.work / "names" / "starts.npy", starts)


def _marked_drops(files: Files, part: int, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    number, survivor = numpy_columns(
        read_arrow(files.result("drops", part), EXACT), "number", "survivor"
    )
    marks = bits[number >> 3] >> (number & 7).astype(np.uint8) & 1 == 1
    return number[marks], survivor[marks]


def final(lost: np.ndarray, won: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return `won[i]` for a number that is `lost[i]` (sorted), and any other number itself."""
    if len(lost) == 0:
        return number
    at = np.minimum(np.searchsorted(lost, number), len(lost) - 1)
    return np.where(lost[at] == number, won[at], number)


def _needed(files: Files, bits: np.ndarray) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    for part in range(len(files.numbering.names)):
        first, stop = files.numbering.first[part : part + 2].tolist()
        numbers = marked(bits, first, stop)
        if len(numbers) == 0:
            continue
        wanted = np.zeros(stop - first, bool)
        wanted[numbers - first] = True
        with open_parquet(files.sketch(part)) as file:
            for batch in file.iter_batches(columns=["row", "id"]):
                row = batch.column("row").to_numpy()
                number = row + first
                at = np.flatnonzero(wanted[row])
                if len(at):
                    ids = batch.column("id").take(pa.array(at))
                    yield (
                        number[at].astype(np.uint32),
                        pa.RecordBatch.from_arrays([ids], schema=ID),
                    )


class Names:
    """Looks up what `collect` wrote."""

    def __init__(self, files: Files):
        folder = files.work / "names"
        self.lost, self.won = map_array(folder / "lost.npy"), map_array(folder / "won.npy")
        self.numbers, self.starts = (
            map_array(folder / "numbers.npy"),
            map_array(folder / "starts.npy"),
        )
        self.file = open_arrow(folder / "ids.arrow")
        parts = range(files.numbering.own)
        self.builds = pa.array([*map(files.build, parts), None], pa.string())
        self.numbering = files.numbering

    def final(self, number: np.ndarray) -> np.ndarray:
        """Return each document itself, or the survivor of its cluster if it is a duplicate; ask
        only for documents that an exact group keeps."""
        return final(self.lost, self.won, number)

    def build(self, number: np.ndarray) -> pa.Array:
        """Return the folders of the earlier builds that documents are of; null for this build."""
        part = np.minimum(self.numbering.part_of(number), self.numbering.own)
        return self.builds.take(pa.array(part))

    def ids(self, number: np.ndarray) -> pa.Array:
        """Return the ids of documents, reading only the batches that hold any of them."""
        wanted, back = np.unique(np.searchsorted(self.numbers, number), return_inverse=True)
        found: list[pa.Array] = []
        batch = np.searchsorted(self.starts, wanted, side="right") - 1
        for index in np.unique(batch).tolist():
            rows = wanted[batch == index] - self.starts[index]
            found.append(self.file.get_batch(index).column("id").take(pa.array(rows)))
        ids = pa.concat_arrays(found) if found else pa.array([], pa.string())
        return ids.take(pa.array(back))
