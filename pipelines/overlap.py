"""Stage `overlap`: drop documents that copy a test document, and Wikipedia pages by title.

Output, for every measured part: `dropped/overlap/` (rows of `DROPPED`) and `overlaps/` (rows of
`OVERLAP`), each `<subset>/part-*.parquet`. Only documents that every stage before has kept are
compared, by what it has left of their text.
"""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from massivetext.config import Config
from massivetext.config import Overlap as Rule
from massivetext.config_file import to_dict
from massivetext.containment import Weights, containment_scores
from massivetext.dataset import sha256_file, sha256_json
from massivetext.document import text_buffers
from massivetext.dropped import DROP_STAGES, DROPPED
from massivetext.errors import InputError
from massivetext.overlap import Scores, Tally, jaccard_scores, load_index
from massivetext.overlap_hits import find_hits
from massivetext.overlap_index import Index
from massivetext.overlap_span import matched_spans
from massivetext.storage import Location, location
from massivetext.test_sets import named_files, plain_title, read_titles

from .context import Context
from .overlap_count import CountDocuments, StoredHits, hits_file, save_weights
from .overlap_report import leave_tallies, report
from .overlap_rows import CONTAINMENT, JACCARD, OVERLAP, TITLE, Found
from .part import Part, PartOutput, add_counts
from .parts import CutReader, keep_mask, measured_parts, read_batches
from .stage import materialise, run_parts

VERSION = 2
WIKIPEDIA = "wikipedia"
BEFORE = DROP_STAGES[: DROP_STAGES.index("overlap")]


