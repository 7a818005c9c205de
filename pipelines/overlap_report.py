"""What the overlap stage found of every test set, summed over parts."""

import numpy as np

from massivetext.containment import Weights
from massivetext.overlap import Tally
from massivetext.overlap_index import Index
from massivetext.storage import Location, read_all

from .overlap_rows import CONTAINMENT, JACCARD
from .part import Part, PartOutput, PartResult

# Files read at once: each has a bit for every test item.
_AT_ONCE = 64


def _items_file(work: str, part: Part) -> str:
    return f"{work}/items/{part.name}.bits"


def leave_tallies(tallies: dict[str, Tally], work: str, part: Part, out: PartOutput) -> None:
    """Leave what `report` sums up: the documents of each kind and test set, and the items found."""
    out.extra["documents"] = {
        kind: {str(n): int(tally.documents[n]) for n in np.flatnonzero(tally.documents)}
        for kind, tally in tallies.items()
    }
    items = np.logical_or.reduce([tally.items for tally in tallies.values()])
    with out.file(_items_file(work, part)) as file:
        file.write(np.packbits(items))


def report(
    root: Location,
    work: str,
    results: list[tuple[Part, PartResult]],
    index: Index,
    weights: Weights | None,
) -> dict[str, dict[str, int]]:
    """Return what was found of each test set, by its name."""
    matched = np.zeros(index.size, bool)
    for start in range(0, len(results), _AT_ONCE):
        some = results[start : start + _AT_ONCE]
        for content in read_all([root / _items_file(work, part) for part, _ in some]):
            bits = np.frombuffer(content, np.uint8)
            matched |= np.unpackbits(bits, count=index.size).astype(bool)

    def items(which: np.ndarray) -> np.ndarray:
        return np.bincount(index.sets[which], minlength=len(index.set_names))

    def documents(kind: str) -> np.ndarray:
        total = np.zeros(len(index.set_names), np.int64)
        for _, result in results:
            for number, count in result.extra["documents"][kind].items():
                total[int(number)] += count
        return total

    columns = {
        "items": items(np.ones(index.size, bool)),
        "wordless": items(index.sizes == 0),
        "documents_jaccard": documents(JACCARD),
        "items_matched": items(matched),
    }
    if weights is not None:
        columns["too_short"] = items(index.too_short)
        columns["too_common"] = items(weights.too_common(index))
        columns["documents_containment"] = documents(CONTAINMENT)
    return {
        name: {key: int(values[number]) for key, values in columns.items()}
        for number, name in enumerate(index.set_names)
    }
