"""The local runner: a worker, their starter or the driver dies, and what is then told."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from massivetext.errors import StageError
from massivetext.pipelines.execute import Engine, execute
from massivetext.pipelines.local_runner import LocalRunner
from massivetext.pipelines.part import Part
from massivetext.scratch import run_folder

# A runner that hangs must fail here, not at the suite's own, longer limit.
pytestmark = pytest.mark.timeout(300)


def run_parts(function, workers=2, parts=6):
    execute(
        lambda pipeline: (
            pipeline | beam.Create(range(parts)) | beam.Reshuffle() | "Clean" >> beam.Map(function)
        ),
        Engine(workers),
    )


def killed(part):
    if part == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def left(part):
    if part == 3:
        os._exit(7)


def crashed(part):
    if part == 3:
        import ctypes

        ctypes.string_at(0)


DIED = "Clean: 3 worker processes died one after the other on (.*, )?3(, .*)?; the last "


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("function", "how", "words"),
    [
        (killed, "was killed by SIGKILL (out of memory, or killed by hand)", "$"),
        (left, "ended with exit code 7", "$"),
        (crashed, "was killed by SIGSEGV", r"; its last words:\n(.|\n)*crashed"),
    ],
)
def test_a_bundle_that_kills_every_worker_is_an_error(function, how, words, workers, caplog):
    with pytest.raises(StageError, match=DIED + re.escape(how) + words):
        run_parts(function, workers)
    warnings = [record.message for record in caplog.records if "worker" in record.message]
    assert warnings == [f"in Reshuffle + Clean: a worker process {how}; trying again"] * 2
    run_parts(abs, workers)


def test_the_error_names_parts():
    def die(part):
        if part.name == "books/3.jsonl":
            os._exit(1)

    parts = [Part(f"books/{i}.jsonl", 1, {}) for i in range(6)]
    with pytest.raises(StageError, match=r"other on (part .*, )?part books/3\.jsonl(, .*)?; the "):
        execute(
            lambda p: p | beam.Create(parts, reshuffle=False) | beam.Reshuffle() | beam.Map(die),
            Engine(1),
        )


def die_twice(folder, name):
    """End the process the first two times it is called with `name`."""
    for attempt in range(2):
        with contextlib.suppress(FileExistsError):
            (folder / f"{name}-{attempt}.died").touch(exist_ok=False)
            os._exit(1)


class Expand(beam.DoFn):
    """Yields blocks of 1 MB, more than stays in the worker, and dies at the end of them, twice."""

    def __init__(self, folder, blocks):
        self.folder, self.blocks = folder, blocks

    def process(self, part):
        for number in range(self.blocks):
            yield part, bytes([number]) * 1_000_000
        if part == 1:
            time.sleep(0.3)  # what was sent arrives
            die_twice(self.folder, part)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("memory", [100_000, 64 << 20])
def test_what_a_dead_attempt_has_written_does_not_count(tmp_path, workers, memory):
    pipeline = beam.Pipeline(runner=LocalRunner(workers, memory=memory))
    blocks = (
        pipeline
        | beam.Create(range(3))
        | beam.Reshuffle()
        | beam.ParDo(Expand(tmp_path, 12)).with_output_types(tuple[int, bytes])
    )
    grouped = blocks | beam.GroupByKey()
    sizes = grouped | beam.MapTuple(lambda part, found: (part, sorted(b[0] for b in found)))
    assert_that(sizes, equal_to([(part, list(range(12))) for part in range(3)]))
    spread = blocks | "Spread" >> beam.Reshuffle() | beam.combiners.Count.Globally()
    assert_that(spread, equal_to([36]), label="spread")
    pipeline.run()
    assert len(list(tmp_path.glob("*.died"))) == 2


def test_counters_of_dead_attempts_do_not_count(tmp_path):
    def count(part):
        beam.metrics.Metrics.counter("test", "rows").inc(part)
        die_twice(tmp_path, part)

    pipeline = beam.Pipeline(runner=LocalRunner(2))
    _ = pipeline | beam.Create(range(4)) | beam.Reshuffle() | beam.Map(count)
    [counter] = pipeline.run().metrics().query()["counters"]
    assert counter.committed == sum(range(4))


def test_a_worker_killed_from_outside_is_replaced(tmp_path):
    def work(part):
        (tmp_path / f"{part}.{os.getpid()}.pid").touch()
        while not (tmp_path / "go on").exists():
            time.sleep(0.05)

    def assassin():
        while not (found := list(tmp_path.glob("*.pid"))):
            time.sleep(0.05)
        os.kill(int(found[0].suffixes[0][1:]), signal.SIGKILL)
        (tmp_path / "go on").touch()

    threading.Thread(target=assassin, daemon=True).start()
    run_parts(work)
    runs = [file.name.split(".")[0] for file in tmp_path.glob("*.pid")]
    assert len(runs) == 7
    assert set(runs) == set("012345")


def test_an_idle_worker_that_dies_is_replaced(tmp_path):
    def first(part):
        (tmp_path / f"{os.getpid()}.pid").touch()
        time.sleep(0.2)
        return part

    def second(part):
        for file in tmp_path.glob("*.pid"):
            if int(file.stem) != os.getpid():
                file.unlink()
                os.kill(int(file.stem), signal.SIGKILL)
        return part

    # The last stage runs when a worker has died that had nothing to do.
    pipeline = beam.Pipeline(runner=LocalRunner(2))
    parts = pipeline | beam.Create(range(4)) | beam.Reshuffle() | "First" >> beam.Map(first)
    total = parts | beam.CombineGlobally(sum) | beam.Map(second)
    last = parts | beam.Map(lambda part, side: part + side, beam.pvalue.AsSingleton(total))
    assert_that(last, equal_to([6, 7, 8, 9]))
    pipeline.run()


def test_the_process_that_starts_workers_is_replaced(tmp_path):
    def work(part):
        with contextlib.suppress(FileExistsError):
            (tmp_path / "once").touch(exist_ok=False)
            os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(0.2)
        (tmp_path / f"{part}.done").touch()

    run_parts(work)
    assert len(list(tmp_path.glob("*.done"))) == 6


def test_a_stage_with_state_is_not_tried_again():
    class Count(beam.DoFn):
        STATE = beam.transforms.userstate.CombiningValueStateSpec("count", sum)

        def process(self, pair, count=beam.DoFn.StateParam(STATE)):
            count.add(1)
            os._exit(3)

    pipeline = beam.Pipeline(runner=LocalRunner(2))
    _ = pipeline | beam.Create([(1, 1)]) | "Count" >> beam.ParDo(Count())
    with pytest.raises(StageError, match=r"Count: a worker process ended with exit code 3$"):
        pipeline.run()


def test_a_bundle_is_finalized_once_though_it_was_tried_thrice(tmp_path):
    class Finalized(beam.DoFn):
        def process(self, part, final=beam.DoFn.BundleFinalizerParam):
            final.register(lambda: (tmp_path / f"{time.monotonic_ns()}.final").touch())
            die_twice(tmp_path, part)
            yield part

    pipeline = beam.Pipeline(runner=LocalRunner(1))
    assert_that(pipeline | beam.Create([5]) | beam.ParDo(Finalized()), equal_to([5]))
    pipeline.run()
    assert len(list(tmp_path.glob("*.final"))) == 1


def test_a_worker_that_dies_with_input_still_on_its_way():
    def die(block):
        os._exit(1)

    def build(pipeline):
        blocks = pipeline | beam.Create([0]) | beam.FlatMap(lambda _: (bytes(1 << 20),) * 40)
        _ = blocks | beam.Reshuffle() | beam.Map(die)

    with pytest.raises(StageError, match="exit code 1"):
        execute(build, Engine(2))
    # None waits for ever to send to a dead worker.
    wait_for(lambda: not [one for one in threading.enumerate() if "(_send)" in one.name])


@pytest.mark.parametrize("workers", [1, 2])
def test_the_words_of_an_exception_are_kept(tmp_path, workers):
    def wrong(part):
        if part == 3:
            (tmp_path / f"{time.monotonic_ns()}").touch()
            raise ValueError("the 3rd part is wrong")

    with pytest.raises(RuntimeError, match=r"ValueError: the 3rd part is wrong.*Clean"):
        run_parts(wrong, workers)
    assert len(list(tmp_path.iterdir())) == 1, "an exception is not tried again"


def test_an_exception_does_not_wait_for_other_parts(tmp_path):
    def work(part):
        (tmp_path / f"{part}.pid").write_text(str(os.getpid()))
        while len(list(tmp_path.glob("*.pid"))) < 2:
            time.sleep(0.01)
        if part % 2:
            raise ValueError("odd")
        time.sleep(1000)

    with pytest.raises(RuntimeError, match="odd"):
        run_parts(work, parts=2)
    for file in tmp_path.glob("*.pid"):
        assert_gone(int(file.read_text()))


def test_sys_exit_in_user_code_is_an_error():
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        run_parts(lambda part: sys.exit(3))


def wait_for(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(condition)


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def assert_gone(pid):
    wait_for(lambda: is_gone(pid))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_process_and_no_scratch_outlives_the_driver(tmp_path, name, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("MASSIVETEXT_SCRATCH", str(scratch))
    script = tmp_path / "driver.py"
    script.write_text(
        textwrap.dedent("""
            import os, signal, sys, time
            from pathlib import Path
            import apache_beam as beam
            from massivetext.pipelines.execute import Engine, execute

            # A test run in the background may have been told to ignore it.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            folder = sys.argv[1]
            def main(pipeline):
                def work(part):
                    Path(folder, f"{part}.pid").write_text(f"{os.getpid()} {os.getppid()}")
                    time.sleep(1000)
                _ = pipeline | beam.Create(range(2)) | beam.Reshuffle() | beam.Map(work)

            execute(main, Engine(2))
        """)
    )
    driver = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stderr=subprocess.DEVNULL
    )
    while len(pids := [p.read_text() for p in tmp_path.glob("*.pid") if p.read_text()]) < 2:
        assert driver.poll() is None
        time.sleep(0.05)
    driver.send_signal(signal.Signals[name])
    assert driver.wait(20) == -signal.Signals[name]
    for pid in {int(pid) for text in pids for pid in text.split()}:
        assert_gone(pid)
    # A command line makes SIGTERM end a run as Ctrl-C does; here nobody has.
    assert len(list(scratch.iterdir())) == (0 if name == "SIGINT" else 1)
    with run_folder("next") as folder:
        assert list(scratch.iterdir()) == [folder]
