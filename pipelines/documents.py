"""Stage `documents`: write what is left, and set the held-out documents aside.

Drop lists and cuts are applied row by row of the same part: text is never joined or shuffled.
Held-out documents are the ones with the smallest seeded hash of their id, per subset, so the choice
depends on nothing but ids and seed, and training never sees them.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.dataset import sha256_json
from massivetext.document import text_buffers
from massivetext.dropped import DROP_STAGES
from massivetext.hashing import hash_rows

from . import spans
from .context import Context
from .measure import MEASURED
from .part import Part, PartOutput, add_counts
from .parts import CutReader, keep_mask, measured_parts, read_batches
from .stage import materialise, run_parts

VERSION = 1
HELDOUT_SALT = 0x48454C44


def _hashes(batch: pa.RecordBatch, seed: int) -> np.ndarray:
    """Return uint64 hashes of the ids: a random order that only the seed decides."""
    return hash_rows(*text_buffers(batch.column("id")), seed ^ HELDOUT_SALT)


class Survey:
    """Counts what each drop list leaves of a part, and finds the smallest hashes of survivors."""

    def __init__(self, seed: int, keep: int, stages: tuple[str, ...]):
        self.seed, self.keep, self.stages = seed, keep, stages

    def setup(self) -> None:
        pass

    def run(self, part: Part, out: PartOutput) -> None:
        masks = {
            stage: keep_mask(out.root, part, self.stages[: index + 1])
            for index, stage in enumerate(self.stages)
        }
        cuts = CutReader(out.root, part)
        smallest = np.zeros(0, np.uint64)
        start = 0
        path = out.root / f"measured/{part.name}.parquet"
        for batch in read_batches(path, ["id", "text_bytes"]):
            sizes = batch.column("text_bytes").to_numpy()
            stop = start + batch.num_rows
            for stage, mask in masks.items():
                if stage == "spans":
                    sizes = sizes - cuts.lost_bytes(start, batch.num_rows)
                out.counts[f"{stage}/documents"] += int(mask[start:stop].sum())
                out.counts[f"{stage}/bytes"] += int(sizes[mask[start:stop]].sum())
            hashes = _hashes(batch, self.seed)[masks[self.stages[-1]][start:stop]]
            smallest = np.sort(np.concatenate([smallest, hashes]))[: self.keep]
            start = stop
        out.extra["smallest"] = [int(value) for value in smallest]


class WriteDocuments:
    """Writes the surviving rows of one measured part to `documents/` or `heldout/`."""

    def __init__(self, seed: int):
        self.seed = seed

    def setup(self) -> None:
        pass

    def run(self, part: Part, out: PartOutput) -> None:
        mask = keep_mask(out.root, part, DROP_STAGES)
        cuts = CutReader(out.root, part)
        cutoff = part.arguments["cutoff"]  # hashes up to this one are held out; -1: none
        start = 0
        with (
            out.parquet(f"documents/{part.name}.parquet", MEASURED) as documents,
            out.parquet(f"heldout/{part.name}.parquet", MEASURED) as heldout,
        ):
            for batch in read_batches(out.root / f"measured/{part.name}.parquet"):
                batch = cuts.cut(batch, start)
                keep = mask[start : start + batch.num_rows]
                start += batch.num_rows
                aside = keep & (
                    _hashes(batch, self.seed) <= np.uint64(cutoff)
                    if cutoff >= 0
                    else np.zeros(batch.num_rows, bool)
                )
                for name, file, rows in (
                    ("documents", documents, keep & ~aside),
                    ("heldout", heldout, aside),
                ):
                    chosen = batch.filter(pa.array(rows))
                    file.write(chosen)
                    out.counts[f"{name}/rows"] += chosen.num_rows
                    size = pc.sum(chosen.column("text_bytes")).as_py() or 0
                    out.counts[f"{name}/bytes"] += size


def heldout_count(documents: int, fraction: float, most: int) -> int:
    """Return how many of a subset's documents to hold out: at least one when there are two."""
    if documents < 2 or fraction == 0:
        return 0
    return min(most, documents - 1, max(1, round(fraction * documents)))


def run(
    context: Context, config: Config, measured: dict[str, Any], *decided: dict[str, Any]
) -> dict[str, Any]:
    """Return the manifest of `documents`.

    Its `subsets` and `heldout` map a subset to `documents`, `bytes` (of UTF-8 text) and `parts`,
    each part with `path`, `rows` and `bytes`; `left` has what each drop list leaves of a subset.
    """
    parts = measured_parts(measured)
    depends = {
        "upstream": [sha256_json(manifest) for manifest in (measured, *decided)],
        "heldout": to_dict(config.heldout),
        "seed": config.seed,
        "version": VERSION,
    }

    def produce(key: str) -> dict[str, Any]:
        stages = tuple(s for s in DROP_STAGES if s != "spans" or spans.wanted(config))
        work = Survey(config.seed, config.heldout.max_documents, stages)
        survey = run_parts(context, "held-out", key, parts, work)
        cutoffs = {}
        left = {}
        for name in measured["subsets"]:
            mine = [r for p, r in zip(parts, survey, strict=True) if p.arguments["subset"] == name]
            counts = add_counts(mine)
            left[name] = {
                stage: {kind: counts.get(f"{stage}/{kind}", 0) for kind in ("documents", "bytes")}
                for stage in stages
            }
            count = heldout_count(
                left[name][stages[-1]]["documents"],
                config.heldout.fraction,
                config.heldout.max_documents,
            )
            smallest = sorted(value for result in mine for value in result.extra["smallest"])
            cutoffs[name] = smallest[count - 1] if count else -1
        cut = [
            replace(p, arguments={**p.arguments, "cutoff": cutoffs[p.arguments["subset"]]})
            for p in parts
        ]
        results = run_parts(context, "documents", key, cut, WriteDocuments(config.seed))
        body: dict[str, Any] = {"counts": add_counts(results), "left": left}
        for kind, folder in (("subsets", "documents"), ("heldout", "heldout")):
            body[kind] = {}
            for name in sorted(measured["subsets"]):
                entries: list[dict[str, Any]] = [
                    {
                        "path": f"{folder}/{part.name}.parquet",
                        "rows": result.counts.get(f"{folder}/rows", 0),
                        "bytes": result.counts.get(f"{folder}/bytes", 0),
                    }
                    for part, result in zip(parts, results, strict=True)
                    if part.arguments["subset"] == name
                ]
                body[kind][name] = {
                    "documents": sum(entry["rows"] for entry in entries),
                    "bytes": sum(entry["bytes"] for entry in entries),
                    "parts": entries,
                }
        body["files"] = [file for result in results for file in result.files]
        return body

    return materialise(context, "documents", depends, ("documents", "heldout"), produce)
