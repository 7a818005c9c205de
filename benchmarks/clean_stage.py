"""Rows of clean.py: the command `massivetext clean` on text and on web archives, and its memory."""

import json
import shutil
import sys
from dataclasses import dataclass
from typing import Any

import corpora
from processes import Finished, massivetext
from report import Bench, Row, median

from massivetext.dataset import read_json

GOPHER = ["gopher"]
WITH_LANGUAGE = ["language", "gopher"]


@dataclass(frozen=True)
class Input:
    """What `clean` reads: `bytes` of text or HTML, as its manifest counts them under `counter`."""

    glob: list[str]
    format: str
    counter: str


@dataclass(frozen=True)
class Cleaned:
    """One run of `clean`: the process, and the counts of stage `measure`."""

    finished: Finished
    counts: dict[str, int]


def clean(
    bench: Bench, source: Input, rules: list[str], workers: int = 1, *, watch: bool = False
) -> Cleaned:
    """Run `massivetext clean` on `source`, from nothing; its output is removed."""
    output = bench.folder / "output"
    config: dict[str, Any] = {
        "output": str(output),
        "subsets": {"massiveweb": {"input": source.glob, "format": source.format, "rules": rules}},
    }
    if "language" in rules:
        config["language"] = {"model": str(corpora.locate(corpora.LANGUAGE_MODEL))}
    path = bench.folder / "clean.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(config), encoding="utf-8")
    try:
        finished = massivetext(["clean", str(path), "--workers", str(workers)], watch=watch)
        counts: dict[str, int] = read_json(output / "manifests" / "measure.json")["counts"]
    finally:
        shutil.rmtree(output, ignore_errors=True)
    return Cleaned(finished, counts)


def text_input(bench: Bench, name: str, size: int, files: int = 8) -> Input:
    """Return an input of about `size` bytes of text, in `files` files."""
    glob, _ = corpora.repeated().write(bench.folder / name, size, files)
    return Input([glob], "jsonl", "text_bytes")


def warm_up(bench: Bench, source: Input) -> None:
    """Compile the kernels, and bring programs and data into the page cache."""
    clean(bench, source, WITH_LANGUAGE)


def stage(bench: Bench) -> None:
    """jsonl.gz to Parquet with signals and drops."""
    source = text_input(bench, "text", 20_000_000 if bench.quick else 200_000_000)
    variants = {
        "language id off": (GOPHER, 1, 30.0),
        "language id on": (WITH_LANGUAGE, 1, 15.0),
        "language id on, 2 workers": (WITH_LANGUAGE, 2, None),
    }
    warm_up(bench, source)
    runs: dict[str, list[Cleaned]] = {name: [] for name in variants}
    for _ in range(bench.repetitions):
        for name, (rules, workers, _) in variants.items():
            runs[name].append(clean(bench, source, rules, workers))
    for name, (_, _, target) in variants.items():
        _rate(bench, "stage", f"text, {name}", source, runs[name], target)
    one, two = (_seconds(runs[name]) for name in list(variants)[1:])
    bench.report.add(Row("stage", "2 workers against 1", one / two, "x", at_least=1.4))


def _seconds(runs: list[Cleaned]) -> float:
    return median([run.finished.seconds for run in runs])


def _rate(
    bench: Bench, section: str, name: str, source: Input, runs: list[Cleaned], target: float | None
) -> None:
    size = runs[0].counts[source.counter]
    detail = {
        "seconds": [run.finished.seconds for run in runs],
        "cpu_seconds": [run.finished.cpu_seconds for run in runs],
        "bytes": size,
        "counts": runs[0].counts,
    }
    rate = size / 1e6 / _seconds(runs)
    bench.report.add(Row(section, name, rate, "MB/s", at_least=target, detail=detail))
    rate = size / 1e6 / median([run.finished.cpu_seconds for run in runs])
    bench.report.add(Row(section, f"{name}, by CPU time", rate, "MB/s"))


def warc(bench: Bench) -> None:
    """WARC.gz of HTML to clean Parquet."""
    names = corpora.ENGLISH_WARCS[1:2] if bench.quick else corpora.ENGLISH_WARCS
    source = Input([str(corpora.locate(name)) for name in names], "warc", "page_bytes")
    variants = {"language id off": GOPHER, "language id on": WITH_LANGUAGE}
    warm_up(bench, source)
    runs: dict[str, list[Cleaned]] = {name: [] for name in variants}
    for _ in range(bench.repetitions):
        for name, rules in variants.items():
            runs[name].append(clean(bench, source, rules))
    for name in variants:
        _rate(bench, "warc", f"HTML, {name}", source, runs[name], 15.0)


def memory(bench: Bench) -> None:
    """Peak memory of a worker, for an input and for one ten times as large."""
    if not sys.platform.startswith("linux"):
        row = Row("memory", "peak of a worker", None, "MB", at_most=500, note="needs Linux's /proc")
        bench.report.add(row)
        return
    small, large = (20_000_000, 60_000_000) if bench.quick else (200_000_000, 2_000_000_000)
    peaks = []
    for size in (small, large):
        source = text_input(bench, f"text-{size}", size)
        run = clean(bench, source, WITH_LANGUAGE, 2, watch=True)
        shutil.rmtree(bench.folder / f"text-{size}")
        workers = run.finished.workers.values()
        peak = max(worker.rss for worker in workers)
        peaks.append(peak)
        detail = {
            "bytes": run.counts[source.counter],
            "workers": {str(id_): vars(m) for id_, m in run.finished.workers.items()},
            "driver": vars(run.finished.driver),
        }
        what = f"peak RSS of a worker, {size // 1_000_000:,} MB of text"
        bench.report.add(Row("memory", what, peak / 1e6, "MB", at_most=500, detail=detail))
        shared = max(worker.pss for worker in workers) / 1e6
        what = f"peak PSS of a worker, {size // 1_000_000:,} MB of text"
        bench.report.add(Row("memory", what, shared, "MB"))
    growth = peaks[1] / peaks[0]
    bench.report.add(Row("memory", "peak RSS, larger against smaller", growth, "x", at_most=1.15))
