"""Stage `spans`: of every line, paragraph or three-sentence window that occurs more than once in
the documents that deduplication leaves, one copy stays, and the others are cut out.

The copy that stays is the one in the document of lowest priority, within a document the first. A
sentence goes when any window that goes covers it. Every segment that goes equals one earlier in
that order, so the first of its kind always stays somewhere.

Output, for every measured part of the subsets that take part: `spans/` (rows of `CUT`, which say
what later stages leave out of the text) and `dropped/spans/` (rows of `DROPPED`: documents of
which nothing is left), each `<subset>/part-*.parquet`. The stage is there only when the config
asks for it.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from massivetext.config import Config
from massivetext.cuts import Cuts, find_cuts
from massivetext.dataset import sha256_json, write_json
from massivetext.dropped import DROPPED
from massivetext.errors import MassivetextError, StageError
from massivetext.mapped import read_arrow
from massivetext.progress import Progress
from massivetext.spans import Kept, Units, find_units
from massivetext.storage import Location, exists, make_folder, remove_tree
from massivetext.storage import remove as remove_file

from .context import Context, execute_exchange, paced
from .numbering import numpy_columns, partitions
from .part import Part, PartOutput, PartResult, add_counts
from .parts import keep_mask, measured_parts
from .span_links import BEFORE, KEPT, Pieces, Rule, link_units
from .stage import materialise, run_parts

VERSION = 1
FOLDERS = ("dropped/spans", "spans")
COUNTS = ("documents", "units", "removed_units", "removed_bytes", "cut", "emptied")

# What goes of a document: `text[start:stop]` of its UTF-8 bytes in the measured file, white space
# included. `hash` is that of the unit, and `survivor_row` of the measured file `survivor_part` is
# the document in which it stays.
CUT = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("stop", pa.int64(), nullable=False),
        pa.field("survivor_part", pa.string(), nullable=False),
        pa.field("survivor_row", pa.int64(), nullable=False),
        pa.field("hash", pa.binary(16), nullable=False),
    ]
)


class CutSpans:
    """Writes the cuts of one measured part, and the drop list of documents left without words."""

    def __init__(self, pieces: Pieces, rule: Rule):
        self.pieces, self.rule = pieces, rule

    def setup(self) -> None:
        pass

    def run(self, part: Part, out: PartOutput) -> None:
        numbering = self.pieces.numbering
        index = numbering.names.index(part.name)
        keep = keep_mask(out.root, part, BEFORE)
        with (
            out.parquet(f"spans/{part.name}.parquet", CUT) as file,
            out.parquet(f"dropped/spans/{part.name}.parquet", DROPPED) as dropped,
        ):
            for piece in range(*self.pieces.first_of_part[index : index + 2]):
                table = read_arrow(self.pieces.kept(piece), KEPT)
                kept = Kept(*numpy_columns(table, "hash0", "hash1", "survivor", "index"))
                for batch, rows in self.pieces.batches(piece, keep):
                    units = find_units(batch.column("text"), self.rule.spans, self.rule.min_words)
                    number = (rows + numbering.first[index]).astype(np.uint32)
                    by, removed = kept.removed(units, number)
                    cuts = find_cuts(batch.column("text"), units, by)
                    file.write(self._evidence(batch, rows, cuts, by[cuts.segment], kept))
                    lost = _emptied(batch, rows, cuts, part.arguments["subset"])
                    dropped.write(lost)
                    _count(out, units, cuts, removed, batch.num_rows, lost.num_rows)
                done = self.pieces.first[piece + 1] - numbering.first[index]
                out.progress(part.bytes * int(done) // max(1, len(keep)))

    def _evidence(
        self, batch: pa.RecordBatch, rows: np.ndarray, cuts: Cuts, by: np.ndarray, kept: Kept
    ) -> pa.RecordBatch:
        survivor = kept.survivor[by]
        part = self.pieces.numbering.part_of(survivor)
        hashes = np.column_stack([kept.hash0[by], kept.hash1[by]]).astype("<u8")
        columns = [
            batch.column("id").take(pa.array(cuts.document)),
            pa.array(rows[cuts.document]),
            pa.array(cuts.start),
            pa.array(cuts.stop),
            pa.array(self.pieces.numbering.names, pa.string()).take(pa.array(part)),
            pa.array(survivor - self.pieces.numbering.first[part]),
            pa.Array.from_buffers(pa.binary(16), len(by), [None, pa.py_buffer(hashes.tobytes())]),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=CUT)


def _emptied(batch: pa.RecordBatch, rows: np.ndarray, cuts: Cuts, subset: str) -> pa.RecordBatch:
    at = np.flatnonzero(cuts.emptied)
    columns = [
        batch.column("id").take(pa.array(at)),
        *(
            pa.array([text] * len(at), pa.string())
            for text in (subset, "spans", "empty_after_spans")
        ),
        pa.nulls(len(at), pa.float64()),
        pa.nulls(len(at), pa.float64()),
        pa.array(rows[at]),
        pa.nulls(len(at), pa.string()),
        pa.nulls(len(at), pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=DROPPED)


def _count(
    out: PartOutput, units: Units, cuts: Cuts, removed: int, documents: int, emptied: int
) -> None:
    out.counts["documents"] += documents
    out.counts["units"] += int(units.counts.sum())
    out.counts["removed_units"] += removed
    out.counts["removed_bytes"] += int((cuts.stop - cuts.start).sum())
    out.counts["cut"] += len(np.unique(cuts.document))
    out.counts["emptied"] += emptied


def remove(root: Location) -> None:
    """Remove what the stage left in a dataset whose config no longer asks for it."""
    for folder in FOLDERS:
        remove_tree(root / folder)
    remove_file(root / "manifests" / "spans.json")


def wanted(config: Config) -> bool:
    """Return whether the config asks for the stage."""
    return config.deduplicate.enabled and config.deduplicate.spans is not None


def _link(context: Context, pieces: Pieces, rule: Rule) -> None:
    """Find which copy of each unit stays, unless that is done already."""
    folder = pieces.work / "link"
    done = pieces.work / "link.done"
    if exists(done):
        return
    remove_tree(folder)
    make_folder(folder)
    # A row of the exchange has 33 bytes, which is less than most units have.
    size = partitions(sum(part.bytes for part in pieces.parts))
    total = len(pieces) + size
    try:
        with Progress(
            "spans link",
            total,
            paced(context, lambda: min(total, pieces.ticks())),
            unit=lambda count: f"{count:.3g}",
            quiet=context.quiet,
        ):
            execute_exchange(
                context, lambda p, exchange: link_units(p, exchange, pieces, rule, size)
            )
    except MassivetextError:
        raise
    except Exception as error:  # whatever the engine raises, the step must be named
        raise StageError(
            f"stage spans, step link: {error}\n(run the same command again to continue)"
        ) from error
    write_json(done, {})


def run(
    context: Context, config: Config, measured: dict[str, Any], *decided: dict[str, Any]
) -> dict[str, Any]:
    """Return the manifest of `spans`, which the config must ask for.

    `counts` and, for each subset, `subsets` hold `documents` (that were kept before), `units`
    (compared), `removed_units`, `removed_bytes`, `cut` (documents that lost something) and
    `emptied` (those of them that are dropped).

    Raises:
      StageError: a step failed, or there are more documents than 32 bits can number.
    """
    settings = config.deduplicate
    assert settings.spans is not None
    rule = Rule(settings.spans, settings.span_min_words, config.seed)
    subsets = sorted(name for name in config.subsets if name not in settings.except_)
    parts = measured_parts(measured, subsets)
    depends = {
        "upstream": [sha256_json(manifest) for manifest in (measured, *decided)],
        "subsets": subsets,
        "rule": [str(rule.spans), rule.min_words],
        "seed": rule.seed,
        "version": VERSION,
    }

    def produce(key: str) -> dict[str, Any]:
        if not parts:
            return {"files": [], "counts": {}, "subsets": {}}
        work = context.root / ".work" / key
        pieces = Pieces(context.root, work, parts)
        _link(context, pieces, rule)
        results = run_parts(context, "spans", key, parts, CutSpans(pieces, rule))
        return {
            "files": [file for result in results for file in result.files],
            "counts": _totals(results),
            "subsets": {name: _totals(_of_subset(parts, results, name)) for name in subsets},
        }

    return materialise(context, "spans", depends, FOLDERS, produce)


def _of_subset(parts: list[Part], results: list[PartResult], name: str) -> list[PartResult]:
    return [r for p, r in zip(parts, results, strict=True) if p.arguments["subset"] == name]


def _totals(results: list[PartResult]) -> dict[str, int]:
    return {**dict.fromkeys(COUNTS, 0), **add_counts(results)}
