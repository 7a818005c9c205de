"""Worker processes, as the driver sees them: started, watched, stopped, never left behind."""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    GrpcWorkerHandler,
    WorkerHandler,
)
from apache_beam.transforms import environments

from .worker_channels import Control, Data
from .worker_server import NO_TIMED_FLUSH

ENVIRONMENT_URN = "massivetext:env:forked_worker:v1"
STOP_SECONDS = 10.0
LOG_LINES = 30

# Libraries that start threads when they are imported; a process with threads must not fork. One
# thread for BLAS is right for the workers as well: there is one of them per core.
SINGLE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
# Arrow's allocator keeps what is freed, for it is asked for as much again (see `allocator`). A
# worker lives for one pipeline.
KEPT_MEMORY = {"MIMALLOC_PURGE_DELAY": "-1"}


class WorkerServer:
    """The driver's end of `worker_server`: one per driver, started when first needed."""

    _instance: "WorkerServer | None" = None
    _starting = threading.Lock()

    @classmethod
    def get(cls) -> "WorkerServer":
        """Return the running server, started now if there is none."""
        with cls._starting:
            if cls._instance is None or not cls._instance.usable():
                cls._instance = cls()
            return cls._instance

    def __init__(self) -> None:
        self._process, events = _launch()
        self._driver = os.getpid()
        self._lock = threading.Lock()
        self._watched: dict[str, Callable[[int | None], None]] = {}
        self._gone = False
        threading.Thread(target=self._watch, args=(events,), daemon=True).start()
        atexit.register(self.close)

    def usable(self) -> bool:
        return not self._gone and self._driver == os.getpid()

    def start(
        self, worker: str, control: str, log: str, ended: Callable[[int | None], None]
    ) -> None:
        """Fork a worker; `ended` is called once with its exit code, -signal, or None if unknown."""
        with self._lock:
            self._watched[worker] = ended
        self._send(
            {
                "start": worker,
                "control": control,
                "log": log,
                "environment": dict(os.environ),
                "directory": os.getcwd(),
                "path": [*sys.path, os.getcwd()],
            }
        )
        if self._gone:
            self._lose_all()

    def kill(self, worker: str) -> None:
        self._send({"kill": worker})

    def close(self) -> None:
        """End the server and with it every worker."""
        if self._driver == os.getpid() and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait()

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._process.stdin.write((json.dumps(request) + "\n").encode())
            self._process.stdin.flush()

    def _watch(self, events: int) -> None:
        with os.fdopen(events) as lines:
            for line in lines:
                event = json.loads(line)
                with self._lock:
                    ended = self._watched.pop(event["id"], None)
                if ended is not None:
                    ended(event["code"])
        self._gone = True
        self._lose_all()

    def _lose_all(self) -> None:
        with self._lock:
            left, self._watched = list(self._watched.values()), {}
        for ended in left:
            ended(None)


def _launch() -> tuple[subprocess.Popen[bytes], int]:
    """Start the process; return it and the descriptor that its events come from."""
    events, write_end = os.pipe()
    environment = {
        **os.environ,
        **SINGLE_THREAD,
        **KEPT_MEMORY,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    # Its own session, so that Ctrl-C reaches the driver alone, which then ends the workers.
    # -P: a folder `massivetext` where the command runs, such as a checkout, is not the package.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "massivetext.pipelines.worker_server", str(write_end)],
        stdin=subprocess.PIPE,
        pass_fds=[write_end],
        env=environment,
        start_new_session=True,
    )
    os.close(write_end)
    return process, events


class ForkedEnvironment(environments.Environment):
    """The environment in which the local runner runs user code: a forked worker process.

    `folder` is where workers keep their logs; the runner fills it in when a run begins.
    """

    folder = b""

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return ENVIRONMENT_URN, self.folder

    @staticmethod
    def from_runner_api_parameter(
        payload: bytes, capabilities: Any, artifacts: Any, resource_hints: Any, context: Any
    ) -> "ForkedEnvironment":
        environment = ForkedEnvironment(capabilities, artifacts, resource_hints)
        environment.folder = payload
        return environment

    @classmethod
    def default(cls) -> "ForkedEnvironment":
        return cls(capabilities=environments.python_sdk_capabilities(), artifacts=())


