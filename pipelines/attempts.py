"""One attempt at a bundle: what a worker is sent, and what it gives, kept apart until it ends.

A worker may die when it has written half of its output, or all but the last element of it. The
bundle is then tried again from the start, so nothing of an attempt may count before its end.
"""

import ast
import re
import threading
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import BundleManager

from massivetext.scratch import FULL, disk_full

from .spill import ChunkList, SpillFile
from .workers import ForkedWorker

# Room for what most bundles give; larger outputs wait on the disk.
OUTPUT_MEMORY = 8 << 20
DEATH_SECONDS = 2.0

# An error of the system as Python prints it in a traceback, with the file it is about.
OS_ERROR = re.compile(
    rf"\[Errno ({'|'.join(map(str, sorted(FULL)))})\] [^\n]*: ('[^'\n]+'|\"[^\"\n]+\")"
)

Inputs = dict[str, list[bytes]]
TimerFamily = tuple[str, str]


class WorkerDiedError(Exception):
    """The worker died before it had finished a bundle. Not an error of the code it ran."""


class Attempt:
    """One attempt at one bundle.

    Args:
      worker: does the work and nothing else meanwhile.
      descriptor: id of the stage's process bundle descriptor.
      outputs: the transforms, and families of timers, that the stage writes to.
      spill: takes what is beyond `memory` bytes of each output.
    """

    def __init__(
        self,
        worker: ForkedWorker,
        descriptor: str,
        outputs: list[str | TimerFamily],
        spill: SpillFile,
        memory: int,
    ):
        self.worker = worker
        self.outputs = {output: ChunkList(spill, memory) for output in outputs}
        self._descriptor = descriptor
        with BundleManager._lock:
            BundleManager._uid_counter += 1
            self._instruction = f"bundle_{BundleManager._uid_counter}"

    def run(self, inputs: Any, timers: Any, token: Any) -> Any:
        """Process `inputs` (encoded elements by transform) and `timers` (by family) to the end.

        Returns:
          Beam's response. What the worker wrote stands in `outputs`.

        Raises:
          WorkerDiedError: the worker died; `outputs` may hold a part of what it would have written.
          DiskFullError: a disk that the worker or the driver writes to is full.
          RuntimeError: user code raised; holds the worker's traceback.
        """
        answer = self.worker.control_conn.push(
            beam_fn_api_pb2.InstructionRequest(
                instruction_id=self._instruction,
                process_bundle=beam_fn_api_pb2.ProcessBundleRequest(
                    process_bundle_descriptor_id=self._descriptor, cache_tokens=[token]
                ),
            )
        )
        # Input is sent while output is read: both channels are bounded, so that doing one after
        # the other would stop for ever when a bundle gives more than it takes.
        threading.Thread(target=self._send, args=(inputs, timers), daemon=True).start()
        lost = False

        def stop() -> bool:
            # The answer may have come before the worker died, and the last of its output not.
            nonlocal lost
            lost = self.worker.died.is_set() or (answer.is_done() and bool(answer.get().error))
            return lost

        try:
            for output in self.worker.data_conn.input_elements(
                self._instruction, list(self.outputs), abort_callback=stop
            ):
                if isinstance(output, beam_fn_api_pb2.Elements.Timers):
                    self.outputs[output.transform_id, output.timer_family_id].append(output.timers)
                else:
                    self.outputs[output.transform_id].append(output.data)
        except RuntimeError as error:  # the channel is closed
            raise self._failure(str(error)) from error
        response = answer.get()
        if response.error:
            raise self._failure(response.error)
        if lost:
            raise WorkerDiedError
        return response

    def finalize(self) -> None:
        """Call what the bundle registered to be called once its outputs are kept.

        Raises:
          RuntimeError: user code raised.
        """
        answer = self.worker.control_conn.push(
            beam_fn_api_pb2.InstructionRequest(
                finalize_bundle=beam_fn_api_pb2.FinalizeBundleRequest(
                    instruction_id=self._instruction
                )
            )
        ).get()
        # The outputs are kept: to do the bundle again because its worker died now would be wrong.
        if answer.error and not isinstance(error := self._failure(answer.error), WorkerDiedError):
            raise error

    def _failure(self, message: str) -> Exception:
        # A dying worker breaks its channels a moment before its end is known.
        if self.worker.died.wait(0 if "Traceback" in message else DEATH_SECONDS):
            return WorkerDiedError()
        if (found := OS_ERROR.search(message)) is not None:
            error = OSError(int(found[1]), "", ast.literal_eval(found[2]))
            return disk_full(error) or RuntimeError(message)
        return RuntimeError(message)

    def _send(self, inputs: Any, timers: Any) -> None:
        channel = self.worker.data_conn
        for family in self.outputs:
            if isinstance(family, tuple):
                stream = channel.output_timer_stream(self._instruction, *family)
                for timer in timers.get(family, []):
                    stream.write(timer)
                stream.close()
        for transform, chunks in inputs.items():
            stream = channel.output_stream(self._instruction, transform)
            for chunk in chunks:
                stream.write(chunk)
            stream.close()
