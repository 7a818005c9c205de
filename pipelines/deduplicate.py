"""Stage `deduplicate`: exact, then near duplicates; every removal with its verified evidence.

Output, for every measured part of the subsets that take part: `dropped/exact/`, `dropped/near/`
(rows of `DROPPED`) and `duplicates/` (rows of `DUPLICATE`), each `<subset>/part-*.parquet`.
Duplicates by URL, when the config asks for them, go first, and are listed with the exact ones.
See docs/deduplication.md for the mathematics, the memory it needs and its limits.
"""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from massivetext.config import Config
from massivetext.dataset import read_json, sha256_json, write_json
from massivetext.dropped import DROPPED
from massivetext.errors import MassivetextError, StageError
from massivetext.progress import Progress

from . import sketch
from .candidates import EXACT, find_candidates
from .exact import Files, dropped_by, link_leaders
from .execute import execute
from .names import Names, collect
from .near import NEAR, connect, find_near
from .numbering import Numbering, numpy_columns, read_arrow
from .stage import Context, Part, PartOutput, PartResult, add_counts, materialise, run_parts

VERSION = 1
DUPLICATE = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("survivor", pa.string(), nullable=False),
        # The id of the cluster: its survivor's.
        pa.field("cluster", pa.string(), nullable=False),
        pa.field("partner", pa.string(), nullable=False),
        # Null for a duplicate by URL: the texts were not compared.
        pa.field("jaccard", pa.float64()),
        pa.field("kind", pa.string(), nullable=False),
    ]
)


class Cut:
    """Writes the drop lists and the evidence of one measured part."""

    def __init__(self, files: Files, threshold: float):
        self.files, self.threshold = files, threshold

    def setup(self) -> None:
        self.names = Names(self.files)

    def run(self, part: Part, out: PartOutput) -> None:
        index = self.files.numbering.names.index(part.name)
        first = int(self.files.numbering.first[index])
        table = pq.read_table(self.files.sketch(index), columns=["row", "id"])
        rows = table.column("row").to_numpy()
        ids = table.column("id").combine_chunks()
        exact, keeper = numpy_columns(
            read_arrow(self.files.result("drops", index), EXACT), "number", "survivor"
        )
        near, survivor, partner, similarity = numpy_columns(
            read_arrow(self.files.result("near", index), NEAR),
            "number",
            "survivor",
            "partner",
            "jaccard",
        )
        by_url = np.zeros(len(exact), bool)
        if self.files.by_url:
            by_url = np.isin(exact, dropped_by(self.files, index, "url")[0], assume_unique=True)
        ones = pa.array(np.ones(len(exact)), mask=by_url)
        found = {
            "exact": (exact, self.names.final(keeper), keeper, ones),
            "near": (near, survivor, partner, pa.array(similarity)),
        }
        kinds = {"exact": np.where(by_url, "url", "exact"), "near": np.full(len(near), "near")}
        with out.parquet(f"duplicates/{part.name}.parquet", DUPLICATE) as evidence:
            for stage, (number, kept, other, value) in found.items():
                row = number.astype(np.int64) - first
                own = ids.take(pa.array(np.searchsorted(rows, row)))
                kept_ids, other_ids = self.names.ids(kept), self.names.ids(other)
                kind = pa.array(kinds[stage], pa.string())
                duplicates = [own, kept_ids, kept_ids, other_ids, value, kind]
                evidence.write(pa.RecordBatch.from_arrays(duplicates, schema=DUPLICATE))
                limit = self.threshold if stage == "near" else None
                dropped = [
                    own,
                    pa.array([part.arguments["subset"]] * len(row), pa.string()),
                    pa.array([stage] * len(row), pa.string()),
                    pc.if_else(pc.equal(kind, "url"), kind, f"{stage}_duplicate"),
                    value,
                    pa.array([limit] * len(row), pa.float64()),
                    pa.array(row),
                    other_ids,
                    pa.nulls(len(row), pa.string()),
                ]
                with out.parquet(f"dropped/{stage}/{part.name}.parquet", DROPPED) as file:
                    file.write(pa.RecordBatch.from_arrays(dropped, schema=DROPPED))
                out.counts[stage] += len(row)
        if self.files.by_url:
            out.counts["exact"] -= int(by_url.sum())
            out.counts["url"] += int(by_url.sum())


