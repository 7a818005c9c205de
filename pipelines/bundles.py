"""Bundles: how a stage's input is cut up, handed to workers, and its output collected."""

import functools
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from apache_beam.metrics import monitoring_infos
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.execution import BundleContextManager
from apache_beam.runners.portability.fn_api_runner.fn_runner import BundleManager

from massivetext.errors import StageError

from .spill import elements, size
from .workers import ForkedWorker

BUNDLE_BYTES = 32 << 20
SMALL_BYTES = 8 << 20
LARGE_SHARE_BYTES = 64 << 10
SHARES = 4
QUICK_SECONDS = 0.1
SLOW_SECONDS = 1.0
DEATH_SECONDS = 2.0

Inputs = dict[str, list[bytes]]


class Feed:
    """Cuts the inputs of a stage into bundles as workers ask for them.

    It begins with single elements, so that a stage whose elements are whole files spreads evenly,
    and doubles the number while bundles come back quickly. No bundle is more than a fourth of
    what would be left for each worker, nor more than `BUNDLE_BYTES`, except for a single element.
    """

    def __init__(self, inputs: dict[str, Any], workers: int):
        self._names = list(inputs)
        self._workers = workers
        self._left = sum(size(buffer) for buffer in inputs.values())
        self._least = LARGE_SHARE_BYTES
        self._count = 1
        self._lock = threading.Lock()
        self._elements: Iterator[tuple[str, bytes]] = (
            (name, element) for name, buffer in inputs.items() for element in elements(buffer)
        )
        if self._left <= SMALL_BYTES:
            # The size of a group is known only when it is formed; here it is worth knowing, for
            # these may be the files of a stage, which must spread evenly to the last one.
            formed = list(self._elements)
            self._elements = iter(formed)
            self._left, self._least = sum(len(element) for _, element in formed), 0
        self._next = next(self._elements, None)
        self._empty = self._next is None

    def take(self) -> Inputs | None:
        """Return the next bundle, by input; None when there are no more.

        A stage without any input still gets one, empty bundle.
        """
        with self._lock:
            if self._empty:
                self._empty = False
                return {name: [] for name in self._names}
            if self._next is None:
                return None
            name = self._next[0]
            share = max(self._least, self._left // (SHARES * self._workers))
            limit = min(BUNDLE_BYTES, share)
            taken: list[bytes] = []
            total = 0
            while self._next is not None and self._next[0] == name and len(taken) < self._count:
                total += len(self._next[1])
                if taken and total > limit:
                    break
                taken.append(self._next[1])
                self._left -= len(self._next[1])
                self._next = next(self._elements, None)
            return {other: taken if other == name else [] for other in self._names}

    def took(self, seconds: float) -> None:
        """Learn how long a bundle took."""
        with self._lock:
            if seconds < QUICK_SECONDS:
                self._count *= 2
            elif seconds > SLOW_SECONDS:
                self._count = max(1, self._count // 2)


class WorkQueue(BundleManager):
    """Runs a stage: one bundle at a time on every worker, until its input is used up."""

    def __init__(self, manager: BundleContextManager, cache_tokens: Iterator[Any]):
        super().__init__(manager, cache_token_generator=cache_tokens)
        self._append_lock = threading.Lock()
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
          StageError: a worker died; names the stage and how.
          RuntimeError: user code raised; holds the worker's traceback.
        """
        outputs = expected_outputs, expected_output_timers
        if self._select_split_manager():
            run = super().process_bundle
            return self._in_thread(
                lambda: run(inputs, expected_outputs, fired_timers, expected_output_timers, dry_run)
            )
        if self.bundle_context_manager.stage.is_stateful():
            # State belongs to keys, and bundles are not cut by key: one bundle, one worker.
            worker = self._workers()[0]
            return self._in_thread(
                lambda: (self._run(worker, inputs, outputs, fired_timers, dry_run), [])
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
                    results.put(self._run(worker, bundle, outputs, {}, dry_run))
                    feed.took(time.monotonic() - started)
                results.put(None)
            except Exception as error:  # it belongs to the thread that waits
                results.put(error)

        merged = None
        for worker in workers:
            worker.on_death = functools.partial(self._report_death, worker, results)
            threading.Thread(target=loop, args=(worker,), daemon=True).start()
        running = len(workers)
        while running:
            result = results.get()
            if isinstance(result, Exception):
                raise result
            if result is None:
                running -= 1
            else:
                merged = result if merged is None else _merge(merged, result)
        for worker in workers:
            worker.on_death = lambda: None
        return merged

    def _in_thread(self, call: Callable[[], Any]) -> Any:
        """Return what `call` returns, unless a worker dies meanwhile."""
        workers = self._workers()
        results: queue.Queue[Any] = queue.Queue()

        def target() -> None:
            try:
                results.put(call())
            except Exception as error:  # it belongs to the thread that waits
                results.put(error)

        for worker in workers:
            worker.on_death = functools.partial(self._report_death, worker, results)
        threading.Thread(target=target, daemon=True).start()
        result = results.get()
        for worker in workers:
            worker.on_death = lambda: None
        if isinstance(result, Exception):
            raise result
        return result

    def _run(
        self, worker: ForkedWorker, inputs: Any, outputs: Any, timers: Any, dry_run: bool
    ) -> Any:
        try:
            return self._exchange(worker, inputs, outputs, timers, dry_run)
        except Exception as error:
            # A dying worker breaks its channels a moment before its end is known.
            if worker.died.wait(0 if "Traceback" in str(error) else DEATH_SECONDS):
                raise self._death(worker) from error
            raise

    def _exchange(
        self, worker: ForkedWorker, inputs: Any, outputs: Any, timers: Any, dry_run: bool
    ) -> Any:
        with self._token_lock:
            token = next(self._cache_token_generator)
        with BundleManager._lock:
            BundleManager._uid_counter += 1
            bundle = f"bundle_{BundleManager._uid_counter}"
        answer = worker.control_conn.push(
            beam_fn_api_pb2.InstructionRequest(
                instruction_id=bundle,
                process_bundle=beam_fn_api_pb2.ProcessBundleRequest(
                    process_bundle_descriptor_id=(
                        self.bundle_context_manager.process_bundle_descriptor.id
                    ),
                    cache_tokens=[token],
                ),
            )
        )
        data, written_timers = outputs
        # Input is sent while output is read: both channels are bounded, so that doing one after
        # the other would stop for ever when a bundle gives more than it takes.
        threading.Thread(
            target=self._send, args=(worker, bundle, inputs, written_timers, timers), daemon=True
        ).start()
        expected = [*data, *written_timers]
        for output in worker.data_conn.input_elements(
            bundle,
            expected,
            abort_callback=lambda: answer.is_done() and bool(answer.get().error),
        ):
            if not dry_run:
                self._keep(output, data, written_timers)
        response = answer.get()
        if response.error:
            raise RuntimeError(response.error)
        if response.process_bundle.requires_finalization:
            finalized = worker.control_conn.push(
                beam_fn_api_pb2.InstructionRequest(
                    finalize_bundle=beam_fn_api_pb2.FinalizeBundleRequest(instruction_id=bundle)
                )
            ).get()
            if finalized.error:
                raise RuntimeError(finalized.error)
        return response

    def _send(
        self, worker: ForkedWorker, bundle: str, inputs: Any, written_timers: Any, timers: Any
    ) -> None:
        for transform, family in written_timers:
            stream = worker.data_conn.output_timer_stream(bundle, transform, family)
            for timer in timers.get((transform, family), []):
                stream.write(timer)
            stream.close()
        for transform, chunks in inputs.items():
            stream = worker.data_conn.output_stream(bundle, transform)
            for chunk in chunks:
                stream.write(chunk)
            stream.close()

    def _keep(self, output: Any, data: Any, written_timers: Any) -> None:
        with self._append_lock:
            if isinstance(output, beam_fn_api_pb2.Elements.Timers):
                buffer = self.bundle_context_manager.get_buffer(
                    written_timers[(output.transform_id, output.timer_family_id)][0],
                    output.transform_id,
                )
                if buffer.cleared:
                    buffer.reset()
                buffer.append(output.timers)
            else:
                self.bundle_context_manager.get_buffer(
                    data[output.transform_id], output.transform_id
                ).append(output.data)

    def _workers(self) -> list[ForkedWorker]:
        return cast(list[ForkedWorker], self.bundle_context_manager.worker_handlers)

    def _report_death(self, worker: ForkedWorker, results: queue.Queue[Any]) -> None:
        results.put(self._death(worker))

    def _death(self, worker: ForkedWorker) -> StageError:
        names = [
            transform.unique_name.split("/")[0]
            for transform in self.bundle_context_manager.stage.transforms
            if not transform.spec.urn.startswith("beam:runner:")
        ]
        where = " + ".join(dict.fromkeys(names))
        return StageError(f"in {where}: {worker.control_conn.failure}")


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
