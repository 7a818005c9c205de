"""Stage `deduplicate`: exact, then near duplicates; every removal with its verified evidence.

Output, for every measured part of the subsets that take part: `dropped/exact/`, `dropped/near/`
(rows of `DROPPED`) and `duplicates/` (rows of `DUPLICATE`), each `<subset>/part-*.parquet`.
Duplicates by URL, when the config asks for them, go first, and are listed with the exact ones.
Documents of earlier builds, when the config names some, take part, and all of them stay.
See docs/deduplication.md for the mathematics, the memory it needs and its limits.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from massivetext.config import Config
from massivetext.dataset import read_json, read_table, sha256_json, write_json
from massivetext.dropped import DROPPED
from massivetext.errors import MassivetextError, StageError
from massivetext.mapped import read_arrow
from massivetext.progress import Progress
from massivetext.storage import Location, exists, make_folder, read_all, remove_tree, sizes

from . import earlier, shingles, sketch
from .candidates import EXACT, PAIR_PARTITIONS, find_candidates
from .candidates import ROW_BYTES as BAND_BYTES
from .context import Context, MakeExchange, execute_exchange, paced
from .exact import LEADER_BYTES, Files, dropped_by, link_leaders
from .names import Names, collect
from .near import NEAR, connect, exchanged_bytes, find_near, pair_files
from .numbering import Numbering, numpy_columns, partitions
from .part import Part, PartOutput, PartResult, add_counts
from .stage import materialise, run_parts

VERSION = 2
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
        # Folders of the earlier builds that the two are of; null for this one.
        pa.field("survivor_build", pa.string()),
        pa.field("partner_build", pa.string()),
    ]
)


class Cut:
    """Writes the drop lists and the evidence of one measured part."""

    def __init__(self, files: Files, threshold: float):
        self.files, self.threshold = files, threshold

    def setup(self) -> None:
        self.names = Names(self.files)

    def run(self, part: Part, out: PartOutput) -> None:
        numbering = self.files.numbering
        index = numbering.names.index(part.name, numbering.own)
        first = int(numbering.first[index])
        table = read_table(self.files.sketch(index), ["row", "id"])
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
                builds = [self.names.build(kept), self.names.build(other)]
                duplicates = [own, kept_ids, kept_ids, other_ids, value, kind, *builds]
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
                    builds[1],
                ]
                with out.parquet(f"dropped/{stage}/{part.name}.parquet", DROPPED) as file:
                    file.write(pa.RecordBatch.from_arrays(dropped, schema=DROPPED))
                out.counts[stage] += len(row)
                if numbering.own:
                    out.counts["of_earlier"] += len(row) - builds[0].null_count
        if self.files.by_url:
            out.counts["exact"] -= int(by_url.sum())
            out.counts["url"] += int(by_url.sum())


class Steps:
    """Runs the steps before the cut; a step that is done is not done again."""

    def __init__(self, context: Context, files: Files):
        self.context, self.files, self.work = context, files, files.work

    def run(self, name: str, step: Callable[[], dict[str, int]]) -> dict[str, int]:
        done = self.work / f"{name}.done"
        if not exists(done):
            remove_tree(self.work / name)
            make_folder(self.work / name)
            try:
                counts = step()
            except MassivetextError:
                raise
            except Exception as error:  # whatever the engine raises, the step must be named
                raise StageError(
                    f"stage deduplicate, step {name}: {error}\n"
                    "(run the same command again to continue)"
                ) from error
            write_json(done, counts)
            if not self.context.quiet:
                told = ", ".join(f"{key} {value:,}" for key, value in counts.items())
                Progress.line("deduplicate", f"{name} done {told}".rstrip())
        counts_read: dict[str, int] = read_json(done)
        return counts_read

    def execute(
        self, name: str, ticks: int, build: Callable[[beam.Pipeline, MakeExchange], None]
    ) -> None:
        """Run the pipeline of a step that counts up to `ticks` parts and partitions."""
        with Progress(
            f"dedup {name}",
            ticks,
            paced(self.context, lambda: min(ticks, self.files.ticks(name))),
            unit=lambda count: f"{count:.3g}",
            quiet=self.context.quiet,
        ):
            execute_exchange(self.context, build)


def _sum_counts(folder: Location) -> dict[str, int]:
    total: Counter[str] = Counter()
    names = [name for name in sizes(folder) if name.endswith(".json")]
    for content in read_all([folder / name for name in names]):
        total.update(json.loads(content))
    return dict(total)


def _find(context: Context, config: Config, files: Files, documents: int) -> dict[str, int]:
    """Run the steps up to the duplicates' numbers; return counts of pairs and buckets.

    `documents` are those with words, of this build and earlier ones.
    """
    rule = config.deduplicate
    steps = Steps(context, files)
    parts = len(files.numbering.names)

    def link(name: str) -> dict[str, int]:
        size = partitions(documents * LEADER_BYTES)
        steps.execute(
            name, parts + size, lambda p, exchange: link_leaders(p, exchange, files, name, size)
        )
        return {}

    def url() -> dict[str, int]:
        return link("url")

    def exact() -> dict[str, int]:
        return link("exact")

    def candidates() -> dict[str, int]:
        size = partitions(documents * rule.bands * BAND_BYTES)
        steps.execute(
            "candidates",
            parts + (1 + PAIR_PARTITIONS) * size,
            lambda p, e: find_candidates(p, e, files, rule.bands, size),
        )
        counts = _sum_counts(files.work / "candidates" / "buckets")
        return {name: counts.get(name, 0) for name in ("large_buckets", "uncompared_pairs")}

    def near() -> dict[str, int]:
        pairs = connect(files)
        if pairs:
            size = partitions(exchanged_bytes(files, pairs))
            steps.execute(
                "near",
                parts + len(pair_files(files)) + size,
                lambda p, e: find_near(p, e, files, rule.ngram, rule.jaccard, size),
            )
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
    (dropped at stage `exact`, not counted in it), with `against` also `of_earlier` (of those
    dropped, the ones whose survivor is of an earlier build); `counts` also `candidate_pairs`,
    `verified_pairs`, `large_buckets` and their `uncompared_pairs`.

    Raises:
      ConfigError: an earlier build is missing, or does not fit.
      StageError: a step failed, or there are more documents than 32 bits can number.
    """
    parts, sketches = sketch.run(context, config, measured, clean)
    manifest = from_sketches(context, config, parts, sketches)
    if config.deduplicate.keep_shingles:
        shingles.run(context, config.deduplicate.ngram, parts, manifest)
    else:
        shingles.remove(context.root)
    return manifest


def from_sketches(
    context: Context, config: Config, parts: list[Part], sketches: dict[str, Any]
) -> dict[str, Any]:
    """Do what `run` does once there are sketches of `parts`."""
    builds = earlier.load(config) if parts else []
    depends = {
        "sketch": sha256_json(sketches),
        "jaccard": config.deduplicate.jaccard,
        "version": VERSION,
        # Their folders as well: the evidence names them.
        **({"against": [[build.folder, build.key] for build in builds]} if builds else {}),
    }

    def produce(key: str) -> dict[str, Any]:
        if not parts:
            return {"files": [], "counts": {}, "subsets": {}}
        work = context.root / ".work" / key
        numbering = Numbering(parts, [part for build in builds for part in build.parts])
        files = Files(context.root, work, numbering, config.deduplicate.by_url)
        documents = sum(build.documents for build in builds)
        documents += sketches["counts"].get("documents", 0) - sketches["counts"].get("empty", 0)
        pairs = _find(context, config, files, documents)
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
