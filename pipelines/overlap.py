"""Stage `overlap`: drop documents that copy a test document, and Wikipedia pages by title.

Output, for every measured part: `dropped/overlap/` (rows of `DROPPED`) and `overlaps/` (rows of
`OVERLAP`), each `<subset>/part-*.parquet`. Only documents that every stage before has kept are
compared.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.dataset import sha256_file, sha256_json
from massivetext.document import text_buffers
from massivetext.dropped import DROPPED
from massivetext.errors import InputError
from massivetext.overlap import Index, best_matches, load_index
from massivetext.test_sets import expand, plain_title, read_titles

from .parts import keep_mask, measured_parts, read_batches
from .stage import Context, Part, PartOutput, add_counts, materialise, run_parts

VERSION = 1
WIKIPEDIA = "wikipedia"
OVERLAP = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("test_set", pa.string()),
        pa.field("test_id", pa.string()),
        pa.field("jaccard", pa.float64()),
        pa.field("kind", pa.string(), nullable=False),
    ]
)


class FindOverlap:
    """Compares the surviving documents of one measured part with the test sets and titles."""

    def __init__(
        self, index: Path | None, ngram: int, threshold: float, titles: frozenset[str] | None
    ):
        self.index_folder, self.ngram, self.threshold = index, ngram, threshold
        self.titles = titles
        self.index: Index | None = None

    def setup(self) -> None:
        if self.index_folder is not None:
            self.index = Index.open(self.index_folder, self.ngram)

    def run(self, part: Part, out: PartOutput) -> None:
        keep = keep_mask(out.root, part, ("clean", "exact", "near"))
        subset = part.arguments["subset"]
        start = 0
        with (
            out.parquet(f"dropped/overlap/{part.name}.parquet", DROPPED) as dropped,
            out.parquet(f"overlaps/{part.name}.parquet", OVERLAP) as overlaps,
        ):
            path = out.root / f"measured/{part.name}.parquet"
            for batch in read_batches(path, ["id", "text", "metadata"]):
                rows = np.flatnonzero(keep[start : start + batch.num_rows])
                kept = batch.take(pa.array(rows))
                out.counts["documents"] += len(rows)
                for drop, overlap in self._find(kept, rows + start, subset, out):
                    dropped.write(drop)
                    overlaps.write(overlap)
                start += batch.num_rows
                out.progress(part.bytes * start // max(1, len(keep)))

    def _find(
        self, batch: pa.RecordBatch, rows: np.ndarray, subset: str, out: PartOutput
    ) -> list[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """Return at most one drop a document; a copied test document goes before a title."""
        found = []
        copied = np.zeros(batch.num_rows, bool)
        if self.index is not None:
            matches = best_matches(*text_buffers(batch.column("text")), self.index)
            copied = matches.jaccard > self.threshold
            at = np.flatnonzero(copied)
            names = self.index.names.take(pa.array(matches.item[at]))
            items = pa.RecordBatch.from_struct_array(names.to_struct_array().combine_chunks())
            origin = (items.column("test_set"), items.column("test_id"))
            found.append(self._rows(batch, rows, at, subset, *origin, matches.jaccard[at]))
            out.counts["test_set"] += len(at)
        if self.titles is not None and subset == WIKIPEDIA:
            titles = [_title(value) for value in batch.column("metadata").to_pylist()]
            out.counts["titled"] += sum(title is not None for title in titles)
            listed = np.array([title in self.titles for title in titles], bool)
            at = np.flatnonzero(listed & ~copied)
            names = pa.nulls(len(at), pa.string())
            matched = pa.array([titles[i] for i in at], pa.string())
            found.append(self._rows(batch, rows, at, subset, names, matched, None))
            out.counts["title"] += len(at)
        return found

    def _rows(
        self,
        batch: pa.RecordBatch,
        rows: np.ndarray,
        at: np.ndarray,
        subset: str,
        test_set: pa.Array,
        test_id: pa.Array,
        jaccard: np.ndarray | None,
    ) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        count = len(at)
        title = jaccard is None
        ids = batch.column("id").take(pa.array(at))
        value = pa.nulls(count, pa.float64()) if title else pa.array(jaccard)
        limit = None if title else self.threshold
        kind = "title" if title else "test_set"
        drop = [
            ids,
            pa.array([subset] * count, pa.string()),
            pa.array(["overlap"] * count, pa.string()),
            pa.array(["wikipedia_title" if title else "test_set_overlap"] * count, pa.string()),
            value,
            pa.array([limit] * count, pa.float64()),
            pa.array(rows[at], pa.int64()),
            test_id,
            test_set,
        ]
        overlap = [ids, test_set, test_id, value, pa.array([kind] * count, pa.string())]
        return (
            pa.RecordBatch.from_arrays(drop, schema=DROPPED),
            pa.RecordBatch.from_arrays(overlap, schema=OVERLAP),
        )


def _title(metadata: str | None) -> str | None:
    title = json.loads(metadata).get("title") if metadata else None
    return plain_title(title) if isinstance(title, str) else None


def _fingerprint(patterns: tuple[str, ...]) -> list[list[str]]:
    return [[Path(path).name, sha256_file(Path(path))] for path in expand(patterns)]


def run(
    context: Context,
    config: Config,
    measured: dict[str, Any],
    clean: dict[str, Any],
    deduplicated: dict[str, Any],
) -> dict[str, Any]:
    """Return the manifest of `overlap`.

    `counts` and, for each subset, `subsets` hold `documents` (compared), `test_set` and `title`
    (dropped); `test_items` and `wordless_test_items` describe the test sets.

    Raises:
      ConfigError, InputError: a test set or a list of titles is missing, malformed or empty, or
        there are titles to remove and no page of `wikipedia` has one.
    """
    rule = config.overlap
    parts = measured_parts(measured)
    depends = {
        "upstream": [sha256_json(manifest) for manifest in (measured, clean, deduplicated)],
        "test_sets": _fingerprint(rule.test_sets),
        "titles": _fingerprint(rule.wikipedia_titles),
        "rule": {**to_dict(rule), "test_sets": None, "wikipedia_titles": None},
        "version": VERSION,
    }

    def produce(key: str) -> dict[str, Any]:
        folder = None
        items = wordless = 0
        if rule.test_sets:
            index = load_index(rule)
            items, wordless = index.size, index.wordless
            folder = context.root / ".work" / key / "index"
            index.save(folder)
        titles = read_titles(rule.wikipedia_titles) if rule.wikipedia_titles else None
        work = FindOverlap(folder, rule.ngram, rule.jaccard, titles)
        results = run_parts(context, "overlap", key, parts, work)
        subsets = {
            name: add_counts(
                [r for p, r in zip(parts, results, strict=True) if p.arguments["subset"] == name]
            )
            for name in sorted(measured["subsets"])
        }
        pages = subsets.get(WIKIPEDIA, {})
        if titles is not None and pages.get("documents", 0) and not pages.get("titled", 0):
            raise InputError(
                "overlap.wikipedia_titles is set, but no document of the subset wikipedia has a "
                "'title' in its metadata, so none could be removed; read it with format mediawiki, "
                "or add a field 'title' to its records"
            )
        return {
            "files": [file for result in results for file in result.files],
            "counts": add_counts(results),
            "subsets": subsets,
            "test_items": items,
            "wordless_test_items": wordless,
        }

    return materialise(context, "overlap", depends, ("dropped/overlap", "overlaps"), produce)
