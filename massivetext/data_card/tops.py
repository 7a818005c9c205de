"""Sums by name over any number of names, in bounded memory."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LIMIT = 1 << 19


class Tops:
    """Adds up columns by name, and forgets the rarest names when there are too many.

    Attributes:
      uncertain: how many documents of a name can be missing from its count because it was
        forgotten for a while; 0 while all names were held.
    """

    def __init__(self, columns: tuple[str, ...], limit: int = LIMIT):
        """`columns` are summed; the first decides which names are kept."""
        self.columns, self.limit = columns, limit
        self.uncertain = 0
        self._table: pa.Table | None = None

    def add(self, names: pa.Array, **values: np.ndarray) -> None:
        """Add n rows: `names` string [n], null where there is none, and each column's numbers."""
        rows = pa.table(
            [names.cast(pa.string()), *(pa.array(values[c]) for c in self.columns)],
            names=["name", *self.columns],
        )
        rows = self._summed(rows.filter(pc.is_valid(rows["name"])))
        if self._table is not None:
            rows = self._summed(pa.concat_tables([self._table, rows]))
        if rows.num_rows > self.limit:
            rows = rows.sort_by([(self.columns[0], "descending"), ("name", "ascending")])
            keep = self.limit // 2
            self.uncertain += rows[self.columns[0]][keep].as_py()
            rows = rows.slice(0, keep)
        self._table = rows

    def _summed(self, rows: pa.Table) -> pa.Table:
        sums = rows.group_by("name").aggregate([(column, "sum") for column in self.columns])
        return sums.select(["name", *(f"{c}_sum" for c in self.columns)]).rename_columns(
            ["name", *self.columns]
        )

    def __len__(self) -> int:
        return 0 if self._table is None else self._table.num_rows

    def top(self, most: int) -> list[dict[str, Any]]:
        """Return the `most` names of the largest sums, as rows; ties in the order of names."""
        if self._table is None:
            return []
        keys = [(self.columns[0], "descending"), ("name", "ascending")]
        rows: list[dict[str, Any]] = self._table.sort_by(keys).slice(0, most).to_pylist()
        return rows
