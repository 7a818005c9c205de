"""Worker processes that train: started, watched, replaced when they die, never left behind.

Each is `python -m massivetext.experiments.worker`. Those that train proxies have one thread: many
small models train faster side by side than one after another on all threads. A worker takes jobs as
JSON lines on its standard input, of which the end is its end, also when the driver was killed; what
it says of them, it says as JSON lines on its standard output; everything else goes to the log of
the run.

They train on the CPU unless JAX_PLATFORMS says otherwise; then all workers share its devices.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from massivetext import errors
from massivetext.errors import StageError

# Of a run whose process died, before it is given up.
TRIES = 3
# To save a checkpoint and end, before a worker is killed.
STOP_SECONDS = 30.0

# -P: a folder `massivetext` where the command runs, such as a checkout, is not the package.
COMMAND = (sys.executable, "-P", "-m", "massivetext.experiments.worker")

# By name, as a worker reports them.
ERRORS = {
    kind.__name__: kind
    for kind in (errors.ConfigError, errors.InputError, errors.StageError, errors.VerifyError)
}

Job = dict[str, Any]
# The kind of a job that is a proxy; others are methods by name (`method_run`).
PROXY = "proxy"

WAKE_SECONDS = 0.5


class Event(NamedTuple):
    """What worker number `worker` said; `says` is None once it has ended."""

    worker: int
    says: dict[str, Any] | None


def environment(compiled: Path, threads: int = 1) -> dict[str, str]:
    """Return the environment of a worker.

    Args:
      compiled: where workers keep compiled programs for one another and for later starts.
      threads: of computation.
    """
    counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")
    flags = os.environ.get("XLA_FLAGS", "")
    if threads == 1:
        flags = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    return {
        "JAX_PLATFORMS": "cpu",
        **os.environ,
        **dict.fromkeys(counts, str(threads)),  # NPROC is XLA's
        "XLA_FLAGS": flags,
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }


class Worker:
    """One worker process and the job that it is at."""

    def __init__(self, number: int, environment: dict[str, str], events: "queue.Queue[Event]"):
        self.job: Job | None = None
        # Its own session, so that Ctrl-C reaches the driver alone, which then ends the workers.
        self.process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )

        def listen() -> None:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                events.put(Event(number, json.loads(line)))
            self.process.wait()
            events.put(Event(number, None))

        self._listener = threading.Thread(target=listen, daemon=True)
        self._listener.start()

    def send(self, job: Job) -> None:
        self.job = job
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead, and the listener says so
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()

    def close(self) -> None:
        """Ask it to end, after a checkpoint of the run that it is at."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def end(self) -> None:
        """Wait for it to end, or kill it."""
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        finally:
            if self.process.poll() is None:  # a second Ctrl-C
                self.process.kill()
            self.process.wait()
            self._listener.join()
            assert self.process.stdout is not None
            self.process.stdout.close()


def run_jobs(
    jobs: Sequence[Job],
    workers: int,
    compiled: Path,
    done: Callable[[Job], None],
    threads: int = 1,
) -> None:
    """Give every job to one of `workers` processes, in order; `done` hears of each that is done.

    A job has a `kind` (`PROXY`, or a method's), a `name`, for messages, and a `folder`, where
    `log.txt` is written. Each process has so many `threads`.

    Raises:
      MassivetextError: what a job raised; the others were stopped with a checkpoint.
      StageError: the process of a job died `TRIES` times, or SIGTERM came.
    """
    waiting = list(jobs)
    tries: dict[str, int] = {}
    events: queue.Queue[Event] = queue.Queue()
    started: list[Worker] = []
    surroundings = environment(compiled, threads)

    def feed(worker: Worker) -> None:
        if waiting:
            worker.send(waiting.pop(0))

    def start() -> None:
        worker = Worker(len(started), surroundings, events)
        started.append(worker)
        feed(worker)

    with _sigterm_as_error():
        try:
            for _ in range(min(workers, len(jobs))):
                start()
            left = len(jobs)
            while left:
                number, says = _next(events)
                worker, job = started[number], started[number].job
                if job is None:
                    continue  # it ended with nothing to do
                worker.job = None
                if says is None:
                    name = job["name"]
                    tries[name] = tries.get(name, 0) + 1
                    if tries[name] == TRIES:
                        raise StageError(
                            f"the process of run {name} died {TRIES} times (exit code "
                            f"{worker.process.returncode}); see {Path(job['folder']) / 'log.txt'}"
                        )
                    waiting.insert(0, job)
                    start()
                    continue
                if "error" in says:
                    raise ERRORS.get(says["error"], StageError)(f"run {job['name']}: {says['why']}")
                left -= 1
                done(job)
                feed(worker)
        finally:
            for worker in started:
                worker.close()
            for worker in started:
                worker.end()


def _next(events: "queue.Queue[Event]") -> Event:
    """Return the next event. It wakes up now and then: a signal that the system gives to another
    thread is heard by the main thread only once it runs."""
    while True:
        try:
            return events.get(timeout=WAKE_SECONDS)
        except queue.Empty:
            continue


@contextmanager
def _sigterm_as_error() -> Iterator[None]:
    """Let SIGTERM end the block with an error, so that nothing is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise StageError("stopped by a signal; run the same command again to continue")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
