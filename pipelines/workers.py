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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    BeamFnControlServicer,
    ControlConnection,
    GrpcWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.worker.data_plane import _GrpcDataChannel
from apache_beam.transforms import environments

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
        events, write_end = os.pipe()
        environment = {
            **os.environ,
            **SINGLE_THREAD,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        # Its own session, so that Ctrl-C reaches the driver alone, which then ends the workers.
        # -P: a folder `massivetext` where the command runs, such as a checkout, is not the package.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "massivetext.pipelines.worker_server", str(write_end)],
            stdin=subprocess.PIPE,
            pass_fds=[write_end],
            env=environment,
            start_new_session=True,
        )
        os.close(write_end)
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


class Control(ControlConnection):
    """A control connection that answers for its worker once the worker is dead.

    Beam's own waits for ever for the answer of a worker that has died.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failure = ""

    def push(self, req: Any) -> Any:
        future = super().push(req)
        if self.failure:
            self.fail(self.failure)
        return future

    def fail(self, message: str) -> None:
        """Answer every open and every later request with the error `message`."""
        self.failure = message
        for instruction in list(self._futures_by_id):
            future = self._futures_by_id.pop(instruction, None)
            if future is not None:
                future.set(
                    beam_fn_api_pb2.InstructionResponse(instruction_id=instruction, error=message)
                )

    def idle(self) -> bool:
        """Tell whether the worker is connected and has nothing to do."""
        return self._state == BeamFnControlServicer.STARTED_STATE and not self._futures_by_id

    def _read(self) -> None:
        for response in _until_broken(self._input):
            future = self._futures_by_id.pop(response.instruction_id, None)
            if future is not None:
                future.set(response)


class Data(_GrpcDataChannel):
    """A data channel that closes quietly when its worker is killed."""

    def _read_inputs(self, elements_iterator: Any) -> None:
        super()._read_inputs(_until_broken(elements_iterator))


def _until_broken(stream: Any) -> Iterator[Any]:
    # The stream of a killed worker ends with an error in a thread that nobody waits for. How the
    # worker ended is reported where it is known, in `ForkedWorker`.
    with contextlib.suppress(grpc.RpcError):
        yield from stream


class ForkedEnvironment(environments.Environment):
    """The environment in which the local runner runs user code: a forked worker process."""

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return ENVIRONMENT_URN, b""

    @staticmethod
    def from_runner_api_parameter(
        payload: bytes, capabilities: Any, artifacts: Any, resource_hints: Any, context: Any
    ) -> "ForkedEnvironment":
        return ForkedEnvironment(capabilities, artifacts, resource_hints)

    @classmethod
    def default(cls) -> "ForkedEnvironment":
        return cls(capabilities=environments.python_sdk_capabilities(), artifacts=())


environments.Environment.register_urn(
    ENVIRONMENT_URN,
    bytes,
    ForkedEnvironment.from_runner_api_parameter,  # type: ignore[arg-type]
)


class ForkedWorker(GrpcWorkerHandler):
    """One worker process. `died` is set as soon as it has ended without being asked to."""

    control_conn: Control
    data_conn: Data

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: Any):
        super().__init__(state, provision_info, grpc_server)
        self.control_conn = Control()
        self.data_conn = Data(NO_TIMED_FLUSH)
        grpc_server.control_handler._connections_by_worker_id[self.worker_id] = self.control_conn
        grpc_server.data_plane_handler._connections_by_worker_id[(self.worker_id, "")] = (
            self.data_conn
        )
        self.died = threading.Event()
        self.on_death: Callable[[], None] = lambda: None
        self._ended = threading.Event()
        self._stopping = False

    def start_worker(self) -> None:
        # The worker removes the name when it has opened the file, so that none is ever left.
        log, self._log_path = tempfile.mkstemp(prefix="massivetext-worker-", suffix=".log")
        self._log = os.fdopen(log, errors="replace")
        self._server = WorkerServer.get()
        self._server.start(self.worker_id, self.control_address, self._log_path, self._on_exit)

    def close(self) -> None:
        """End the worker: gracefully when it is idle, at once when it is not."""
        self._stopping = True
        graceful = self.control_conn.idle() and not self.died.is_set()
        if not graceful:
            self._server.kill(self.worker_id)
            self._ended.wait(STOP_SECONDS)
        self.control_conn.close()
        # What was on its way to a killed worker may fill the channel, and closing then waits.
        closing = threading.Thread(target=self._close_data, daemon=True)
        closing.start()
        if graceful:
            closing.join(STOP_SECONDS)
        self.stop_worker()

    def stop_worker(self) -> None:
        if not self._ended.wait(STOP_SECONDS):
            self._server.kill(self.worker_id)
        self._log.close()
        Path(self._log_path).unlink(missing_ok=True)

    def _close_data(self) -> None:
        with contextlib.suppress(RuntimeError, grpc.RpcError):
            self.data_conn.close()

    def _on_exit(self, code: int | None) -> None:
        if not self._stopping:
            self.control_conn.fail(f"a worker process {_how(code)}{self._tail()}")
            self.died.set()
            self.on_death()
        self._ended.set()

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
