"""Stage `measure`: read every subset, extract text from markup, measure every signal.

Output: `measured/<subset>/part-00000.parquet`, one per input split: every readable document with
its signals, before any decision. Thresholds play no part here, so changing one never reads text.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from massivetext import signals
from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.config_rules import RuleGroup
from massivetext.dataset import sha256_file
from massivetext.document import DOCUMENT, PAGE, DeadLetter, iterate_slices
from massivetext.errors import StageError
from massivetext.extract import Extract, extract_batch
from massivetext.extract import warm_up as warm_up_extraction
from massivetext.extract.libraries import extractor
from massivetext.readers import Split, fingerprint, plan, read, yields_pages
from massivetext.rules import SIGNALS
from massivetext.signals import Measurer
from massivetext.storage import Location, location
from massivetext.test_sets import expand

from .context import Context
from .part import Part, PartOutput, PartResult, add_counts
from .parts import read_batches
from .stage import materialise, run_parts

VERSION = 3
MEASURED = pa.schema([*DOCUMENT, pa.field("text_bytes", pa.int64(), nullable=False), *SIGNALS])


class Measure:
    """Reads one split and writes its documents with their signals."""

    def __init__(self, config: Config):
        self.config = config
        self.measurers: dict[str, Measurer] = {}
        self.extract: Extract | None = None

    def setup(self) -> None:
        signals.warm_up(self.config)
        if any(yields_pages(subset) for subset in self.config.subsets.values()):
            warm_up_extraction()
        rule = self.config.extraction
        self.extract = extractor(rule.extractor, rule.seconds)

    def _measurer(self, subset: str) -> Measurer:
        if subset not in self.measurers:
            mask = self.config.subsets[subset].mask
            self.measurers[subset] = Measurer.load(self.config, self.config.rules(subset), mask)
        return self.measurers[subset]

    def run(self, part: Part, out: PartOutput) -> None:
        name = part.arguments["subset"]
        split = Split(**part.arguments["split"])
        subset = self.config.subsets[name]
        measurer = self._measurer(name)
        with out.parquet(f"measured/{part.name}.parquet", MEASURED) as file:
            for batch in read(split, subset, name, out.dead, out.progress):
                out.counts["records"] += batch.num_rows
                if batch.schema.equals(PAGE):
                    out.counts["page_bytes"] += batch.column("content").nbytes
                    assert self.extract is not None, "setup has run"
                    batch = extract_batch(batch, "measure", out.dead, self.extract)
                for measured in self._measure(batch, measurer, out):
                    out.counts["documents"] += measured.num_rows
                    out.counts["text_bytes"] += pc.sum(measured.column("text_bytes")).as_py() or 0
                    file.write(measured)

    def _measure(
        self, batch: pa.RecordBatch, measurer: Measurer, out: PartOutput
    ) -> Iterator[pa.RecordBatch]:
        """Measure a batch; when that fails, row by row, so that one bad document is one loss."""
        try:
            yield _with_signals(batch, measurer)
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
                yield from self._measure(row, measurer, out)


def _with_signals(batch: pa.RecordBatch, measurer: Measurer) -> pa.RecordBatch:
    measured = measurer.measure(batch)
    sizes = pc.binary_length(measured.column("text")).cast(pa.int64())
    columns = [
        sizes if field.name == "text_bytes" else measured.column(field.name) for field in MEASURED
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
        "version": [VERSION, signals.SIGNALS_VERSION],
        "subsets": {
            name: {
                "settings": _settings(config, name),
                "inputs": fingerprint(
                    [Split(**p.arguments["split"]) for p in parts if p.arguments["subset"] == name]
                ),
            }
            for name in sorted(config.subsets)
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


def _settings(config: Config, name: str) -> dict[str, Any]:
    """Return what decides how the records of a subset are read, edited and measured."""
    subset = config.subsets[name]
    groups = config.rules(name)
    settings: dict[str, Any] = {
        "config": {**to_dict(subset), "input": None, "rules": None},
        "groups": [str(group) for group in groups],
    }
    if yields_pages(subset):
        settings["extractor"] = str(config.extraction.extractor)
    if RuleGroup.REPETITION in groups:
        settings["compat"] = str(config.repetition.compat or "")
    if RuleGroup.CLASSIFIER in groups:
        settings["seed"] = config.seed
    if RuleGroup.C4 in groups:
        # Lines are removed by these; the other fields are thresholds.
        lines = ("terminal_punctuation", "min_line_words", "max_word_characters")
        settings["c4"] = {key: getattr(config.c4, key) for key in lines}
    return settings


def _models(config: Config) -> dict[str, Any]:
    """Return the identity of what signals depend on beside the text: contents, not places."""
    files: dict[str, tuple[str, ...]] = {}
    if config.url:
        files["url_domains"] = tuple(map(str, expand(config.url.domains)))
        files["url_words"] = tuple(map(str, expand(config.url.words)))
    if config.language:
        files["language"] = (config.language.model,)
    if config.safety:
        files["safety"] = (config.safety.model,) if config.safety.model else ()
        files["words"] = (config.safety.words,) if config.safety.words else ()
    if config.classifier:
        files["classifier"] = (config.classifier.model,)
    labels = {
        "safety_label": config.safety.label if config.safety else None,
        "classifier_label": config.classifier.label if config.classifier else None,
    }
    return {
        **{
            name: [sha256_file(location(p)) for p in sorted(paths)] for name, paths in files.items()
        },
        **labels,
    }


def check_dead_letters(
    root: Location, config: Config, stage: str, results: list[PartResult]
) -> None:
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
