"""The local engine: Beam's `FnApiRunner` made fit for unattended work on one machine.

What Beam's own lacks and this adds: bundles drawn from a work queue by N worker processes, buffers
that spill to disk, and a bundle whose worker dies is tried again instead of hanging the run. It
relies on internals of Beam 2.77, which is why that version is pinned and why Beam's own
conformance suite runs against it (`tests/pipelines/test_conformance.py`).
"""

import contextlib
import functools
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.execution import (
    BundleContextManager,
    GroupingBuffer,
    ListBuffer,
)

from massivetext.scratch import run_folder

from .bundles import WorkQueue
from .spill import BUFFER_MEMORY, SpillBuffer, SpillFile, SpillGroups
from .workers import ForkedEnvironment, keep_logs_in


class LocalRunner(FnApiRunner):
    """Runs a pipeline on `workers` processes of this machine.

    Args:
      workers: number of worker processes, at least 1. User code never runs in the caller's process.
      memory: bytes that each buffer between stages may hold before it spills to the scratch folder.
      is_drain: as in Beam's runner.
    """

    def __init__(self, workers: int = 1, memory: int = BUFFER_MEMORY, *, is_drain: bool = False):
        super().__init__(default_environment=ForkedEnvironment.default(), is_drain=is_drain)
        self.workers, self.memory = workers, memory
        self._spill: SpillFile | None = None

    def run_via_runner_api(self, pipeline_proto: Any, options: PipelineOptions) -> Any:
        self._num_workers = self.workers
        with run_folder("pipeline") as folder, contextlib.closing(SpillFile(folder)) as self._spill:
            keep_logs_in(folder, pipeline_proto)
            return super().run_via_runner_api(pipeline_proto, options)

    def _execute_bundle(
        self, runner_execution_context: Any, bundle_context_manager: Any, bundle_input: Any
    ) -> Any:
        bundle_context_manager.get_buffer = functools.partial(self._buffer, bundle_context_manager)
        return super()._execute_bundle(
            runner_execution_context, bundle_context_manager, bundle_input
        )

    def _get_bundle_manager(self, bundle_context_manager: Any) -> WorkQueue:
        assert self._spill is not None
        tokens = self.get_cache_token_generator(static=False)
        return WorkQueue(bundle_context_manager, tokens, self._spill, self.memory)

    def _buffer(self, manager: BundleContextManager, buffer_id: bytes, transform: str) -> Any:
        """Return what Beam would, with its two kinds of buffer replaced by ours when new."""
        buffer = BundleContextManager.get_buffer(manager, buffer_id, transform)
        buffers: Any = manager.execution_context.pcoll_buffers
        if buffers.get(buffer_id) is not buffer:
            return buffer  # timers, which are small
        assert self._spill is not None
        if type(buffer) is GroupingBuffer:
            buffers[buffer_id] = SpillGroups(
                buffer._pre_grouped_coder,
                buffer._post_grouped_coder,
                buffer._windowing,
                self._spill,
                self.memory,
            )
        elif type(buffer) is ListBuffer and not buffer._inputs:
            buffers[buffer_id] = SpillBuffer(buffer._coder_impl, self._spill, self.memory)
        return buffers[buffer_id]
