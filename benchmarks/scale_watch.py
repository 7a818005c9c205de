"""Runs a build in a process of its own and follows it: time, CPU, memory and disk of each stage.

Needs Linux's /proc.
"""

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from processes import proc_bytes, read_proc

from massivetext.errors import StageError

SAMPLE_SECONDS = 0.3
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Used:
    """What was used from the end of the stage before to the end of this one.

    Attributes:
      seconds, cpu_seconds: wall time; user and system time of all processes.
      pss, rss: peaks over time of the sum over all processes, bytes. Pages that processes share,
        the libraries that workers have in common, count once in `pss` and many times in `rss`.
      driver, driver_seconds: peak resident set and CPU time of the driver alone.
      spilled: bytes of rows that were brought together by key, in files.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    pss: int = 0
    rss: int = 0
    driver: int = 0
    driver_seconds: float = 0.0
    spilled: int = 0


@dataclass(frozen=True)
class Watched:
    """A command that succeeded: what it used in all, and by stage, in order."""

    total: Used
    stages: dict[str, Used] = field(default_factory=dict)


class _Moment(NamedTuple):
    at: float
    cpu: float
    pss: int
    rss: int
    driver: int
    driver_cpu: float
    spilled: int


def watch(
    arguments: Sequence[str], output: Path, scratch: Path, *, every: float = SAMPLE_SECONDS
) -> Watched:
    """Run this interpreter with `arguments`, a build that writes to the folder `output`.

    Args:
      arguments: paths among them must be absolute.
      scratch: a folder for what the build spills, made when missing.
      every: seconds between two looks. One takes 10 to 15 ms from the cores that the build has.

    Raises:
      StageError: it failed; holds the end of what it wrote.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, *arguments]
    moments: list[_Moment] = []
    spills: dict[str, int] = {}
    with tempfile.TemporaryFile() as log:
        # In a folder of its own: `-m` would import a checkout in the working folder.
        process = subprocess.Popen(
            command,
            cwd=scratch,
            env={**os.environ, "TMPDIR": str(scratch), "MASSIVETEXT_SCRATCH": str(scratch)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        before, started = _cpu_of_children(), time.time()
        try:
            while process.poll() is None:
                _look(scratch, spills)
                moments.append(_sample(process.pid, sum(spills.values())))
                time.sleep(every)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode:
            log.seek(0)
            tail = log.read()[-4000:].decode(errors="replace")
            raise StageError(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    ends = sorted((p.stat().st_mtime, p.stem) for p in (output / "manifests").glob("*.json"))
    cpu = _cpu_of_children() - before
    return _divide(started, time.time(), cpu, moments, [e for e in ends if e[0] >= started])


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _divide(
    started: float,
    ended: float,
    cpu: float,
    moments: list[_Moment],
    ends: list[tuple[float, str]],
) -> Watched:
    stages = {}
    before = _Moment(started, 0.0, 0, 0, 0, 0.0, 0)
    for end, name in [*ends, (ended, "card")]:
        inside = [m for m in moments if before.at < m.at <= end] or [before]
        last = inside[-1]
        stages[name] = Used(
            end - before.at,
            last.cpu - before.cpu,
            max(m.pss for m in inside),
            max(m.rss for m in inside),
            max(m.driver for m in inside),
            last.driver_cpu - before.driver_cpu,
            last.spilled - before.spilled,
        )
        before = last._replace(at=end)
    total = Used(
        ended - started,
        cpu,
        *(max(getattr(m, name) for m in moments) for name in ("pss", "rss", "driver")),
        before.driver_cpu,
        before.spilled,
    )
    return Watched(total, stages)


def _sample(root: int, spilled: int) -> _Moment:
    cpu, pss, rss, driver, driver_cpu = 0.0, 0, 0, 0, 0.0
    for pid, numbers in _tree(root):
        # utime, stime, and those of children that have ended.
        cpu += sum(map(int, numbers[11:15])) / _TICK
        resident = int(numbers[21]) * _PAGE
        rss += resident
        pss += proc_bytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")
        if pid == root:
            driver = resident
            driver_cpu = sum(map(int, numbers[11:13])) / _TICK
    return _Moment(time.time(), cpu, pss, rss, driver, driver_cpu, spilled)


def _tree(root: int) -> Iterator[tuple[int, list[str]]]:
    """Yield a process and its descendants, with the fields of /proc/PID/stat after the name."""
    stats: dict[int, list[str]] = {}
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            # The name of a process, in parentheses, may hold anything.
            numbers = read_proc(folder / "stat").rpartition(")")[2].split()
            if numbers:
                stats[int(folder.name)] = numbers
                children.setdefault(int(numbers[1]), []).append(int(folder.name))
    left = [root]
    while left:
        pid = left.pop()
        left += children.get(pid, [])
        if pid in stats:
            yield pid, stats[pid]


def _look(scratch: Path, spills: dict[str, int]) -> None:
    """Raise the largest size seen of every spill file; each is written once and then removed."""
    for folder, _, names in os.walk(scratch):
        for name in names:
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):  # removed meanwhile
                spills[path] = max(spills.get(path, 0), os.path.getsize(path))
