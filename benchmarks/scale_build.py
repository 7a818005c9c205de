"""Rows of scale.py: whole builds, clean and deduplicate alone, the engine's overhead, engines."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import corpora
import scale_corpus
from dedup_peers import DATATROVE as DATATROVE_DEDUP
from peers import Contender, Environment, NotInstalledError
from processes import massivetext, python
from report import Report, Row
from scale_model import Measured, Quantities, StageUse
from scale_watch import Used, watch

from massivetext.dataset import read_json, sha256_json
from massivetext.errors import ConfigError

GIGABYTE = 1_000_000_000
WORKERS = 2
# From this size on, a corpus is in files of 50 MB of text, and a smaller one is part of a larger.
LARGE = GIGABYTE
FILE_BYTES = {True: 50_000_000, False: 10_000_000}
# Where the rate is the figure, and not the memory.
RATE_SAMPLE_SECONDS = 2.0
# Half of the text goes into the shards, at about 4.4 bytes a token.
TOKENS_A_BYTE = 0.1
SAMPLE_BYTES = 20_000_000
ENGINE_BYTES = 30_000_000
OVERHEAD_BYTES = 300_000_000
TROVE_BYTES = 3_000_000
# Its reader of JSON Lines needs orjson, and its writer pyarrow.
DATATROVE = Environment(
    "datatrove-clean-dedup",
    (*DATATROVE_DEDUP.requirements, "orjson==3.13.0", "pyarrow==25.0.1"),
)
ITEMS = "test_sets/evaluation_items.jsonl.gz"
PEAK, GROWTH, RATE, TROVE, OVERHEAD = 3.0, 11.0, 40.0, 100.0, 30.0
# Beam's own portable runner, its job service and workers on this machine.
PORTABLE = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")


@dataclass(frozen=True)
class Scale:
    """What every section is given: where results and files go, and the sizes in bytes, ascending.

    Attributes:
      engines: Beam flags of further engines, by name.
    """

    report: Report
    folder: Path
    sizes: tuple[int, ...]
    engines: Mapping[str, tuple[str, ...]]

    def config(self, size: int, name: str, *, whole: bool) -> Path:
        """Make a corpus and a config that builds it into `self.folder / name`; return its path."""
        files = scale_corpus.make(self.folder / "corpus", size, FILE_BYTES[size >= LARGE], WORKERS)
        subsets = {kind: {"input": paths, "rules": ["gopher"]} for kind, paths in files.items()}
        config: dict[str, Any] = {"output": str(self.folder / name), "subsets": subsets}
        if whole:
            config |= {
                "overlap": {"test_sets": [str(corpora.locate(ITEMS))]},
                "tokenizer": {"sample_bytes": SAMPLE_BYTES},
                "mixture": {
                    "weights": {kind: about.share for kind, about in scale_corpus.KINDS.items()},
                    "tokens": round(size * TOKENS_A_BYTE),
                },
            }
        path = self.folder / f"{name}.yaml"
        # JSON is YAML.
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def manifest(self, name: str, stage: str) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.folder / name / "manifests" / f"{stage}.json")
        return found


def build(scale: Scale) -> list[Measured]:
    """Whole builds up to shards, with two workers: time, memory, and what each stage used."""
    warm_up(scale)
    measured = []
    for size in scale.sizes:
        name = f"build-{size}"
        path = scale.config(size, name, whole=True)
        try:
            watched = watch(
                ["-m", "massivetext", "build", str(path), "--workers", str(WORKERS)],
                scale.folder / name,
                scale.folder / "scratch",
            )
            counts = scale.manifest(name, "measure")["counts"]
        finally:
            shutil.rmtree(scale.folder / name, ignore_errors=True)
        quantities = Quantities(counts["text_bytes"], counts["documents"], size * TOKENS_A_BYTE)
        stages = {
            stage: StageUse(used.cpu_seconds, used.driver_seconds, used.spilled)
            for stage, used in watched.stages.items()
        }
        total = watched.total
        run = Measured(quantities, total.seconds, total.pss, stages)
        measured.append(run)
        _build_rows(scale.report, size, counts, total, {**asdict(run), "used": _used(watched)})
    _growth(scale.report, measured)
    return measured


def _used(watched: Any) -> dict[str, Any]:
    return {name: asdict(used) for name, used in watched.stages.items()}


def _build_rows(
    report: Report, size: int, counts: dict[str, int], total: Used, detail: dict[str, Any]
) -> None:
    what = f"{size / 1e9:g} GB"
    text = counts["text_bytes"]
    report.add(
        Row("build", f"{what}: peak of all processes, shared pages once", total.pss / 1e9, "GB",
            at_most=PEAK, detail=detail)
    )  # fmt: skip
    report.add(Row("build", f"{what}: peak of all processes, sum of RSS", total.rss / 1e9, "GB"))
    report.add(Row("build", f"{what}: time", total.seconds, "s"))
    report.add(Row("build", f"{what}: rate", text / 1e6 / total.seconds, "MB/s"))
    rate = text / 1e6 / total.cpu_seconds
    report.add(Row("build", f"{what}: rate by CPU time", rate, "MB/s/core"))
    report.add(Row("build", f"{what}: shuffled", total.spilled / 1e6, "MB"))
    for stage, used in detail["used"].items():
        seconds = f"{used['seconds']:.1f} s, {used['pss'] / 1e6:.0f} MB"
        report.add(
            Row("build", f"{what}: {stage}, CPU time", used["cpu_seconds"], "s", note=seconds)
        )


def _growth(report: Report, measured: Sequence[Measured]) -> None:
    if len(measured) < 2:
        return
    largest = measured[-1]
    tenth = largest.quantities.text_bytes / 10
    smaller = min(measured[:-1], key=lambda run: abs(run.quantities.text_bytes - tenth))
    times = largest.quantities.text_bytes / smaller.quantities.text_bytes
    name = f"time at {times:.3g} times the text"
    limit = GROWTH * times / 10
    report.add(Row("build", name, largest.seconds / smaller.seconds, "x", at_most=limit))
    report.add(
        Row("build", f"peak at {times:.3g} times the text", largest.peak / smaller.peak, "x")
    )


def warm_up(scale: Scale) -> None:
    """Compile every kernel, and bring programs into the page cache."""
    path = scale.config(ENGINE_BYTES, "warm", whole=True)
    massivetext(["build", str(path), "--workers", str(WORKERS)])
    shutil.rmtree(scale.folder / "warm")


def clean_dedup(scale: Scale) -> None:
    """jsonl.gz to deduplicated Parquet, two workers, and datatrove's stages for the same."""
    warm_up(scale)
    path = scale.config(scale.sizes[-1], "deduplicated", whole=False)
    output = scale.folder / "deduplicated"
    try:
        stages = _stages(path, WORKERS)
        watched = watch(stages, output, scale.folder / "scratch", every=RATE_SAMPLE_SECONDS)
        text = scale.manifest("deduplicated", "measure")["counts"]["text_bytes"]
    finally:
        shutil.rmtree(output, ignore_errors=True)
    total = watched.total
    detail = {"bytes": text, "total": asdict(total), "used": _used(watched)}
    rate = text / 1e6 / total.seconds
    report = scale.report
    name = f"{text / 1e9:.3g} GB, jsonl.gz to deduplicated Parquet, 2 workers"
    report.add(Row("clean_dedup", name, rate, "MB/s", at_least=RATE, detail=detail))
    core = text / 1e6 / total.cpu_seconds
    report.add(Row("clean_dedup", f"{name}, by CPU time", core, "MB/s/core"))
    _beside_datatrove(scale, core)


