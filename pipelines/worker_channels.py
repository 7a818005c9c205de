"""The driver's channels to one worker process, made to bear its death.

Beam's own wait for ever for a worker that has died: for its answer, and for room to send to it.
"""

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    BeamFnControlServicer,
    ControlConnection,
)
from apache_beam.runners.worker.data_plane import _GrpcDataChannel

DRAIN_SECONDS = 0.1


class Control(ControlConnection):
    """A control connection that answers for its worker once the worker is dead."""

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

    def __init__(self, data_buffer_time_limit_ms: int):
        self._abandoned = False
        super().__init__(data_buffer_time_limit_ms)

    def abandon(self) -> None:
        """Close the channel to a dead worker: drop what waits to be sent, and what ever will."""
        self._abandoned = True
        for target in (self._finish, self._drain):
            threading.Thread(target=target, daemon=True).start()

    def _finish(self) -> None:
        super()._enqueue_to_send(self._WRITES_FINISHED)

    def _drain(self) -> None:
        assert self._send_forwarder is not None
        while self._send_forwarder.is_alive():
            with contextlib.suppress(queue.Empty):
                self._to_send.get(timeout=DRAIN_SECONDS)
        # For the thread of gRPC that would wait for more to send.
        self._to_send.put(self._WRITES_FINISHED, 0)

    def _enqueue_to_send(self, elem: Any) -> None:
        if not self._abandoned:
            super()._enqueue_to_send(elem)

    def _read_inputs(self, elements_iterator: Any) -> None:
        super()._read_inputs(_until_broken(elements_iterator))


def _until_broken(stream: Any) -> Iterator[Any]:
    # The stream of a killed worker ends with an error in a thread that nobody waits for. How the
    # worker ended is reported where it is known, in `ForkedWorker`.
    with contextlib.suppress(grpc.RpcError):
        yield from stream