class Steps:
    """Runs the steps before the cut; a step that is done is not done again."""

    def __init__(self, context: Context, work: Path):
        self.context, self.work = context, work

    def run(self, name: str, step: Callable[[], dict[str, int]]) -> dict[str, int]:
        done = self.work / f"{name}.done"
        if not done.exists():
            shutil.rmtree(self.work / name, ignore_errors=True)
            try:
                counts = step()
            except MassivetextError:
                raise
            except Exception as error:  # whatever the engine raises, the step must be named
                raise StageError(
                    f"stage deduplicate, step {name}: {error}\n"
                    "(run the same command again to continue)"
                ) from error
            shutil.rmtree(self.work / name / "spill", ignore_errors=True)
            write_json(done, counts)
            if not self.context.quiet:
                told = ", ".join(f"{key} {value:,}" for key, value in counts.items())
                Progress.line("deduplicate", f"{name} done {told}".rstrip())
        counts_read: dict[str, int] = read_json(done)
        return counts_read

    def execute(self, build: Callable[[beam.Pipeline], None]) -> None:
        execute(build, self.context.engine)


def _sum_counts(folder: Path) -> dict[str, int]:
    total: Counter[str] = Counter()
    for path in folder.glob("*.json"):
        total.update(read_json(path))
    return dict(total)


def _find(
    context: Context, config: Config, files: Files, sketches: dict[str, int]
) -> dict[str, int]:
    """Run the steps up to the duplicates' numbers; return counts of pairs and buckets."""
    rule = config.deduplicate
    steps = Steps(context, files.work)
    documents = sketches.get("documents", 0) - sketches.get("empty", 0)

    def url() -> dict[str, int]:
        steps.execute(lambda p: link_leaders(p, files, "url", documents))
        return {}

    def exact() -> dict[str, int]:
        steps.execute(lambda p: link_leaders(p, files, "exact", documents))
        return {}

    def candidates() -> dict[str, int]:
        steps.execute(lambda p: find_candidates(p, files, documents, rule.bands))
        counts = _sum_counts(files.work / "candidates" / "buckets")
        return {name: counts.get(name, 0) for name in ("large_buckets", "uncompared_pairs")}

    def near() -> dict[str, int]:
        pairs = connect(files)
        if pairs:
            shingles = sketches.get("shingles", 0)
            steps.execute(lambda p: find_near(p, files, shingles, rule.ngram, rule.jaccard))
        counts = _sum_counts(files.work / "near" / "counts")
        if counts.get("compared_pairs", 0) != pairs:
            raise StageError(
                f"{pairs} candidate pairs, but {counts.get('compared_pairs', 0)} compared; a "
                "worker lost some: run the same command again"
            )
        return {"candidate_pairs": pairs, "verified_pairs": counts.get("verified_pairs", 0)}

    def names() -> dict[str, int]:
        collect(files)
        return {}

    found = {}
    for step in (*([url] if files.by_url else []), exact, candidates, near, names):
        found.update(steps.run(step.__name__, step))
    return found


def run(
    context: Context, config: Config, measured: dict[str, Any], clean: dict[str, Any]
) -> dict[str, Any]:
    """Return the manifest of `deduplicate`.

    `counts` and, for each subset, `subsets` hold `documents` (that passed the rules), `empty`
    (without words, so never a duplicate), `exact` and `near` (dropped), with `by_url` also `url`
    (dropped at stage `exact`, not counted in it); `counts` also `candidate_pairs`,
    `verified_pairs`, `large_buckets` and their `uncompared_pairs`.

    Raises:
      StageError: a step failed, or there are more documents than 32 bits can number.
    """
    parts, sketches = sketch.run(context, config, measured, clean)
    depends = {
        "sketch": sha256_json(sketches),
        "jaccard": config.deduplicate.jaccard,
        "version": VERSION,
    }

    def produce(key: str) -> dict[str, Any]:
        if not parts:
            return {"files": [], "counts": {}, "subsets": {}}
        work = context.root / ".work" / key
        files = Files(context.root, work, Numbering(parts), config.deduplicate.by_url)
        pairs = _find(context, config, files, sketches["counts"])
        cut = Cut(files, config.deduplicate.jaccard)
        results = run_parts(context, "deduplicate", key, parts, cut)
        subsets = {
            name: {**_totals(counts), **add_counts(_of_subset(parts, results, name))}
            for name, counts in sketches["subsets"].items()
        }
        counts = {**_totals(sketches["counts"]), **add_counts(results), **pairs}
        written = [file for result in results for file in result.files]
        return {"files": written, "counts": counts, "subsets": subsets}

    folders = ("dropped/exact", "dropped/near", "duplicates")
    return materialise(context, "deduplicate", depends, folders, produce)


def _of_subset(parts: list[Part], results: list[PartResult], name: str) -> list[PartResult]:
    return [r for p, r in zip(parts, results, strict=True) if p.arguments["subset"] == name]


def _totals(counts: dict[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in ("documents", "empty")}
