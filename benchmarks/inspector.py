"""`massivetext inspect` and `card` on many documents: how soon each answers, and its memory.

Each question is asked with nothing cached by the server, then again; every page of a search is a
request of its own. Beside the time that passed stands the processors', which other work on the
machine changes less. Needs Linux's /proc.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import inspector_data
from report import Report, Row, median

MILLISECONDS = 300
MEMORY_MB = 500
CARD_DOCUMENTS = 1_000_000
CARD_SECONDS = 60
CARD_MEMORY_MB = 1000
# More pages of one search say nothing new.
PAGES = 20
REPETITIONS = 3
DOCUMENTS = "documents"
FILTERS = {
    "first page": {},
    "kept": {"state": "kept"},
    "held out": {"state": "heldout"},
    "dropped by a common rule": {"rule": "max_duplicate_5gram"},
    "dropped by a rare rule": {"rule": "max_hash_ratio"},
    "near-duplicates": {"stage": "near"},
    "test-set overlaps": {"stage": "overlap"},
    "a common range of a signal": {"signal": "quality_words", "min": "100", "max": "500"},
    "a rare range of a signal": {"signal": "quality_words", "min": "5000"},
    "a range that nothing has": {"signal": "quality_words", "min": "1e9"},
    "search: a common word": {"query": "harbour"},
    "search: a rare word": {"query": inspector_data.RARE_WORD},
    "search: an id": {"query": "massiveweb/crawl.warc.gz#777777"},
}
OTHERS = {
    "summary": ("summary", {}),
    "a document": ("document", {"subset": "massiveweb", "part": "part-00000", "row": "77777"}),
    "two documents compared": (
        "compare",
        {"a": "massiveweb:part-00000:4", "b": "massiveweb:part-00000:77777"},
    ),
    "thresholds: one changed": ("thresholds", {"min_words": "100"}),
    "thresholds: two changed": ("thresholds", {"max_words": "5000", "max_top_2gram": "0.15"}),
    "training run": ("run", {}),
}


def ask(url: str, name: str, parameters: dict[str, str]) -> tuple[float, dict]:
    """Return the milliseconds that an answer took, and the answer."""
    start = time.perf_counter()
    with urlopen(f"{url}api/{name}?{urlencode(parameters)}") as answer:
        body = answer.read()
    return 1000 * (time.perf_counter() - start), json.loads(body)


def pages(url: str, parameters: dict[str, str]) -> list[float]:
    """Return how long each page of a list took, up to `PAGES`."""
    times, cursor = [], ""
    while len(times) < PAGES:
        took, answer = ask(url, DOCUMENTS, parameters | {"cursor": cursor})
        times.append(took)
        cursor = answer["next"]
        if cursor is None:
            break
    return times


def peak_mb(process: int) -> float:
    """Return the largest resident set that a process has had."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def cpu_ms(process: int) -> float:
    """Return the milliseconds of processor time that a process has had."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def card(root: Path, report: Report) -> None:
    """Write the card of a folder by the command, as a person does."""
    command = [sys.executable, "-m", "massivetext", "card", str(root)]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    took = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    note = f"processor {used.ru_utime + used.ru_stime:.1f} s"
    report.add(Row("card", "written", took, "s", at_most=CARD_SECONDS, note=note))
    peak = used.ru_maxrss / 1024
    report.add(Row("card", "memory, peak", peak, "MB", at_most=CARD_MEMORY_MB))


def measure(root: Path, report: Report) -> None:
    """Start the server on a folder and ask it everything."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "massivetext.inspector.server", str(root), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = next(line for line in server.stdout if "http://" in line)
            url = line.split(" at ")[1].split(" ")[0]
            report.add(Row("inspect", "start", 1000 * (time.perf_counter() - start), "ms"))
            everything: list[float] = []
            for turn in ("cold", *["warm"] * (REPETITIONS - 1)):
                for name, parameters in FILTERS.items():
                    before = cpu_ms(server.pid)
                    times = pages(url, parameters)
                    cpu = (cpu_ms(server.pid) - before) / len(times)
                    everything += _row(report, turn, name, times, cpu)
                for name, (question, parameters) in OTHERS.items():
                    before = cpu_ms(server.pid)
                    times = [ask(url, question, parameters)[0]]
                    everything += _row(report, turn, name, times, cpu_ms(server.pid) - before)
            bound = {"unit": "ms", "at_most": MILLISECONDS}
            report.add(Row("inspect", "all requests, median", median(everything), **bound))
            report.add(Row("inspect", "all requests, slowest", max(everything), "ms"))
            peak = peak_mb(server.pid)
            report.add(Row("inspect", "memory, peak", peak, "MB", at_most=MEMORY_MB))
        finally:
            server.terminate()


def _row(report: Report, turn: str, name: str, times: list[float], cpu: float) -> list[float]:
    detail = {"milliseconds": [round(took, 1) for took in times], "cpu": round(cpu, 1)}
    note = f"processor {cpu:.0f} ms"
    if len(times) > 1:
        note += f" each of {len(times)} pages, slowest {max(times):.0f} ms"
    report.add(Row(turn, name, median(times), "ms", at_most=MILLISECONDS, note=note, detail=detail))
    return times


def main() -> int:
    """Write the folder, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000_000, help="default 10,000,000")
    parser.add_argument("--json", type=Path, default=Path("inspector.json"), help="results")
    parser.add_argument("--data", type=Path, help="where the folder is, or is written and kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="massivetext-benchmark-") as temporary:
        root = options.data or Path(temporary) / "out"
        if not root.exists():
            inspector_data.write(root, options.documents)
        report = Report("inspector", options.json, quick=False)
        report.body["documents"] = options.documents
        measure(root, report)
        small = Path(temporary) / "card"
        inspector_data.write(small, min(options.documents, CARD_DOCUMENTS))
        card(small, report)
    print(f"\n{report.table()}\n\nin full: {options.json}")
    return int(any(row.met is False for row in report.rows))


if __name__ == "__main__":
    sys.exit(main())