def _beside_datatrove(scale: Scale, core: float) -> None:
    kind = "massiveweb"
    documents = scale_corpus.sample(kind, TROVE_BYTES)
    path = corpora.write_jsonl(scale.folder / "sample.jsonl", documents)
    theirs = Contender("datatrove", "datatrove_clean_dedup.py", DATATROVE)
    name = "times datatrove's stages, per core"
    try:
        result = theirs.run(path)
    except NotInstalledError as error:
        row = Row("clean_dedup", name, None, "x", at_least=TROVE, note=str(error))
        scale.report.add(row)
        return
    scale.report.body["peers"]["datatrove"] = {
        "configuration": result["configuration"],
        "requirements": DATATROVE.requirements,
        "packages": DATATROVE.packages(),
    }
    rate = result["bytes"] / 1e6 / result["seconds"]
    detail = {key: result[key] for key in ("bytes", "documents", "seconds", "seconds_by", "kept")}
    report = scale.report
    report.add(Row("clean_dedup", "datatrove, per core", rate, "MB/s/core", detail=detail))
    report.add(Row("clean_dedup", name, core / rate, "x", at_least=TROVE))


def _stages(path: Path, workers: int, until: str = "documents") -> list[str]:
    script = str(Path(__file__).with_name("scale_stages.py"))
    return [script, str(path), until, str(workers)]


def overhead(scale: Scale) -> None:
    """CPU of a build with one worker beyond that of the same stages called in one process."""
    size = min(OVERHEAD_BYTES, scale.sizes[-1])
    warm_up(scale)
    path = scale.config(size, "overhead", whole=True)
    output = scale.folder / "overhead"
    try:
        alone = python(_stages(path, 0, "shards"))
        shutil.rmtree(output)
        build = python(_stages(path, 1, "shards"))
    finally:
        shutil.rmtree(output, ignore_errors=True)
    detail = {"build_cpu_seconds": build.cpu_seconds, "alone_cpu_seconds": alone.cpu_seconds}
    more = 100 * (build.cpu_seconds / alone.cpu_seconds - 1)
    name = f"CPU time beyond the same stages without an engine, {size / 1e9:g} GB"
    scale.report.add(Row("overhead", name, more, "%", at_most=OVERHEAD, detail=detail))


def engines(scale: Scale) -> None:
    """The outputs of a small build on every engine: the same bytes."""
    ways: dict[str, list[str]] = {
        "local, 1 worker": ["--workers", "1"],
        "local, 2 workers": ["--workers", "2"],
        "portable": ["--", *PORTABLE],
        **{name: ["--", *flags] for name, flags in scale.engines.items()},
    }
    found: dict[str, str] = {}
    for name, flags in ways.items():
        path = scale.config(ENGINE_BYTES, "engine", whole=True)
        output = scale.folder / "engine"
        try:
            massivetext(["build", str(path), *flags])
            found[name] = _identity(output)
        finally:
            shutil.rmtree(output, ignore_errors=True)
        first = next(iter(found.values()))
        same = float(found[name] == first)
        detail = {"sha256": found[name]}
        scale.report.add(Row("engines", f"{name}: same outputs", same, "", 1.0, detail=detail))


def _identity(output: Path) -> str:
    """Return a hash of the path and sha256 of every output that the manifests list.

    Raises:
      ConfigError: there are none.
    """
    manifests = sorted((output / "manifests").glob("*.json"))
    files = [
        [file["path"], file["sha256"]] for path in manifests for file in read_json(path)["files"]
    ]
    if not files:
        raise ConfigError(f"{output} has no outputs")
    return sha256_json(sorted(files))
