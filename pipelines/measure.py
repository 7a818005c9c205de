"""Stage `measure`: read every subset, extract text from markup, measure every signal.

Output: `measured/<subset>/part-00000.parquet`, one per input split: every readable document with
its signals, before any decision. Thresholds play no part here, so changing one never reads text.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from massivetext import rules
from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.dataset import sha256_file
from massivetext.document import DOCUMENT, PAGE, DeadLetter, iterate_slices
from massivetext.errors import StageError
from massivetext.extract import extract_batch
from massivetext.readers import Split, fingerprint, plan, read

from .parts import read_batches
from .stage import Context, Part, PartOutput, PartResult, add_counts, materialise, run_parts

VERSION = 1
MEASURED = pa.schema(
    [*DOCUMENT, pa.field("text_bytes", pa.int64(), nullable=False), *rules.SIGNALS]
)


class Measure:
    """Reads one split and writes its documents with their signals."""

    def __init__(self, config: Config):
        self.config = config
        self.models: dict[str, rules.Models] = {}

    def setup(self) -> None:
        rules.warm_up()

    def _models(self, subset: str) -> rules.Models:
        if subset not in self.models:
            self.models[subset] = rules.load_models(self.config, self.config.rules(subset))
        return self.models[subset]

    def run(self, part: Part, out: PartOutput) -> None:
        name = part.arguments["subset"]
        split = Split(**part.arguments["split"])
        subset = self.config.subsets[name]
        models = self._models(name)
        with out.parquet(f"measured/{part.name}.parquet", MEASURED) as file:
            for batch in read(split, subset, name, out.dead, out.progress):
                out.counts["records"] += batch.num_rows
                if batch.schema.equals(PAGE):
                    out.counts["page_bytes"] += batch.column("content").nbytes
                    batch = extract_batch(batch, "measure", out.dead)
                for measured in self._measure(batch, name, models, out):
                    out.counts["documents"] += measured.num_rows
                    out.counts["text_bytes"] += pc.sum(measured.column("text_bytes")).as_py() or 0
                    file.write(measured)

    def _measure(
        self, batch: pa.RecordBatch, name: str, models: rules.Models, out: PartOutput
    ) -> Iterator[pa.RecordBatch]:
        """Measure a batch; when that fails, row by row, so that one bad document is one loss."""
        try:
            yield self._signals(batch, name, models)
        except Exception as error:
            if batch.num_rows == 1:
                out.dead.add(
                    DeadLetter(
                        batch.column("id")[0].as_py(),
                        "measure",
                        batch.column("source")[0].as_py(),
                        f"{type(error).__name__}: {error}",
                        batch.column("text")[0].as_py()[:4096].encode(),
                    )
                )
                return
            for row in iterate_slices(batch):
                yield from self._measure(row, name, models, out)

    def _signals(self, batch: pa.RecordBatch, name: str, models: rules.Models) -> pa.RecordBatch:
        measured = rules.measure(batch, self.config.rules(name), models)
        sizes = pc.binary_length(batch.column("text")).cast(pa.int64())
        columns = [
            sizes if field.name == "text_bytes" else measured.column(field.name)
            for field in MEASURED
        ]
        return pa.RecordBatch.from_arrays(columns, schema=MEASURED)


def measure_parts(config: Config) -> list[Part]:
    """Return one part per input split, subsets and splits in sorted order."""
    parts = []
    for name in sorted(config.subsets):
        for index, split in enumerate(plan(config.subsets[name], name)):
            arguments = {"subset": name, "split": asdict(split)}
            parts.append(Part(f"{name}/part-{index:05d}", split.bytes, arguments))
    return parts


def run(context: Context, config: Config) -> dict[str, Any]:
    """Return the manifest of `measure`; `subsets` has documents, bytes and parts of each."""
    parts = measure_parts(config)
    depends = {
        "version": [VERSION, rules.RULE_VERSION],
        "subsets": {
            name: {
                "config": {**to_dict(subset), "input": None},
                "groups": [str(group) for group in config.rules(name)],
                "inputs": fingerprint(
                    [Split(**p.arguments["split"]) for p in parts if p.arguments["subset"] == name]
                ),
            }
            for name, subset in sorted(config.subsets.items())
        },
        "models": _models(config),
    }

    def produce(key: str) -> dict[str, Any]:
        results = run_parts(context, "measure", key, parts, Measure(config))
        check_dead_letters(context.root, config, "measure", results)
        subsets: dict[str, Any] = {}
        for part, result in zip(parts, results, strict=True):
            entry = subsets.setdefault(part.arguments["subset"], {"counts": {}, "parts": []})
            for name, value in result.counts.items():
                entry["counts"][name] = entry["counts"].get(name, 0) + value
            entry["parts"].append(
                {
                    "name": part.name,
                    "path": f"measured/{part.name}.parquet",
                    "rows": result.counts.get("documents", 0),
                    "bytes": result.counts.get("text_bytes", 0),
                }
            )
        files = [file for result in results for file in result.files]
        return {"files": files, "counts": add_counts(results), "subsets": subsets}

    return materialise(context, "measure", depends, ("measured", "dead/measure"), produce)


def _models(config: Config) -> dict[str, Any]:
    """Return the identity of what signals depend on beside the text: contents, not places."""
    files = {
        "language": config.language.model if config.language else None,
        "safety": config.safety.model if config.safety else None,
        "words": config.safety.words if config.safety else None,
    }
    found: dict[str, Any] = {n: sha256_file(Path(path)) for n, path in files.items() if path}
    return {**found, "safety_label": config.safety.label if config.safety else None}


def check_dead_letters(root: Path, config: Config, stage: str, results: list[PartResult]) -> None:
    """Stop when too many records were set aside: something is wrong with the data or the config."""
    counts = add_counts(results)
    dead = counts.get("dead_letters", 0)
    total = counts.get("records", 0) + dead
    limit = config.dead_letters.max_fraction
    if dead > limit * total:
        files = [f.path for r in results for f in r.files if f.path.startswith(f"dead/{stage}/")]
        [first] = next(read_batches(root / files[0], ["error"], rows=1)).column("error").to_pylist()
        raise StageError(
            f"stage {stage}: {dead} of {total} records could not be processed, more than "
            f"dead_letters.max_fraction = {limit}; the first: {first}; all are in {files[0]} and "
            "beside it. Repair the input, or raise the limit if they may go"
        )
