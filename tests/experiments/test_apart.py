"""A process of its own: what it returns, how it fails, and that nothing outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from massivetext.errors import InputError, StageError
from massivetext.experiments.apart import run_apart
from massivetext.mixture_records import tokens_manifest


def test_it_returns_what_the_function_does_elsewhere():
    assert run_apart(os.getpid, threads=1) != os.getpid()
    assert run_apart(os.getenv, "NPROC", threads=3) == "3"


def test_errors_are_the_function_s(tmp_path):
    with pytest.raises(InputError, match=r"no token stores in .*tokens\.json is missing"):
        run_apart(tokens_manifest, tmp_path, threads=1)


def test_a_process_that_dies_is_an_error():
    with pytest.raises(StageError, match=r"died \(exit code 9\)"):
        run_apart(os._exit, 9, threads=1)


PARENT = """
import os, sys, time
from massivetext.experiments.apart import run_apart

def sleep(path):
    with open(path + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".part", path)
    time.sleep(600)

if __name__ == "__main__":
    run_apart(sleep, sys.argv[1], threads=1)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_parent(tmp_path, number):
    script, said = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script), str(said)], stderr=subprocess.DEVNULL)
    try:
        wait_for(said.exists)
        child = int(said.read_text())
        assert running(child)
        parent.send_signal(number)
        parent.wait()
        wait_for(lambda: not running(child))
    finally:
        parent.kill()
        parent.wait()


def running(pid):
    """Return whether the process is there and no zombie, which nobody may be left to collect."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_for(what):
    for _ in range(300):
        found = what()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("waited for 30 seconds")