def keep_logs_in(folder: Path, pipeline_proto: Any) -> None:
    """Make the workers of a pipeline keep their logs in `folder`."""
    for environment in pipeline_proto.components.environments.values():
        if environment.urn == ENVIRONMENT_URN:
            environment.payload = os.fsencode(folder)


environments.Environment.register_urn(
    ENVIRONMENT_URN,
    bytes,
    ForkedEnvironment.from_runner_api_parameter,  # type: ignore[arg-type]
)


class ForkedWorker(GrpcWorkerHandler):
    """One worker process at a time. `died` is set as soon as it has ended without being asked to.

    `how` then tells how it ended and `last_words` what it wrote to standard error.
    """

    control_conn: Control
    data_conn: Data

    def __init__(self, folder: bytes, state: Any, provision_info: Any, grpc_server: Any):
        super().__init__(state, provision_info, grpc_server)
        self._folder = Path(os.fsdecode(folder))
        self._life = threading.Lock()
        self._stopping = False
        self._connect()

    def start_worker(self) -> None:
        # The worker removes the name when it has opened the file.
        log = tempfile.mkstemp(prefix="worker-", suffix=".log", dir=self._folder)
        self._log, self._log_path = os.fdopen(log[0], errors="replace"), Path(log[1])
        self._server = WorkerServer.get()
        self._server.start(self.worker_id, self.control_address, str(self._log_path), self._on_exit)

    def restart(self) -> None:
        """Start a process in place of the one that died.

        Raises:
          RuntimeError: the worker is closed.
        """
        with self._life:
            if self._stopping:
                raise RuntimeError("the run has ended")
            self._disconnect()
            # A new name: to the servers of the run this is another worker.
            manager = self.control_handler._worker_manager
            del manager._workers_by_id[self.worker_id]
            with WorkerHandler._lock:
                WorkerHandler._worker_id_counter += 1
                self.worker_id = f"worker_{WorkerHandler._worker_id_counter}"
            manager._workers_by_id[self.worker_id] = self
            self._connect()
            self.start_worker()

    def close(self) -> None:
        """End the worker: gracefully when it is idle, at once when it is not."""
        with self._life:
            self._stopping = True
        if self.died.is_set() or not self.control_conn.idle():
            self._server.kill(self.worker_id)
            self._ended.wait(STOP_SECONDS)
            self._disconnect()
            return
        self.control_conn.close()
        with contextlib.suppress(RuntimeError, grpc.RpcError):
            self.data_conn.close()
        self.stop_worker()

    def stop_worker(self) -> None:
        if not self._ended.wait(STOP_SECONDS):
            self._server.kill(self.worker_id)
        self._close_log()

    def _connect(self) -> None:
        self.control_conn, self.data_conn = Control(), Data(NO_TIMED_FLUSH)
        self._grpc_server.control_handler._connections_by_worker_id[self.worker_id] = (
            self.control_conn
        )
        self._grpc_server.data_plane_handler._connections_by_worker_id[(self.worker_id, "")] = (
            self.data_conn
        )
        self.died, self._ended = threading.Event(), threading.Event()
        self.how = self.last_words = ""

    def _disconnect(self) -> None:
        """Close the connections to a process that has been killed."""
        self.control_conn.close()
        self.data_conn.abandon()
        self._close_log()

    def _close_log(self) -> None:
        self._log.close()
        self._log_path.unlink(missing_ok=True)

    def _on_exit(self, code: int | None) -> None:
        self._ended.set()
        if not self._stopping:
            self.how, self.last_words = _how(code), self._tail()
            self.control_conn.fail(f"a worker process {self.how}")
            self.died.set()

    def _tail(self) -> str:
        lines = self._log.read().splitlines()
        lines = [line for line in lines if line and not line.startswith("Extension modules:")]
        return "; its last words:\n" + "\n".join(lines[-LOG_LINES:]) if lines else ""


def _how(code: int | None) -> str:
    if code is None:
        return "was lost with the process that starts workers"
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = " (out of memory, or killed by hand)" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"


WorkerHandler.register_environment(ENVIRONMENT_URN, bytes)(ForkedWorker)
