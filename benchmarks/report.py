"""What a benchmark reports: rows held against targets, a table for people, JSON for machines."""

import json
import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

NOTE_CHARACTERS = 70

PACKAGES = (
    *("massivetext", "apache-beam", "numba", "numpy", "pyarrow", "selectolax", "FastWARC"),
    *("fasttext-community", "sentencepiece", "datasketch", "jax"),
)


@dataclass(frozen=True)
class Row:
    """One result.

    Attributes:
      section, name: what was measured.
      value: the result in `unit`; None when it could not be had, which `note` then explains.
      target: what the project demands, `at least` or `at most`; None where nothing is demanded.
      detail: what the value was computed from, JSON.
    """

    section: str
    name: str
    value: float | None
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or without a value."""
        if self.value is None or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def target(self) -> str:
        """The target in words, empty if there is none."""
        bounds = [(">=", self.at_least), ("<=", self.at_most)]
        return " and ".join(f"{sign} {number(b)}" for sign, b in bounds if b is not None)


class Report:
    """Collects rows, prints each as it comes, and keeps the JSON file up to date."""

    def __init__(self, benchmark: str, path: Path, quick: bool):
        self.path = path
        self.rows: list[Row] = []
        self.body: dict[str, Any] = {
            "benchmark": benchmark,
            "command": [Path(sys.executable).name, *sys.argv],
            "quick": quick,
            "machine": machine(),
            "versions": versions(PACKAGES),
            "commit": _commit(),
            "corpora": {},
            "peers": {},
        }

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(f"{row.section}: {line(row)}", flush=True)
        self.write()

    def write(self) -> None:
        rows = [{**asdict(row), "met": row.met} for row in self.rows]
        temporary = self.path.with_name(self.path.name + ".tmp")
        text = json.dumps({**self.body, "rows": rows}, indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(self.path)

    def table(self) -> str:
        """Return all rows as a table, with the machine above it."""
        head = ("section", "what", "value", "target", "")
        cells = [head, *((r.section, r.name, _value(r), r.target, verdict(r)) for r in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        about = self.body["machine"]
        quick = ", --quick: small inputs, once; not for quoting" if self.body["quick"] else ""
        cores = f"{about['cores']} cores"
        return "\n".join([f"{about['cpu']}, {cores}, Python {about['python']}{quick}", *lines])


@dataclass(frozen=True)
class Bench:
    """What every section of a benchmark is given.

    Attributes:
      folder: temporary files; removed at the end.
      repetitions: how often each measurement is taken, in turns with what it is compared with.
    """

    report: Report
    folder: Path
    quick: bool
    repetitions: int


def number(value: float) -> str:
    """Return `value` with three significant digits, or all of a larger whole part."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def verdict(row: Row) -> str:
    """Return `met`, `missed`, or why there is no value, shortened (the JSON has all of it)."""
    if row.value is None:
        return textwrap.shorten(row.note, NOTE_CHARACTERS, placeholder=" ...")
    return {True: "met", False: "missed", None: ""}[row.met]


def line(row: Row) -> str:
    """Return the row as one line for people."""
    target = f" (target {row.target}: {verdict(row)})" if row.target and row.met is not None else ""
    why = f" {row.note}" if row.note else ""
    return f"{row.name}: {_value(row)}{target}{why}"


def _value(row: Row) -> str:
    return "-" if row.value is None else f"{number(row.value)} {row.unit}".rstrip()


def median(values: Sequence[float]) -> float:
    """Return the median of `values`, of which there must be one."""
    return float(np.median(np.asarray(values, float)))


@dataclass(frozen=True)
class Fit:
    """A straight line through (x, y) by least squares, and how much of y it explains."""

    slope: float
    intercept: float
    r2: float


def linear_fit(x: Sequence[float], y: Sequence[float]) -> Fit:
    """Fit y = slope * x + intercept; needs two different x."""
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    slope, intercept = np.polyfit(xs, ys, 1)
    spread = float(((ys - ys.mean()) ** 2).sum())
    left = float(((ys - slope * xs - intercept) ** 2).sum())
    return Fit(float(slope), float(intercept), 1 - left / spread if spread else 1.0)


def machine() -> dict[str, Any]:
    """Return what the numbers depend on: core, memory, system, and how busy the machine is."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu(),
        "cores": usable,
        "memory_bytes": pages,
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_at_start": os.getloadavg(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the installed versions of `packages`, without those that are not installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """Return the commit of the checkout this file is in, marked when files differ from it."""
    folder = Path(__file__).parent
    git = ["git", "--no-optional-locks", "-C", str(folder)]
    command = [*git, "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None
