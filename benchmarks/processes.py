"""Runs a command of massivetext as a person would, and watches its processes' memory."""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from massivetext.errors import StageError

SAMPLE_SECONDS = 0.1
_SERVER = "massivetext.pipelines.worker_server"


@dataclass
class Memory:
    """Peaks of one process in bytes: resident set as the kernel keeps it; proportional, sampled."""

    rss: int = 0
    pss: int = 0


@dataclass(frozen=True)
class Finished:
    """A command that succeeded.

    Attributes:
      seconds: wall time from start to end of the process.
      cpu_seconds: user and system time of it and its children.
      driver, workers: peaks, where watched; `workers` by process id.
    """

    seconds: float
    cpu_seconds: float
    driver: Memory = field(default_factory=Memory)
    workers: dict[int, Memory] = field(default_factory=dict)


def massivetext(arguments: Sequence[str], *, watch: bool = False) -> Finished:
    """Run `massivetext ARGUMENTS` with this interpreter.

    Args:
      arguments: paths among them must be absolute.
      watch: sample the memory of its processes (needs Linux's /proc).

    Raises:
      StageError: it failed; holds the end of what it wrote.
    """
    return python(["-m", "massivetext", *arguments], watch=watch)


def python(arguments: Sequence[str], *, watch: bool = False) -> Finished:
    """Run this interpreter with `arguments`; otherwise as `massivetext`."""
    command = [sys.executable, *arguments]
    driver, workers = Memory(), dict[int, Memory]()
    # In a folder of its own: `-m` would import a checkout in the working folder, not what is
    # installed.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory() as folder:
        before = _cpu_of_children()
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        try:
            while watch and process.poll() is None:
                _sample(process.pid, driver, workers)
                time.sleep(SAMPLE_SECONDS)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        seconds = time.perf_counter() - start
        if code:
            output.seek(0)
            tail = output.read()[-4000:].decode(errors="replace")
            raise StageError(f"{' '.join(command)} ended with {code}:\n{tail}")
    return Finished(seconds, _cpu_of_children() - before, driver, workers)


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _sample(root: int, driver: Memory, workers: dict[int, Memory]) -> None:
    """Raise the peaks of the driver and of the workers, the children of its worker server."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            # The name of a process, in parentheses, may hold anything.
            fields = read_proc(folder / "stat").rpartition(")")[2].split()
            if fields:
                children.setdefault(int(fields[1]), []).append(int(folder.name))
    _raise(driver, root)
    for server in children.get(root, []):
        if _SERVER in read_proc(Path(f"/proc/{server}/cmdline")):
            for worker in children.get(server, []):
                _raise(workers.setdefault(worker, Memory()), worker)


def _raise(memory: Memory, process: int) -> None:
    folder = Path(f"/proc/{process}")
    memory.rss = max(memory.rss, proc_bytes(folder / "status", "VmHWM:"))
    memory.pss = max(memory.pss, proc_bytes(folder / "smaps_rollup", "Pss:"))


def proc_bytes(path: Path, name: str) -> int:
    """Return what a file of /proc says of `name`, in bytes; 0 when it says nothing."""
    for text in read_proc(path).splitlines():
        if text.startswith(name):
            return int(text.split()[1]) * 1024
    return 0


def read_proc(path: Path) -> str:
    """Return a file of /proc; "" when its process has ended, or is not ours to look at."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
