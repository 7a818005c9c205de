"""The work queue: a stage's bundles, drawn by its workers, and tried again when one dies."""

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from apache_beam.metrics import monitoring_infos
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.execution import BundleContextManager
from apache_beam.runners.portability.fn_api_runner.fn_runner import BundleManager
from apache_beam.utils.windowed_value import PaneInfo

from massivetext.errors import StageError

from .attempts import DEATH_SECONDS, OUTPUT_MEMORY, Attempt, Inputs, WorkerDiedError
from .feed import Feed
from .spill import SpillBuffer, SpillFile, SpillGroups
from .workers import ForkedWorker

ATTEMPTS = 3
"""How often a bundle is tried whose workers die; what kills three is the bundle itself."""

SIGNAL_SECONDS = 0.2
NAMED_ELEMENTS = 5
NAME_LENGTH = 100


class WorkQueue(BundleManager):
    """Runs a stage: one bundle at a time on every worker, until its input is used up."""

    def __init__(
        self,
        manager: BundleContextManager,
        cache_tokens: Iterator[Any],
        spill: SpillFile,
        memory: int,
    ):
        super().__init__(manager, cache_token_generator=cache_tokens)
        self._spill, self._memory = spill, min(memory, OUTPUT_MEMORY)
        self._keep_lock = threading.Lock()
        self._token_lock = threading.Lock()

    def process_bundle(
        self,
        inputs: Any,
        expected_outputs: Any,
        fired_timers: Any,
        expected_output_timers: Any,
        dry_run: bool = False,
    ) -> Any:
        """Process all `inputs`; return the merged response and the splits made by tests.

        Raises:
          StageError: a bundle's workers died; names the stage, the elements and how.
          DiskFullError: a disk is full, here or in a worker.
          RuntimeError: user code raised; holds the worker's traceback.
        """
        outputs = expected_outputs, expected_output_timers
        if self._select_split_manager():
            run = super().process_bundle
            return self._once(
                lambda: run(inputs, expected_outputs, fired_timers, expected_output_timers, dry_run)
            )
        if self.bundle_context_manager.stage.is_stateful():
            # State belongs to keys, and bundles are not cut by key: one bundle, one worker. What a
            # worker has written to its state before it died cannot be taken back: one attempt.
            worker = self._living(self._workers()[0])
            return self._once(
                lambda: (self._attempt(worker, inputs, outputs, fired_timers, dry_run), [])
            )
        return self._run_all(inputs, outputs, dry_run), []

    def _run_all(self, inputs: Any, outputs: Any, dry_run: bool) -> Any:
        workers = self._workers()
        feed = Feed(inputs, len(workers))
        results: queue.Queue[Any] = queue.Queue()

        def loop(worker: ForkedWorker) -> None:
            try:
                while (bundle := feed.take()) is not None:
                    started = time.monotonic()
                    results.put(self._until_done(worker, bundle, outputs, dry_run))
                    feed.took(time.monotonic() - started)
                results.put(None)
            except Exception as error:  # it belongs to the thread that waits
                results.put(error)

        for worker in workers:
            threading.Thread(target=loop, args=(worker,), daemon=True).start()
        merged = None
        running = len(workers)
        while running:
            result = _wait(results)
            if isinstance(result, Exception):
                raise result
            if result is None:
                running -= 1
            else:
                merged = result if merged is None else _merge(merged, result)
        return merged

    def _until_done(self, worker: ForkedWorker, inputs: Inputs, outputs: Any, dry_run: bool) -> Any:
        """Try a bundle until it is done, on a new process whenever the worker has died."""
        for tries in itertools.count(1):
            try:
                return self._attempt(self._living(worker), inputs, outputs, {}, dry_run)
            except WorkerDiedError as error:
                if tries == ATTEMPTS:
                    raise StageError(
                        f"in {self._stage()}: {ATTEMPTS} worker processes died one after the other "
                        f"on {self._elements(inputs)}; the last {worker.how}{worker.last_words}"
                    ) from error
                logging.getLogger(__name__).warning(
                    "in %s: a worker process %s; trying again", self._stage(), worker.how
                )
        raise AssertionError

    def _attempt(
        self, worker: ForkedWorker, inputs: Any, outputs: Any, timers: Any, dry_run: bool
    ) -> Any:
        data, written_timers = outputs
        with self._token_lock:
            token = next(self._cache_token_generator)
        attempt = Attempt(
            worker,
            self.bundle_context_manager.process_bundle_descriptor.id,
            [*data, *written_timers],
            self._spill,
            self._memory,
        )
        response = attempt.run(inputs, timers, token)
        if not dry_run:
            with self._keep_lock:
                self._keep(attempt, data, written_timers)
        if response.process_bundle.requires_finalization:
            attempt.finalize()
        return response

    def _keep(self, attempt: Attempt, data: Any, written_timers: Any) -> None:
        """Append what an attempt gave to the buffers of the stages that read it."""
        for output, chunks in attempt.outputs.items():
            if not chunks.bytes:
                continue
            timers = isinstance(output, tuple)
            buffer = self.bundle_context_manager.get_buffer(
                written_timers[output][0] if timers else data[output],
                output[0] if timers else output,  # type: ignore[arg-type]
            )
            if isinstance(buffer, SpillBuffer | SpillGroups):
                buffer.adopt(chunks)
                continue
            if buffer.cleared:
                buffer.reset()
            for chunk in chunks:
                buffer.append(chunk)

    def _once(self, call: Callable[[], Any]) -> Any:
        """Return what `call` returns.

        Raises:
          StageError: a worker died meanwhile.
        """
        results: queue.Queue[Any] = queue.Queue()

        def target() -> None:
            try:
                results.put(call())
            except Exception as error:  # it belongs to the thread that waits
                results.put(error)

        threading.Thread(target=target, daemon=True).start()
        result = _wait(results, self._a_worker_died)
        if result is None or isinstance(result, WorkerDiedError | RuntimeError):
            for worker in self._workers():
                if worker.died.is_set():
                    raise StageError(
                        f"in {self._stage()}: a worker process {worker.how}{worker.last_words}"
                    ) from result
        if isinstance(result, Exception):
            raise result
        return result

    def _a_worker_died(self) -> bool:
        return any(worker.died.is_set() for worker in self._workers())

    def _workers(self) -> list[ForkedWorker]:
        return cast(list[ForkedWorker], self.bundle_context_manager.worker_handlers)

    def _living(self, worker: ForkedWorker) -> ForkedWorker:
        if worker.died.is_set():
            worker.restart()
        return worker

    def _stage(self) -> str:
        names = [
            transform.unique_name.split("/")[0]
            for transform in self.bundle_context_manager.stage.transforms
            if not transform.spec.urn.startswith("beam:runner:")
        ]
        return " + ".join(dict.fromkeys(names))

    def _elements(self, inputs: Inputs) -> str:
        """Return words for the elements of a bundle: the names of parts, where they are parts."""
        names: list[str] = []
        for transform, chunks in inputs.items():
            port = beam_fn_api_pb2.RemoteGrpcPort.FromString(
                self.bundle_context_manager.process_bundle_descriptor.transforms[
                    transform
                ].spec.payload
            )
            # The runner itself sees elements as bytes; this is the coder the worker reads with.
            coder = self.bundle_context_manager.execution_context.pipeline_context.coders[
                port.coder_id
            ].get_impl()
            for chunk in chunks:
                for element in coder.decode_all(chunk):
                    names += _names(element.value)
        more = f" and {len(names) - NAMED_ELEMENTS} more" if len(names) > NAMED_ELEMENTS else ""
        return ", ".join(names[:NAMED_ELEMENTS]) + more or "no elements"


