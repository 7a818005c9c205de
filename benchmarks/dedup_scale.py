"""Rows of dedup.py: how time and memory of deduplication grow with the number of documents."""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dedup_scale_data
from processes import proc_bytes
from report import Bench, Row

from massivetext.errors import StageError
from massivetext.pipelines import deduplicate
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine

WORKERS = 2
SIZES = (1_000_000, 10_000_000)
QUICK = (20_000, 100_000)
SAMPLE_SECONDS = 0.3


def scale(bench: Bench) -> None:
    """From sketches to survivors, of a million and of ten million documents, with two workers."""
    few, many = (_measure(bench, size) for size in (QUICK if bench.quick else SIZES))
    for size, result in zip(SIZES, (few, many), strict=True):
        name = f"{result['documents']:,} documents, sketches to survivors"
        minutes, gigabytes = result["seconds"] / 60, result["peak_bytes"] / 1e9
        largest = size == SIZES[-1]
        limits = (25.0, 3.0) if largest else (None, None)
        bench.report.add(
            Row("scale", f"{name}: time", minutes, "min", at_most=limits[0], detail=result)
        )
        bench.report.add(Row("scale", f"{name}: CPU time", result["cpu_seconds"] / 60, "min"))
        bench.report.add(
            Row("scale", f"{name}: peak of all processes", gigabytes, "GB", at_most=limits[1])
        )
    for what, key, limit in (
        ("time", "seconds", 11),
        ("CPU time", "cpu_seconds", None),
        ("peak", "peak_bytes", 1.15),
    ):
        name = f"{what} at {many['documents'] / few['documents']:.0f} times the documents"
        bench.report.add(Row("scale", name, many[key] / few[key], "x", at_most=limit))


def _measure(bench: Bench, documents: int) -> dict[str, float]:
    folder = bench.folder / str(documents)
    context = Context(folder, Engine(WORKERS), quiet=True)
    dedup_scale_data.make(context, documents)
    try:
        return {"documents": documents, **watched(folder)}
    finally:
        shutil.rmtree(folder)


def watched(folder: Path) -> dict[str, float]:
    """Deduplicate what is in `folder` in a process of its own.

    Returns:
      Its counts, `seconds`, `cpu_seconds` (its start included) and `peak_bytes`: the most that it
      and its workers, together, had in memory at one time (proportional set size; pages of mapped
      files count).
    """
    command = [sys.executable, str(Path(__file__)), str(folder)]
    peak, cpu = 0, _cpu_of_children()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output)
        while process.poll() is None:
            pages = (Path(f"/proc/{pid}/smaps_rollup") for pid in _tree(process.pid))
            peak = max(peak, sum(proc_bytes(path, "Pss:") for path in pages))
            time.sleep(SAMPLE_SECONDS)
        if process.returncode:
            raise StageError(f"{' '.join(command)} ended with {process.returncode}")
        output.seek(0)
        used = {"cpu_seconds": _cpu_of_children() - cpu, "peak_bytes": peak}
        return {**json.loads(output.read()), **used}


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, left = [], [root]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Deduplicate the folder that is the argument; print counts and time as JSON."""
    folder = Path(sys.argv[1])
    given = dedup_scale_data.load(folder)
    started = time.perf_counter()
    manifest = deduplicate.from_sketches(Context(folder, Engine(WORKERS)), *given)
    print(json.dumps({**manifest["counts"], "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