class FindOverlap:
    """Compares the surviving documents of one measured part with the test sets and titles.

    Args:
      work: folder of the stage's own files, relative to the dataset, with `index/` when there are
        test sets, and when the rule has containment, `weights/` and what `CountDocuments` wrote.
    """

    def __init__(self, work: str, root: Location, rule: Rule, titles: frozenset[str] | None):
        self.work, self.root, self.rule, self.titles = work, root, rule, titles
        self.index: Index | None = None
        self.weights: Weights | None = None

    def setup(self) -> None:
        if self.rule.test_sets:
            self.index = Index.open(self.root / self.work / "index", self.rule.ngram)
            if self.rule.containment is not None:
                self.weights = Weights.open(self.root / self.work / "weights")

    def run(self, part: Part, out: PartOutput) -> None:
        keep = keep_mask(out.root, part, BEFORE)
        cuts = CutReader(out.root, part)
        subset = part.arguments["subset"]
        tallies = {} if self.index is None else {JACCARD: Tally.of(self.index)}
        stored = None
        if self.index is not None and self.weights is not None:
            tallies[CONTAINMENT] = Tally.of(self.index)
            stored = StoredHits(out.root / hits_file(self.work, part.name))
        by_title = self.titles is not None and subset == WIKIPEDIA
        out.counts["documents"] += int(keep.sum())
        start = 0
        with (
            out.parquet(f"dropped/overlap/{part.name}.parquet", DROPPED) as dropped,
            out.parquet(f"overlaps/{part.name}.parquet", OVERLAP) as overlaps,
        ):
            if self.index is None and not by_title:
                return  # nothing to look for, so text need not be read
            path = out.root / f"measured/{part.name}.parquet"
            for batch in read_batches(path, ["id", "text", "metadata"]):
                batch = cuts.cut(batch, start)
                rows = np.flatnonzero(keep[start : start + batch.num_rows])
                kept = batch.take(pa.array(rows))
                rows += start
                found = self._copies(kept, rows, stored, tallies)
                if by_title:
                    found.append(self._titled(kept, found, out))
                for one in found:
                    out.counts[one.kind] += len(one.at)
                    drop, overlap = one.batches(kept, rows, subset)
                    dropped.write(drop)
                    overlaps.write(overlap)
                start += batch.num_rows
                out.progress(part.bytes * start // max(1, len(keep)))
        if tallies:
            leave_tallies(tallies, self.work, part, out)

    def _copies(
        self,
        batch: pa.RecordBatch,
        rows: np.ndarray,
        stored: StoredHits | None,
        tallies: dict[str, Tally],
    ) -> list[Found]:
        """Return the copies by each rule; a document is dropped by the paper's before the other."""
        if self.index is None:
            return []
        text = batch.column("text")
        hits = find_hits(*text_buffers(text), self.index) if stored is None else stored.of(rows)
        scores = jaccard_scores(hits, self.index, self.rule.jaccard, tallies[JACCARD])
        copied = scores.above > 0
        found = [self._copy(JACCARD, text, np.flatnonzero(copied), scores, self.rule.jaccard)]
        if self.weights is not None and self.rule.containment is not None:
            limit = self.rule.containment
            scores = containment_scores(hits, self.index, self.weights, limit, tallies[CONTAINMENT])
            at = np.flatnonzero((scores.above > 0) & ~copied)
            found.append(self._copy(CONTAINMENT, text, at, scores, limit))
        return found

    def _copy(
        self, kind: str, text: pa.Array, at: np.ndarray, scores: Scores, threshold: float
    ) -> Found:
        assert self.index is not None
        items = scores.item[at]
        spans = matched_spans(*text_buffers(text.take(pa.array(at))), items, self.index)
        names = self.index.names.take(pa.array(items))
        return Found(
            kind,
            at,
            names.column("test_set").combine_chunks(),
            names.column("test_id").combine_chunks(),
            pa.array(scores.value[at]),
            threshold,
            spans,
            scores.above[at],
        )

    def _titled(self, batch: pa.RecordBatch, found: list[Found], out: PartOutput) -> Found:
        """Return the pages with a listed title that are not dropped as copies already."""
        assert self.titles is not None
        titles = [_title(value) for value in batch.column("metadata").to_pylist()]
        out.counts["titled"] += sum(title is not None for title in titles)
        listed = np.array([title in self.titles for title in titles], bool)
        for one in found:
            listed[one.at] = False
        at = np.flatnonzero(listed)
        matched = pa.array([titles[i] for i in at], pa.string())
        missing = pa.nulls(len(at), pa.string())
        return Found(TITLE, at, missing, matched, pa.nulls(len(at), pa.float64()), None)


def _title(metadata: str | None) -> str | None:
    title = json.loads(metadata).get("title") if metadata else None
    return plain_title(title) if isinstance(title, str) else None


def _fingerprint(files: dict[str, str]) -> list[list[str]]:
    return [[name, sha256_file(location(path))] for name, path in files.items()]


def run(
    context: Context,
    config: Config,
    measured: dict[str, Any],
    clean: dict[str, Any],
    deduplicated: dict[str, Any],
) -> dict[str, Any]:
    """Return the manifest of `overlap`.

    `counts` and, for each subset, `subsets` hold `documents` (compared), `test_set`,
    `test_set_containment` and `title` (dropped, each document by the first of these). `test_sets`
    has of each test set its `items`, those that are `wordless`, how many were found in some
    document (`items_matched`), and the documents with any of them above the Jaccard threshold
    (`documents_jaccard`); with containment also `documents_containment`, and the items that cannot
    be looked for inside documents, because they are `too_short` or `too_common`.

    Raises:
      ConfigError, InputError: a test set or a list of titles is missing, malformed or empty, or
        there are titles to remove and no page of `wikipedia` has one.
    """
    rule = config.overlap
    parts = measured_parts(measured)
    depends = {
        "upstream": [sha256_json(manifest) for manifest in (measured, clean, deduplicated)],
        "test_sets": _fingerprint(named_files(rule.test_sets)),
        "titles": _fingerprint(named_files(rule.wikipedia_titles)),
        "rule": {**to_dict(rule), "test_sets": None, "wikipedia_titles": None},
        "version": VERSION,
    }

    def produce(key: str) -> dict[str, Any]:
        work = f".work/{key}"
        index = weights = None
        if rule.test_sets:
            index = load_index(rule)
            index.save(context.root / work / "index")
        titles = read_titles(rule.wikipedia_titles) if rule.wikipedia_titles else None
        if index is not None and rule.containment is not None:
            count = CountDocuments(work, context.root, rule.ngram, BEFORE)
            counted = add_counts(run_parts(context, "overlap-count", key, parts, count))
            total = counted.get("documents", 0)
            weights = save_weights(context.root, work, parts, index, total)
        find = FindOverlap(work, context.root, rule, titles)
        results = run_parts(context, "overlap", key, parts, find)
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
        sets = {}
        if index is not None:
            found = list(zip(parts, results, strict=True))
            sets = report(context.root, work, found, index, weights)
        return {
            "files": [f for r in results for f in r.files if not f.path.startswith(".work/")],
            "counts": add_counts(results),
            "subsets": subsets,
            "test_sets": sets,
            "test_items": sum(entry["items"] for entry in sets.values()),
            "wordless_test_items": sum(entry["wordless"] for entry in sets.values()),
        }

    return materialise(context, "overlap", depends, ("dropped/overlap", "overlaps"), produce)
