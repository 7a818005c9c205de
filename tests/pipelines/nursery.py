"""Forks drivers of builds, quickly: a process that has imported everything, as the runner's own.

Python, Beam and numba take seconds to start, twice for a build (its driver, and the process that
starts workers). Fault injection starts hundreds of them.

    with Nursery() as nursery:
        driver = nursery.start(["build", "my.yaml"], log=path)
        os.kill(random.choice(workers(driver)), signal.SIGKILL)
        code = driver.wait(60)
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

WAIT_SECONDS = 0.02
START_SECONDS = 600.0


class Driver:
    """A command that the nursery has started; `pid` leads its process group."""

    def __init__(self, pid: int):
        self.pid = pid
        self.code: int | None = None
        self._ended = threading.Event()

    def running(self) -> bool:
        return not self._ended.is_set()

    def wait(self, seconds: float) -> int:
        """Return the exit code, or minus the signal.

        Raises:
          TimeoutError: it is still running after `seconds`.
        """
        if not self._ended.wait(seconds):
            raise TimeoutError(f"driver {self.pid} still runs after {seconds} s")
        assert self.code is not None
        return self.code


class Nursery:
    """The process, from this side. Threads may use it together."""

    def __enter__(self) -> "Nursery":
        from massivetext.pipelines.workers import SINGLE_THREAD

        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **SINGLE_THREAD},
        )
        self._lock = threading.Lock()
        self._started: list[Driver] = []
        self._drivers: dict[int, Driver] = {}
        self._news = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(START_SECONDS)

    def start(
        self, argv: list[str], log: Path, environment: dict[str, str] | None = None
    ) -> Driver:
        """Run a command of the command line; what it prints is appended to `log`."""
        request = {"argv": argv, "log": str(log), "environment": environment or {}}
        assert self._process.stdin is not None
        with self._lock:
            count = len(self._started)
            self._process.stdin.write((json.dumps(request) + "\n").encode())
            self._process.stdin.flush()
            with self._news:
                assert self._news.wait_for(lambda: len(self._started) > count, START_SECONDS)
            return self._started[count]

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            with self._news:
                if "code" in event:
                    driver = self._drivers.pop(event["pid"])
                    driver.code = event["code"]
                    driver._ended.set()
                else:
                    driver = Driver(event["pid"])
                    self._drivers[driver.pid] = driver
                    self._started.append(driver)
                self._news.notify_all()


def descendants(pid: int) -> list[list[int]]:
    """Return the processes that `pid` has started, as they are now: its children, theirs, ..."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            if status[0] != "Z":
                children.setdefault(int(status[1]), []).append(int(folder.name))
    generations = []
    parents = [pid]
    while parents := [child for parent in parents for child in children.get(parent, [])]:
        generations.append(parents)
    return generations


def workers(driver: Driver) -> list[int]:
    """Return the worker processes of a driver: it starts the one that starts them."""
    generations = descendants(driver.pid)
    return generations[1] if len(generations) > 1 else []


def _serve() -> None:
    """In the nursery: fork a driver for every request, and tell of each that ends."""
    import massivetext.cli.build
    import massivetext.cli.main
    import massivetext.pipelines.build
    import massivetext.pipelines.plan  # noqa: F401
    from massivetext.pipelines import worker_server

    worker_server.preload()
    out = sys.stdout.buffer
    os.set_blocking(0, False)
    pending = b""
    drivers: set[int] = set()
    while True:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                code = os.waitstatus_to_exitcode(ended[1])
                drivers.remove(ended[0])
                out.write((json.dumps({"pid": ended[0], "code": code}) + "\n").encode())
                out.flush()
        try:
            data = os.read(0, 1 << 16)
        except BlockingIOError:
            time.sleep(WAIT_SECONDS)
            continue
        if not data:
            for driver in drivers:
                os.kill(driver, signal.SIGKILL)
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            pid = os.fork()
            if pid == 0:
                _drive(json.loads(line))
            drivers.add(pid)
            out.write((json.dumps({"pid": pid}) + "\n").encode())
            out.flush()


def _drive(request: dict[str, Any]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(request["environment"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _fork_worker_server()
        from massivetext.cli.main import main

        code = main(request["argv"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Forked:
    """Stands for the `Popen` of the process that starts workers."""

    def __init__(self, pid: int, stdin: int):
        self.pid = pid
        self.stdin = os.fdopen(stdin, "wb")

    def wait(self) -> None:
        os.waitpid(self.pid, 0)


def _fork_worker_server() -> None:
    """Fork the process that starts workers now, while this one has no threads."""
    from massivetext.pipelines import worker_server, workers

    events, write_end = os.pipe()
    requests, stdin = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(requests, 0)
        for descriptor in (events, requests, stdin):
            os.close(descriptor)
        try:
            worker_server.serve(write_end)
        finally:
            os._exit(0)
    os.close(write_end)
    os.close(requests)
    launch = workers._launch
    forked = [(_Forked(pid, stdin), events)]
    workers._launch = lambda: forked.pop() if forked else launch()


if __name__ == "__main__":
    _serve()
