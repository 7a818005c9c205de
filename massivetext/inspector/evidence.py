"""One document as JSON: what became of it and why, its signals, partners, overlaps, and its text.

The text comes in pieces of at most `PIECE_BYTES`, so that one of 100 MB can be looked at too.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..config_file import load
from ..errors import MassivetextError
from ..rules import RULES, SIGNALS, decide, signal_columns
from ..test_sets import find_item
from . import tables
from .catalogue import Catalogue, Part
from .marks import Mark, as_json, repeats
from .partners import Partners
from .states import States

PIECE_BYTES = 200_000
# Of a test item; of the characters that a metadata field may have.
SHOWN_CHARACTERS = 20_000
SECONDS = 0.15
_ABOUT = ("id", "source", "url", "timestamp", "metadata")


class Documents:
    """Looks documents of a catalogue up."""

    def __init__(self, catalogue: Catalogue, states: States):
        self.catalogue = catalogue
        self.states = states
        self.partners = Partners(catalogue)

    def document(self, part: Part, number: int, start: int = 0) -> dict[str, Any]:
        """Return row `number` of a part, with the piece of its text from byte `start` on."""
        deadline = monotonic() + SECONDS
        root = self.catalogue.root
        batch = tables.row(part.path, number, [*_ABOUT, "text", *SIGNALS.names])
        about = {name: _value(batch, name) for name in _ABOUT}
        key = about["id"]
        data, first, stop, size = piece(batch.column("text"), start)
        text = data.decode("utf-8", "replace")
        drops = [
            row
            for stage in self.catalogue.drops
            for row in tables.matching(
                part.beside(root, "dropped", stage),
                "row",
                number,
                ("stage", "rule", "value", "threshold", "partner", "detail"),
            )
        ]
        failed = self._failed(batch, part.subset)
        names = failed or [row["rule"] for row in drops if row["stage"] == "clean"]
        cuts = self._cuts(part, number)
        overlaps = self._overlaps(part, key)
        state = self.states.named(int(self.states.codes(part)[number]))[0]
        found, complete = self.partners.of(part, key, deadline)
        marks = repeats(text, names)
        marks += _placed(data, first, _cut_marks(cuts))
        marks += _placed(data, first, _overlap_marks(overlaps, cuts))
        return {
            **about,
            "subset": part.subset,
            "part": part.name,
            "row": number,
            "bytes": size,
            "state": state,
            "drops": drops,
            "signals": {n: _value(batch, n) for n in SIGNALS.names if n in batch.schema.names},
            "failed": failed,
            "marks": as_json(marks),
            "text": text,
            "from": first,
            "to": stop,
            "partners": found,
            "partners_complete": complete,
            "overlaps": [self._overlap(row) for row in overlaps],
        }

    def text(self, part: Part, number: int) -> dict[str, Any]:
        """Return the id of a document, the first piece of its text, and the bytes of both."""
        batch = tables.row(part.path, number, ["id", "text"])
        data, _, stop, size = piece(batch.column("text"), 0)
        text = data.decode("utf-8", "replace")
        return {"id": _value(batch, "id"), "text": text, "to": stop, "bytes": size}

    def _failed(self, batch: pa.RecordBatch, subset: str) -> list[str]:
        """Return the rules that the stored signals fail, by the thresholds of the build."""
        config = self.catalogue.config
        if config is None or subset not in config.subsets:
            return []
        try:
            decision = decide(signal_columns(batch), config.rules(subset), config)
        except ValueError:
            return []  # not measured by this build; the summary says so
        if not len(decision.failed):
            return []
        return [str(rule) for rule in RULES if decision.failed[0] & rule.bit]

    def _cuts(self, part: Part, number: int) -> list[dict[str, Any]]:
        if "spans" not in self.catalogue.drops:
            return []
        path = part.beside(self.catalogue.root, "spans")
        columns = ("start", "stop", "survivor_part", "survivor_row")
        return sorted(tables.matching(path, "row", number, columns), key=lambda cut: cut["start"])

    def _overlaps(self, part: Part, key: str) -> list[dict[str, Any]]:
        if "overlap" not in self.catalogue.drops:
            return []
        columns = ("test_set", "test_id", "jaccard", "containment", "kind", "start", "end")
        path = part.beside(self.catalogue.root, "overlaps")
        return tables.matching(path, "id", key, columns)

    def _overlap(self, row: dict[str, Any]) -> dict[str, Any]:
        shown = {k: row.get(k) for k in ("test_set", "test_id", "jaccard", "containment", "kind")}
        if row["kind"] == "title":
            return shown | {"text": "its title is in overlap.wikipedia_titles"}
        config = self.catalogue.root / "config.yaml"
        changed = config.stat().st_mtime_ns if config.exists() else 0
        return shown | {"text": _item(config, changed, row["test_set"], row["test_id"])}


@lru_cache(64)
def _item(config: Path, changed: int, name: str, key: str) -> str:
    """Return the text of a test item, from where the config has it, or why it cannot be shown."""
    try:
        overlap = load(config).config.overlap
        item = find_item(overlap.test_sets, overlap.text_field, name, key)
    except MassivetextError as error:
        return f"its text cannot be shown ({error})"
    if item is None:
        return "no such item any more; overlap.test_sets has changed since the build"
    return item.text[:SHOWN_CHARACTERS] + "…" * (len(item.text) > SHOWN_CHARACTERS)


def piece(column: pa.Array, start: int) -> tuple[bytes, int, int, int]:
    """Return `(bytes, first, end, size)`: a piece of a text from about byte `start`, whole
    characters, and how large the text is."""
    size = int(pc.binary_length(column)[0].as_py())
    data = column.cast(pa.large_binary())[0].as_buffer()
    start = min(start, max(0, size - 1))
    stop = min(size, start + PIECE_BYTES)
    # The bytes after the first of a character are 10xxxxxx.
    while start > 0 and data[start] & 0xC0 == 0x80:
        start -= 1
    while start < stop < size and data[stop] & 0xC0 == 0x80:
        stop -= 1
    return data[start:stop].to_pybytes(), start, stop, size


def _value(batch: pa.RecordBatch, name: str) -> Any:
    if name not in batch.schema.names:
        return None
    value = batch.column(name)[0].as_py()
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS:
        return value[:SHOWN_CHARACTERS] + "…" if name != "id" else value
    return value


def _cut_marks(cuts: Sequence[dict[str, Any]]) -> list[tuple[int, int, str, str]]:
    return [
        (
            cut["start"],
            cut["stop"],
            "cut",
            f"repeated span; stays in {cut['survivor_part']} row {cut['survivor_row']}",
        )
        for cut in cuts
    ]


def _overlap_marks(
    overlaps: Sequence[dict[str, Any]], cuts: Sequence[dict[str, Any]]
) -> list[tuple[int, int, str, str]]:
    """Return the passages shared with test items, in the bytes of the measured text."""
    marks = []
    for row in overlaps:
        if row.get("start") is not None and row.get("end") is not None:
            label = f"{row['test_set']}: {row['test_id']}"
            bounds = [_before_cuts(row[name], cuts) for name in ("start", "end")]
            marks.append((bounds[0], bounds[1], "test item", label))
    return marks


def _before_cuts(place: int, cuts: Sequence[dict[str, Any]]) -> int:
    """Return where a byte of the text without its cuts is in the text with them."""
    for cut in cuts:
        if place < cut["start"]:
            break
        place += cut["stop"] - cut["start"]
    return place


def _placed(data: bytes, first: int, found: list[tuple[int, int, str, str]]) -> list[Mark]:
    """Return the marks, in bytes of a text, that touch the piece `data` from byte `first` on."""
    marks = []
    for start, stop, kind, label in found:
        low, high = max(0, start - first), min(len(data), stop - first)
        if low < high:
            ends = [len(data[:at].decode("utf-8", "ignore")) for at in (low, high)]
            marks.append(Mark(ends[0], ends[1], kind, label))
    return marks


def metadata(value: str | None) -> Any:
    """Return the metadata of a document as JSON where it is, as it is where it is not."""
    try:
        return None if value is None else json.loads(value)
    except (ValueError, RecursionError):
        return value
