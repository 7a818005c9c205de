"""Rows of clean.py: how time grows with the bytes of a document, of a batch, and of an input."""

import shutil

import corpora
from clean_kernels import BOTH, GOPHER, rules_contender
from clean_stage import WITH_LANGUAGE, clean, text_input, warm_up
from corpora import Document
from peers import in_turns
from report import Bench, Row, linear_fit, median

FACTORS = (1, 2, 4, 8)
STRAIGHT = 0.99


def growth(bench: Bench) -> None:
    """Time against bytes at 1x, 2x, 4x and 8x: how straight the line is, and its slope."""
    size = 1_000_000 if bench.quick else 8_000_000
    pieces = corpora.chunks(corpora.all_texts(), FACTORS[-1] * size)
    one: dict[int, list[Document]] = {}
    many: dict[int, list[Document]] = {}
    for factor in FACTORS:
        some = pieces[: len(pieces) * factor // FACTORS[-1]]
        one[factor] = [{"id": "one", "text": "\n\n".join(some)}]
        many[factor] = [{"id": str(at), "text": piece} for at, piece in enumerate(some)]
    for name, documents in (("one document", one), ("many documents", many)):
        seconds: dict[int, list[float]] = {factor: [] for factor in FACTORS}
        sizes: dict[int, int] = {}
        for _ in range(bench.repetitions):
            for factor, pages in documents.items():
                path = corpora.write_jsonl(bench.folder / "documents.jsonl", pages)
                [result] = in_turns([rules_contender([GOPHER])], path, 1, {})["massivetext"]
                seconds[factor].append(result["signals_by"][BOTH])
                sizes[factor] = result["bytes"]
        _straight(bench, f"kernels, {name}", sizes, seconds)
    _stage(bench, 5_000_000 if bench.quick else 25_000_000)


def _stage(bench: Bench, size: int) -> None:
    inputs = {factor: text_input(bench, f"growth-{factor}", factor * size, 2) for factor in FACTORS}
    warm_up(bench, inputs[1])
    wall: dict[int, list[float]] = {factor: [] for factor in FACTORS}
    cpu: dict[int, list[float]] = {factor: [] for factor in FACTORS}
    sizes: dict[int, int] = {}
    for _ in range(bench.repetitions):
        for factor, source in inputs.items():
            run = clean(bench, source, WITH_LANGUAGE)
            wall[factor].append(run.finished.seconds)
            cpu[factor].append(run.finished.cpu_seconds)
            sizes[factor] = run.counts[source.counter]
    for factor in FACTORS:
        shutil.rmtree(bench.folder / f"growth-{factor}")
    _straight(bench, "stage, language id on", sizes, wall)
    _straight(bench, "stage, language id on, by CPU time", sizes, cpu)


def _straight(
    bench: Bench, name: str, sizes: dict[int, int], seconds: dict[int, list[float]]
) -> None:
    medians = [median(seconds[factor]) for factor in FACTORS]
    fit = linear_fit([sizes[factor] / 1e6 for factor in FACTORS], medians)
    detail = {
        "bytes": list(sizes.values()),
        "seconds": list(seconds.values()),
        "seconds_per_MB": fit.slope,
        "seconds_at_zero": fit.intercept,
    }
    what = f"{name}: r2 of a line"
    bench.report.add(Row("growth", what, fit.r2, "", at_least=STRAIGHT, detail=detail))
    rate = 1 / fit.slope if fit.slope > 0 else None
    bench.report.add(Row("growth", f"{name}: rate by its slope", rate, "MB/s"))
    bench.report.add(Row("growth", f"{name}: time at zero bytes", fit.intercept, "s"))
