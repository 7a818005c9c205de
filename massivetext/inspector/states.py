"""What became of every document of a part: kept, held out, or dropped at which stage by which rule.

A byte or two per document, made when a part is first looked at, so that any filter by state is a
comparison of small arrays.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import tables
from .catalogue import Catalogue, Part

KEPT, HELDOUT = 0, 1
# Of all parts' arrays together; the ones not used for longest are made again when needed.
HELD_BYTES = 64 << 20


class States:
    """The states of documents, by parts.

    Attributes:
      pairs: `(stage, rule)` of the codes from 2 on.
    """

    def __init__(self, catalogue: Catalogue, held: int = HELD_BYTES):
        self.catalogue = catalogue
        self.held = held
        self.pairs: list[tuple[str, str]] = []
        self._codes: dict[tuple[str, str], int] = {}
        self._arrays: OrderedDict[Path, np.ndarray] = OrderedDict()

    def codes(self, part: Part) -> np.ndarray:
        """Return uint16 [rows]: `KEPT`, `HELDOUT`, or 2 and the index in `pairs`."""
        found = self._arrays.get(part.path)
        if found is None:
            found = self._arrays[part.path] = self._make(part)
            while len(self._arrays) > 1 and self._bytes() > self.held:
                self._arrays.popitem(last=False)
        self._arrays.move_to_end(part.path)
        return found

    def _bytes(self) -> int:
        return sum(array.nbytes for array in self._arrays.values())

    def _make(self, part: Part) -> np.ndarray:
        root = self.catalogue.root
        codes = np.zeros(part.rows, np.uint16)
        if self.catalogue.heldout:
            codes[self._heldout(part)] = HELDOUT
        # A document is dropped once; were it twice, the earlier stage would have been the first.
        for stage in reversed(self.catalogue.drops):
            path = part.beside(root, "dropped", stage)
            if path.is_file():
                table = tables.read(path, ["row", "rule"])
                rules = table["rule"].combine_chunks().dictionary_encode()
                numbers = np.array([self._code(stage, r) for r in rules.dictionary.to_pylist()])
                rows = table["row"].to_numpy()
                inside = (rows >= 0) & (rows < part.rows)
                if len(rows):
                    codes[rows[inside]] = numbers[rules.indices.to_numpy()][inside]
        return codes

    def _code(self, stage: str, rule: str) -> int:
        pair = (stage, rule)
        if pair not in self._codes:
            self._codes[pair] = len(self.pairs) + 2
            self.pairs.append(pair)
        return self._codes[pair]

    def _heldout(self, part: Part) -> np.ndarray:
        """Return the rows of a part that are in its held-out file: by id, no row is stored."""
        path = part.beside(self.catalogue.root, "heldout")
        if not path.is_file() or not tables.footer(path).num_rows:
            return np.zeros(0, np.int64)
        ids = tables.read(path, ["id"])["id"].combine_chunks()
        found = [np.zeros(0, np.int64)]
        for group in range(len(tables.groups(part.path))):
            for start, batch in tables.batches(part.path, group, ["id"]):
                mask = np.asarray(pc.is_in(batch.column("id"), value_set=ids))
                found.append(start + np.flatnonzero(mask))
        return np.concatenate(found)

    def wanted(self, state: str, stage: str, rule: str) -> np.ndarray:
        """Return which codes a filter takes, bool by code; for the parts seen so far."""
        table = np.zeros(len(self.pairs) + 2, bool)
        table[KEPT] = state in ("all", "kept")
        table[HELDOUT] = state in ("all", "heldout")
        table[2:] = state in ("all", "dropped")
        if stage or rule:
            table[:2] = False
            for index, (its_stage, its_rule) in enumerate(self.pairs):
                table[index + 2] &= stage in ("", its_stage) and rule in ("", its_rule)
        return table

    def named(self, code: int) -> tuple[str, str | None, str | None]:
        """Return state, stage and rule of a code."""
        if code < 2:
            return ("heldout" if code == HELDOUT else "kept"), None, None
        stage, rule = self.pairs[code - 2]
        return "dropped", stage, rule


def drop_rows(catalogue: Catalogue, part: Part, stage: str, rows: list[int]) -> dict[int, Any]:
    """Return value and threshold of rows that a stage has dropped, by row."""
    path = part.beside(catalogue.root, "dropped", stage)
    table = tables.read(path, ["row", "value", "threshold"])
    chosen = table.filter(pc.is_in(table["row"], value_set=pa.array(rows, pa.int64())))
    return {entry["row"]: entry for entry in chosen.to_pylist()}
