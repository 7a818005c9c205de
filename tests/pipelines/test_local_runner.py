"""The local runner: bounded memory, any number of workers, the same results."""

import ctypes
import os
import platform
import resource
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.worker.statesampler import get_current_tracker
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window

from massivetext.pipelines.execute import Engine, execute
from massivetext.pipelines.local_runner import LocalRunner
from massivetext.pipelines.spill import SpillFile
from massivetext.pipelines.workers import WorkerServer

# A runner that hangs must fail here, not at the suite's own, longer limit.
pytestmark = pytest.mark.timeout(300)


def write_group(group, folder):
    key, values = group
    with open(os.path.join(folder, f"{key}"), "w") as file:
        file.write(repr(sorted(values)))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_do_not_depend_on_the_workers(tmp_path, workers):
    execute(
        lambda pipeline: (
            pipeline
            | beam.Create(range(20))
            | beam.Reshuffle()
            | beam.FlatMap(lambda part: [((part * i) % 17, (part, i)) for i in range(200)])
            | beam.GroupByKey()
            | beam.Map(write_group, str(tmp_path))
        ),
        Engine(workers),
    )
    expected = {key: [] for key in range(17)}
    for part in range(20):
        for i in range(200):
            expected[part * i % 17].append((part, i))
    assert {int(p.name): p.read_text() for p in tmp_path.iterdir()} == {
        key: repr(sorted(values)) for key, values in expected.items()
    }


def test_every_part_is_its_own_bundle(tmp_path):
    class Work(beam.DoFn):
        def start_bundle(self):
            self.parts = []

        def process(self, part):
            self.parts.append(part)
            time.sleep(0.15)

        def finish_bundle(self):
            (tmp_path / f"{self.parts[0]}").write_text(f"{len(self.parts)} {os.getpid()}")

    execute(lambda p: p | beam.Create(range(6)) | beam.Reshuffle() | beam.ParDo(Work()), Engine(2))
    bundles = [file.read_text().split() for file in tmp_path.iterdir()]
    assert [count for count, _ in bundles] == ["1"] * 6
    assert len({pid for _, pid in bundles}) == 2


def test_a_grouping_larger_than_the_memory_spills(monkeypatch):
    monkeypatch.setattr(SpillFile, "close", lambda self: sizes.append(self._end))
    sizes = []
    runner = LocalRunner(2, memory=100_000)
    pipeline = beam.Pipeline(runner=runner)
    lengths = (
        pipeline
        | beam.Create(range(10))
        | beam.Reshuffle()
        | beam.FlatMap(lambda part: [(i % 500, bytes([part]) * 1000) for i in range(500)])
        | beam.GroupByKey()
        | beam.MapTuple(lambda key, values: (key, sorted(value[0] for value in values)))
    )
    assert_that(lengths, equal_to([(key, list(range(10))) for key in range(500)]))
    pipeline.run()
    assert sizes[0] > 5_000_000


def test_a_collection_larger_than_the_memory_spills():
    pipeline = beam.Pipeline(runner=LocalRunner(2, memory=1000))
    one = pipeline | "One" >> beam.Create(range(5000))
    two = pipeline | "Two" >> beam.Create(range(5000, 9000))
    merged = (one, two) | beam.Flatten() | beam.Reshuffle()
    total = merged | beam.CombineGlobally(sum)
    shifted = merged | beam.Map(lambda n, side: n + side, beam.pvalue.AsSingleton(total))
    assert_that(shifted, equal_to([n + 40495500 for n in range(9000)]))
    pipeline.run()


class SlowCoder(beam.coders.Coder):
    """Takes longer to encode an element than Beam's timer for flushing, were it on."""

    def encode(self, value):
        time.sleep(1.2)
        return str(value.number).encode()

    def decode(self, encoded):
        return Slow(int(encoded))

    def is_deterministic(self):
        return True


class Slow:
    def __init__(self, number):
        self.number = number


def test_an_element_that_is_slow_to_encode_arrives_whole():
    # A flush by another thread while an element is written used to lose it, or what followed it.
    beam.coders.registry.register_coder(Slow, SlowCoder)
    with beam.Pipeline(runner=LocalRunner(2)) as pipeline:
        found = (
            pipeline
            | beam.Create(range(2))
            | beam.Reshuffle()
            | beam.Map(Slow).with_output_types(Slow)
            | "Spread" >> beam.Reshuffle()
            | beam.Map(lambda slow: slow.number)
        )
        assert_that(found, equal_to(range(2)))


def test_windows_and_state_work_while_spilling():
    class Count(beam.DoFn):
        STATE = beam.transforms.userstate.CombiningValueStateSpec("count", sum)

        def process(self, pair, count=beam.DoFn.StateParam(STATE)):
            count.add(1)
            yield pair[0], count.read()

    pipeline = beam.Pipeline(runner=LocalRunner(2, memory=100))
    windowed = (
        pipeline
        | "Times" >> beam.Create(range(100))
        | beam.Map(lambda n: window.TimestampedValue((n % 3, n), n))
        | beam.WindowInto(window.FixedWindows(50))
        | beam.GroupByKey()
        | beam.MapTuple(lambda key, values: (key, sorted(values)))
    )
    expected = [
        (k, [n for n in range(lo, lo + 50) if n % 3 == k]) for k in range(3) for lo in (0, 50)
    ]
    assert_that(windowed, equal_to(expected), label="windows")
    counted = (
        pipeline | "Pairs" >> beam.Create([(i % 4, i) for i in range(40)]) | beam.ParDo(Count())
    )
    assert_that(counted, equal_to([(k, n) for k in range(4) for n in range(1, 11)]), label="state")
    pipeline.run()


def test_user_metrics_are_added_up_over_bundles():
    def count(part):
        beam.metrics.Metrics.counter("test", "rows").inc(part)

    pipeline = beam.Pipeline(runner=LocalRunner(2))
    _ = pipeline | beam.Create(range(50)) | beam.Reshuffle() | beam.Map(count)
    result = pipeline.run()
    [counter] = result.metrics().query()["counters"]
    assert counter.committed == sum(range(50))


def test_the_process_that_forks_workers_has_one_thread():
    """Of a process with more, a child may inherit a lock that nobody will ever open."""
    execute(lambda pipeline: pipeline | beam.Create([1]), Engine(workers=1))
    tasks = Path("/proc", str(WorkerServer.get()._process.pid), "task")
    assert len(list(tasks.iterdir())) == 1


def in_a_worker(look, folder):
    """Return what `look` says of the worker that it is called in."""
    execute(
        lambda pipeline: (
            pipeline
            | beam.Create([folder / "said"])
            | beam.Map(lambda path: path.write_text(str(look())))
        ),
        Engine(1),
    )
    return int((folder / "said").read_text())


def test_a_bundle_does_not_wait_long_for_the_thread_that_samples_it(tmp_path):
    assert in_a_worker(lambda: get_current_tracker().sampling_period_ms, tmp_path) == 10


def faults_of_memory_used_again():
    libc, size = ctypes.CDLL(None), 80 << 20
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = libc.malloc(size)
        ctypes.memset(block, 1, size)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_workers_keep_the_memory_they_free(tmp_path):
    # Of the 20,480 pages that there are.
    assert in_a_worker(faults_of_memory_used_again, tmp_path) < 1000
