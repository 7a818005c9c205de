"""Worker processes as the driver sees them: order, errors, deaths, and none left behind."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from massivetext.errors import ConfigError, StageError
from massivetext.experiments import pool
from massivetext.experiments.pool import environment, run_jobs

# Does what its job says; every process leaves its number.
FAKE = """
import json, os, sys, time
from pathlib import Path
for line in sys.stdin:
    job = json.loads(line)
    folder = Path(job["folder"])
    with open(folder / "processes", "a") as file:
        print(os.getpid(), job["name"], file=file)
    if job["does"] == "die" or job["does"] == "die once" and not (folder / "died").exists():
        (folder / "died").touch()
        os._exit(7)
    if job["does"] == "wait":
        sys.stdin.read()
    answer = {"done": job["name"]}
    if job["does"] == "fail":
        answer = {"error": "ConfigError", "why": "it is too large"}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(pool, "COMMAND", (sys.executable, "-c", FAKE))


def job(folder, name, does="finish"):
    return {"name": name, "folder": str(folder), "does": does}


def processes(folder):
    return [line.split() for line in (folder / "processes").read_text().splitlines()]


def run(folder, jobs, workers=2):
    done = []
    run_jobs(jobs, workers, folder / "compiled", lambda job: done.append(job["name"]))
    return done


def assert_none_is_left(folder):
    for number, _ in processes(folder):
        with pytest.raises(ProcessLookupError):
            os.kill(int(number), 0)


def test_every_job_is_done_once(tmp_path):
    names = [f"{i:02}" for i in range(12)]
    assert sorted(run(tmp_path, [job(tmp_path, name) for name in names])) == names
    given = processes(tmp_path)
    assert sorted(name for _, name in given) == names
    assert 1 <= len({number for number, _ in given}) <= 2
    assert_none_is_left(tmp_path)


def test_one_worker_takes_them_in_order(tmp_path):
    names = ["c", "a", "b"]
    assert run(tmp_path, [job(tmp_path, name) for name in names], workers=1) == names
    assert len({number for number, _ in processes(tmp_path)}) == 1


def test_a_worker_that_dies_is_replaced(tmp_path):
    jobs = [job(tmp_path, "a"), job(tmp_path, "b", "die once"), job(tmp_path, "c")]
    assert run(tmp_path, jobs, workers=1) == ["a", "b", "c"]
    assert [name for _, name in processes(tmp_path)] == ["a", "b", "b", "c"]


def test_a_job_that_always_dies_is_given_up(tmp_path):
    with pytest.raises(StageError, match=r"run b died 3 times \(exit code 7\); see .*/log\.txt"):
        run(tmp_path, [job(tmp_path, "a"), job(tmp_path, "b", "die")])
    assert [name for _, name in processes(tmp_path)].count("b") == 3
    assert_none_is_left(tmp_path)


def test_an_error_of_a_job_is_raised_as_what_it_is(tmp_path):
    with pytest.raises(ConfigError, match="run b: it is too large"):
        run(tmp_path, [job(tmp_path, "a", "wait"), job(tmp_path, "b", "fail")])
    assert_none_is_left(tmp_path)


@pytest.fixture
def interruptible():
    """SIGINT as at a terminal: a shell's background job starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, StageError)]
)
def test_a_signal_leaves_no_process(tmp_path, number, error):
    def strike():
        while not (tmp_path / "processes").exists() or len(processes(tmp_path)) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=strike).start()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(error):
        run(tmp_path, [job(tmp_path, "a", "wait"), job(tmp_path, "b", "wait")])
    assert signal.getsignal(signal.SIGTERM) is before
    assert_none_is_left(tmp_path)


def test_a_worker_that_does_not_end_is_killed(tmp_path, monkeypatch):
    deaf = FAKE.replace("sys.stdin.read()", "time.sleep(600)")
    monkeypatch.setattr(pool, "COMMAND", (sys.executable, "-c", deaf))
    monkeypatch.setattr(pool, "STOP_SECONDS", 0.2)
    with pytest.raises(ConfigError):
        run(tmp_path, [job(tmp_path, "a", "wait"), job(tmp_path, "b", "fail")])
    assert_none_is_left(tmp_path)


def test_workers_have_the_threads_and_the_devices_that_are_asked_for(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    found = environment(Path("compiled"))
    assert found["XLA_FLAGS"] == "--xla_dump_to=x --xla_cpu_multi_thread_eigen=false"
    assert (found["NPROC"], found["OMP_NUM_THREADS"], found["JAX_PLATFORMS"]) == ("1", "1", "cpu")
    found = environment(Path("compiled"), threads=3)
    assert found["XLA_FLAGS"] == "--xla_dump_to=x"
    assert (found["NPROC"], found["OMP_NUM_THREADS"]) == ("3", "3")
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    assert environment(Path("compiled"))["JAX_PLATFORMS"] == "cuda"