def _names(value: Any) -> list[str]:
    """Return what a person knows an element by: the name of a part, else a short repr."""
    match value:
        case (_, [*grouped]) if grouped and all(map(_reshuffled, grouped)):
            return [name for inner, _, _ in grouped for name in _names(inner)]
    name = getattr(value, "name", None)
    return [f"part {name}" if isinstance(name, str) else repr(value)[:NAME_LENGTH]]


def _reshuffled(value: Any) -> bool:
    """Whether it is what `Reshuffle` makes of an element: the element, its time and its pane."""
    return isinstance(value, tuple) and len(value) == 3 and isinstance(value[2], PaneInfo)


def _wait(results: queue.Queue[Any], given_up: Callable[[], bool] = lambda: False) -> Any:
    """Return the next result; None when `given_up` has been true for a while without one."""
    patience = DEATH_SECONDS
    while True:
        try:
            # Python acts on signals in the main thread only, and only when that is awake.
            return results.get(timeout=SIGNAL_SECONDS)
        except queue.Empty:
            patience -= SIGNAL_SECONDS * given_up()
            if patience < 0:
                return None


def _merge(first: Any, second: Any) -> Any:
    a, b = first.process_bundle, second.process_bundle
    return beam_fn_api_pb2.InstructionResponse(
        process_bundle=beam_fn_api_pb2.ProcessBundleResponse(
            monitoring_infos=monitoring_infos.consolidate(
                itertools.chain(a.monitoring_infos, b.monitoring_infos)
            ),
            residual_roots=[*a.residual_roots, *b.residual_roots],
        )
    )
