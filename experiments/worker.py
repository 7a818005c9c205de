"""A worker process of `pool`: does the jobs that it is given, one after another.

It lives for many runs, so what is imported, and what JAX has set up, serves them all.
"""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from massivetext.errors import MassivetextError

from .pool import PROXY

# To save a checkpoint, once the driver has gone.
GRACE_SECONDS = 20.0


class Jobs:
    """The jobs that come on the standard input, as an iterator; stops a run when they end."""

    def __init__(self) -> None:
        self.busy = threading.Event()
        self._ended = threading.Event()
        self._jobs: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __iter__(self) -> "Jobs":
        return self

    def __next__(self) -> dict[str, Any]:
        self.busy.clear()
        job = self._jobs.get()
        # Either this thread sees the end, or the one that listens sees that there is a run to stop.
        self.busy.set()
        if job is None or self._ended.is_set():
            self.busy.clear()
            raise StopIteration
        return job

    def _listen(self) -> None:
        for line in sys.stdin:
            self._jobs.put(json.loads(line))
        self._ended.set()
        self._jobs.put(None)
        if self.busy.is_set():
            os.kill(os.getpid(), signal.SIGTERM)  # training saves a checkpoint and stops
            time.sleep(GRACE_SECONDS)
            os._exit(1)


def _run(job: dict[str, Any]) -> None:
    # JAX, here and not above: a worker that cannot import it says so in a log.
    if job["kind"] == PROXY:
        from .proxy_run import run_proxy

        run_proxy(job)
    else:
        from .method_run import run_method

        run_method(job)


def main() -> None:
    # What libraries print must not mix with what the driver reads.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for job in Jobs():
        log = Path(job["folder"]) / "log.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        answer: dict[str, str] = {"done": job["name"]}
        try:
            _run(job)
        except MassivetextError as error:
            traceback.print_exc()
            answer = {"error": type(error).__name__, "why": str(error)}
        with contextlib.suppress(BrokenPipeError):
            answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
