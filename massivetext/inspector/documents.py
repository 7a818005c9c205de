"""The list of documents: filters by state, stage, rule, signal and text, a page at a time.

Nothing is counted in advance. A scan goes through the parts in order, stops when the page is full
or its time is over, and says where it stopped: the next request goes on from there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import ConfigError, nearest
from ..rules import SIGNALS
from . import tables
from .catalogue import Catalogue, Part
from .states import States, drop_rows

EXCERPT_BYTES = 1200
EXCERPT_CHARACTERS = 300
# What a request may take, of the 300 ms in which a page should answer.
SECONDS = 0.2
# Extremes of row groups that are remembered; some 200 bytes each.
REMEMBERED = 1 << 17
STATES = ("all", "kept", "heldout", "dropped")
_SHOWN = ("id", "url", "text_bytes", "text")


@dataclass(frozen=True)
class Filter:
    """Which documents are listed; an empty field takes all. Ends of the range are inside it."""

    subset: str = ""
    state: str = "all"
    stage: str = ""
    rule: str = ""
    signal: str = ""
    least: float = -np.inf
    most: float = np.inf
    query: str = ""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ConfigError(f"state {self.state!r} is unknown{nearest(self.state, STATES)}")
        numbers = [f.name for f in SIGNALS if not pa.types.is_string(f.type)] + ["text_bytes"]
        if self.signal and self.signal not in numbers:
            raise ConfigError(
                f"signal {self.signal!r} is not a number of ours{nearest(self.signal, numbers)}"
            )


class Listing:
    """Finds documents of a catalogue."""

    def __init__(self, catalogue: Catalogue, states: States):
        self.catalogue = catalogue
        self.states = states
        self._bounds: dict[tuple[str, str, int, str], tuple[float, float]] = {}

    def page(
        self, wanted: Filter, cursor: str = "", limit: int = 50, seconds: float | None = None
    ) -> dict[str, Any]:
        """Return up to `limit` documents from `cursor` on, as JSON.

        `scanned` of the `of` documents of the chosen subsets lie before `next`, the cursor of what
        follows; `complete` says that nothing follows. A page may have fewer than `limit` documents,
        or none, when its time was over.

        Raises:
          ConfigError: the cursor is none of ours, or the subset unknown.
        """
        parts = self.catalogue.chosen(wanted.subset)
        index, row = _parse(cursor, parts)
        deadline = monotonic() + (SECONDS if seconds is None else seconds)
        found: list[dict[str, Any]] = []
        position = None
        while index < len(parts) and position is None:
            stopped = self._scan(parts[index], row, wanted, limit, deadline, found)
            if stopped is None or stopped >= parts[index].rows:
                index, row = index + 1, 0
                if index < len(parts) and (len(found) >= limit or monotonic() > deadline):
                    position = (index, 0)
            else:
                position = (index, stopped)
        before = parts[: index if position is None else position[0]]
        scanned = sum(part.rows for part in before) + (position[1] if position else 0)
        return {
            "documents": found,
            "next": f"{position[0]}.{position[1]}" if position else None,
            "scanned": scanned,
            "of": sum(part.rows for part in parts),
            "complete": position is None,
        }

    def _scan(
        self,
        part: Part,
        row: int,
        wanted: Filter,
        limit: int,
        deadline: float,
        found: list[dict[str, Any]],
    ) -> int | None:
        """Add the documents of a part from `row` on; return where it stopped, or None at the end.

        At least one batch is looked at, whatever the time, so that every request gets on.
        """
        codes = self.states.codes(part)
        mask = self.states.wanted(wanted.state, wanted.stage, wanted.rule)[codes]
        mask[:row] = False
        for group, (start, stop) in enumerate(tables.groups(part.path)):
            if not mask[start:stop].any():
                continue
            if wanted.signal:
                mask[start:stop] &= self._in_range(part, group, wanted)
                if not mask[start:stop].any():
                    if monotonic() > deadline:
                        return stop
                    continue
            for end, rows, batch in self._candidates(part, group, mask, wanted.query):
                room = limit - len(found)
                found += self._shown(part, rows[:room], batch.slice(0, room), codes)
                if len(rows) > room:
                    return int(rows[room])
                if len(found) == limit or monotonic() > deadline:
                    return end
        return None

    def brief(self, part: Part, row: int, excerpt: bool) -> dict[str, Any]:
        """Return what became of a document, its id, size and URL, and its excerpt where wanted."""
        columns = _SHOWN if excerpt else _SHOWN[:-1]
        batch = tables.row(part.path, row, columns)
        text = _excerpt(batch.column("text"), 0) if excerpt else ""
        about = {name: _value(batch, name, 0) for name in ("id", "url")}
        state, stage, _ = self.states.named(int(self.states.codes(part)[row]))
        about |= {"state": state, "stage": stage, "excerpt": text}
        return {**about, "bytes": _value(batch, "text_bytes", 0)}

    def _in_range(self, part: Part, group: int, wanted: Filter) -> np.ndarray:
        """Return which rows of a group have the signal in the range, bool [rows]."""
        start, stop = tables.groups(part.path)[group]
        key = (part.subset, part.name, group, wanted.signal)
        extremes = self._bounds.get(key) or tables.bounds(part.path, group, wanted.signal)
        result = np.zeros(stop - start, bool)
        if extremes and (extremes[1] < wanted.least or extremes[0] > wanted.most):
            return result
        low, high = np.inf, -np.inf
        for first, batch in tables.batches(part.path, group, [wanted.signal]):
            if wanted.signal not in batch.schema.names:
                break
            values = batch.column(0).to_numpy(zero_copy_only=False)
            low, high = np.fmin(low, np.fmin.reduce(values)), np.fmax(high, np.fmax.reduce(values))
            # Compared as the value is stored, as the rules do.
            kind = values.dtype.type if values.dtype == np.float32 else float
            chosen = (values >= kind(wanted.least)) & (values <= kind(wanted.most))
            result[first - start : first - start + len(values)] = chosen
        if len(self._bounds) >= REMEMBERED:
            self._bounds.clear()
        self._bounds[key] = (float(low), float(high))
        return result

    @staticmethod
    def _candidates(
        part: Part, group: int, mask: np.ndarray, query: str
    ) -> Iterator[tuple[int, np.ndarray, pa.RecordBatch]]:
        """Yield `(end, rows, batch)`: the documents among the rows up to `end` that are wanted."""
        by_id = query.startswith(f"{part.subset}/")
        if by_id:
            # The id of a document names its file: text need not be read to find it.
            hits = [
                start + np.flatnonzero(np.asarray(pc.starts_with(batch.column("id"), query)))
                for start, batch in tables.batches(part.path, group, ["id"])
            ]
            start, stop = tables.groups(part.path)[group]
            ours = np.zeros(stop - start, bool)
            ours[np.concatenate(hits) - start] = True
            mask[start:stop] &= ours
            if not mask[start:stop].any():
                yield stop, np.zeros(0, np.int64), pa.RecordBatch.from_pylist([], pa.schema([]))
                return
        start, stop = tables.groups(part.path)[group]
        last = start + int(np.flatnonzero(mask[start:stop])[-1])
        for first, batch in tables.batches(part.path, group, _SHOWN):
            end = first + batch.num_rows
            chosen = mask[first:end]
            if query and not by_id and chosen.any():
                batch_hits = _holds(batch, query)
                chosen = chosen & batch_hits
            if chosen.any() or (query and mask[first:end].any()):
                yield end, first + np.flatnonzero(chosen), batch.filter(pa.array(chosen))
            if end > last:
                return

    def _shown(
        self, part: Part, rows: np.ndarray, batch: pa.RecordBatch, codes: np.ndarray
    ) -> list[dict[str, Any]]:
        result = []
        for i, row in enumerate(rows.tolist()):
            state, stage, rule = self.states.named(int(codes[row]))
            entry = {
                "id": _value(batch, "id", i),
                "subset": part.subset,
                "part": part.name,
                "row": row,
                "state": state,
                "stage": stage,
                "rule": rule,
                "value": None,
                "threshold": None,
                "bytes": _value(batch, "text_bytes", i),
                "url": _value(batch, "url", i),
                "excerpt": _excerpt(batch.column("text"), i),
            }
            result.append(entry)
        for stage in {entry["stage"] for entry in result} - {None}:
            mine = [entry for entry in result if entry["stage"] == stage]
            values = drop_rows(self.catalogue, part, stage, [entry["row"] for entry in mine])
            for entry in mine:
                found = values.get(entry["row"], {})
                entry |= {key: found.get(key) for key in ("value", "threshold")}
        return result


def _value(batch: pa.RecordBatch, name: str, at: int) -> Any:
    return batch.column(name)[at].as_py() if name in batch.schema.names else None


def _excerpt(column: pa.Array, at: int) -> str:
    text = tables.text(column, at, EXCERPT_BYTES).decode(errors="ignore")
    return " ".join(text.split())[:EXCERPT_CHARACTERS]


def _holds(batch: pa.RecordBatch, query: str) -> np.ndarray:
    """Return which rows have `query` in text, URL or id, whatever the case; bool [rows]."""
    result = np.zeros(batch.num_rows, bool)
    for name in ("id", "url", "text"):
        if name in batch.schema.names:
            hits = pc.match_substring(batch.column(name), query, ignore_case=True)
            result |= np.asarray(pc.fill_null(hits, False))
    return result


def _parse(cursor: str, parts: list[Part]) -> tuple[int, int]:
    if not cursor:
        return 0, 0
    index, _, row = cursor.partition(".")
    if (
        not (index.isascii() and index.isdigit() and row.isascii() and row.isdigit())
        or len(cursor) > 40
        or int(index) >= len(parts)
        or int(row) >= max(1, parts[int(index)].rows)
    ):
        raise ConfigError(f"cursor {cursor[:40]!r} is not of this folder; begin again without it")
    return int(index), int(row)
