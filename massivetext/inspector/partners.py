"""The duplicates of a document, and in which row each of them is.

Duplicate lists name documents by id. An id says nothing of the row, so rows are looked for in the
likeliest parts first, for as long as the request may take.
"""

from time import monotonic
from typing import Any

import numpy as np
import pyarrow.compute as pc

from . import tables
from .catalogue import Catalogue, Part

# Documents of one cluster that are listed.
MOST = 20
_COLUMNS = ("id", "survivor", "partner", "jaccard", "kind", "survivor_build", "partner_build")


class Partners:
    """Finds the partners of documents of a catalogue."""

    def __init__(self, catalogue: Catalogue):
        self.catalogue = catalogue
        self._first: dict[Part, str] = {}

    def of(self, part: Part, key: str, deadline: float) -> tuple[list[dict[str, Any]], bool]:
        """Return the partners of the document `key` of a part, and whether those are all.

        A partner has its subset, part and row where they were found before the deadline.
        """
        if "exact" not in self.catalogue.drops:
            return [], True
        root = self.catalogue.root
        found: dict[str, dict[str, Any]] = {}
        for row in tables.matching(part.beside(root, "duplicates"), "id", key, _COLUMNS):
            for who in ("partner", "survivor"):
                jaccard = row["jaccard"] if who == "partner" else None
                entry = found.setdefault(
                    row[who], {"id": row[who], "jaccard": jaccard, "kind": row["kind"]}
                )
                entry["survivor"] = row[who] == row["survivor"]
                if row.get(f"{who}_build"):
                    entry["build"] = row[f"{who}_build"]
        complete = self._followers(key, found, deadline)
        for entry in found.values():
            place = None if "build" in entry else self.locate(entry["id"], deadline)
            entry["subset"] = entry["id"].partition("/")[0]
            entry["part"] = place[0].name if place else None
            entry["row"] = place[1] if place else None
            complete &= place is not None or "build" in entry
        return list(found.values()), complete

    def _followers(self, key: str, found: dict[str, dict[str, Any]], deadline: float) -> bool:
        """Add the documents that were dropped for the sake of `key`; return whether all were."""
        for part in self.catalogue.chosen(""):
            path = part.beside(self.catalogue.root, "duplicates")
            if not path.is_file():
                continue
            for group in range(len(tables.groups(path))):
                if monotonic() > deadline or len(found) >= MOST:
                    return False
                for _, batch in tables.batches(path, group, _COLUMNS):
                    mine = pc.equal(batch.column("survivor"), key)
                    if "survivor_build" in batch.schema.names:
                        mine = pc.and_(mine, pc.is_null(batch.column("survivor_build")))
                    for row in batch.filter(mine).slice(0, MOST).to_pylist():
                        # Its Jaccard is with its closest partner, which may be another.
                        jaccard = row["jaccard"] if row["partner"] == key else None
                        entry = {"id": row["id"], "jaccard": jaccard, "kind": row["kind"]}
                        found.setdefault(row["id"], entry | {"survivor": False})
        return len(found) < MOST

    def locate(self, key: str, deadline: float) -> tuple[Part, int] | None:
        """Return part and row of the document with id `key`, or None when time is over."""
        parts = self.catalogue.parts.get(key.partition("/")[0], [])
        for part in sorted(parts, key=lambda part: self._distance(part, key)):
            for group in range(len(tables.groups(part.path))):
                if monotonic() > deadline:
                    return None
                for start, batch in tables.batches(part.path, group, ["id"]):
                    rows = np.flatnonzero(np.asarray(pc.equal(batch.column("id"), key)))
                    if len(rows):
                        return part, start + int(rows[0])
        return None

    def _distance(self, part: Part, key: str) -> tuple[int, int]:
        """Return a number that is small where a part is likely to hold the id `key`.

        Readers number the records of a file, `file#17`, and cut a file into parts in order.
        """
        if part not in self._first:
            groups = tables.groups(part.path)
            batch = tables.row(part.path, 0, ["id"]) if groups and part.rows else None
            self._first[part] = batch.column("id")[0].as_py() if batch else ""
        name, _, number = key.rpartition("#")
        its_name, _, its_number = self._first[part].rpartition("#")
        if name and name == its_name and number.isdecimal() and its_number.isdecimal():
            ahead = int(number) - int(its_number)
            return (0, ahead) if ahead >= 0 else (2, 0)
        return (1, 0)
