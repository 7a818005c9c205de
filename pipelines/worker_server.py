"""The process that starts workers: `python -m massivetext.pipelines.worker_server EVENTS_FD`.

A worker needs about a second and a half to import Beam and to ready numba, and a build runs some
fourteen pipelines. This process does both once and forks a worker in a few milliseconds. It has a
single thread and has opened no gRPC channel when it forks, which is what makes forking safe here
and not in the driver.

Requests come as JSON lines on standard input: `{"start": id, ...}` and `{"kill": id}`. The end of
each worker goes out as a JSON line on EVENTS_FD: `{"id": id, "code": exit code, or -signal}`. When
standard input ends, the driver is gone, however it went, and every worker is killed.
"""

import ctypes
import faulthandler
import gc
import io
import json
import logging
import os
import selectors
import signal
import sys
import traceback
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
STATE_CACHE_BYTES = 100 << 20
# Output is flushed by size and at the end of a bundle, never by time as well: Beam's thread for
# that takes no lock against the one that writes, and what is written between its reading the
# buffer and clearing it is lost without a word.
NO_TIMED_FLUSH = 0
# Beam notes this often what a worker is at, and at the end of every bundle waits for the thread
# that does so to wake up. Its own period of 200 ms was a tenth of a build.
SAMPLING_MS = 10


def preload() -> None:
    """Load what every worker needs, for it to inherit: a worker would need half a second for it."""
    import numpy as np
    from apache_beam.runners.portability.fn_api_runner import worker_handlers  # noqa: F401
    from apache_beam.runners.worker.statesampler import StateSampler

    import massivetext.pipelines.build  # noqa: F401
    from massivetext.allocator import keep_freed_memory
    from massivetext.pipelines.numbering import mark

    # The first kernel that is called makes numba get itself ready, for all of them.
    mark(np.zeros(1, np.uint8), np.zeros(0, np.int64))
    StateSampler.__init__.__defaults__ = (SAMPLING_MS,)
    keep_freed_memory()
    gc.collect()
    gc.freeze()


def serve(events: int) -> None:
    """Start, watch and kill workers until standard input ends."""
    preload()
    workers: dict[int, str] = {}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    pending = b""
    try:
        while True:
            ready = [key.fd for key, _ in selector.select()]
            if woken in ready:
                os.read(woken, 4096)
                _reap(workers, events)
            if sys.stdin.fileno() in ready:
                data = os.read(sys.stdin.fileno(), 1 << 16)
                if not data:
                    return
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    _handle(json.loads(line), workers, (events, woken, wake))
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGKILL)


def _handle(request: dict[str, Any], workers: dict[int, str], private: tuple[int, ...]) -> None:
    if "kill" in request:
        for pid, name in workers.items():
            if name == request["kill"]:
                os.kill(pid, signal.SIGKILL)
        return
    pid = os.fork()
    if pid == 0:
        for fd in private:
            os.close(fd)
        _become_worker(request)
    workers[pid] = request["start"]


def _reap(workers: dict[int, str], events: int) -> None:
    while workers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        line = json.dumps({"id": workers.pop(pid), "code": code}) + "\n"
        os.write(events, line.encode())


class _Log(io.FileIO):
    """A file that drops what the disk has no room for.

    Beam's worker prints an error before it answers with it: it would never answer that the disk is
    full if the printing failed for the same reason.
    """

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _become_worker(request: dict[str, Any]) -> NoReturn:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
        os.unlink(request["log"])
        os.dup2(null, 0)
        os.dup2(log, 2)
        sys.stderr = io.TextIOWrapper(
            _Log(2, "w", closefd=False), errors="backslashreplace", write_through=True
        )
        faulthandler.enable(all_threads=False)
        os.environ.clear()
        # gRPC would send even local calls to a proxy.
        os.environ.update(request["environment"], no_grpc_proxy="localhost")
        os.chdir(request["directory"])
        sys.path[:] = request["path"]
        _run_harness(request["start"], request["control"])
        code = 0
    except BaseException:  # nothing may return into the server's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run_harness(worker: str, control: str) -> None:
    from apache_beam.options.value_provider import RuntimeValueProvider
    from apache_beam.runners.portability.fn_api_runner import worker_handlers
    from apache_beam.runners.worker.sdk_worker import SdkHarness

    logging.getLogger().setLevel(logging.WARNING)
    RuntimeValueProvider.set_runtime_options({})
    SdkHarness(
        control,
        worker_id=worker,
        state_cache_size=STATE_CACHE_BYTES,
        data_buffer_time_limit_ms=NO_TIMED_FLUSH,
        runner_capabilities=worker_handlers.FNAPI_RUNNER_CAPABILITIES,
    ).run()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
