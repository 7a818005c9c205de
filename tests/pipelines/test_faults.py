"""Fault injection: kill -9, full disks and interrupts at random moments of a small build."""

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from massivetext.scratch import held_bytes

from . import corpus
from .nursery import Driver, Nursery, descendants, workers
from .test_build import hashes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# A round is a build and a bit: fifty take most of an hour on a slow pair of cores.
ROUNDS = int(os.environ.get("MASSIVETEXT_FAULT_ROUNDS", "4"))
PATIENCE = 600.0


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as started:
        yield started


class Builds:
    """Builds of one small corpus, each into its own folder with its own scratch folder."""

    def __init__(self, root: Path, nursery: Nursery):
        self.root, self.nursery = root, nursery
        self.text = corpus.make(root)
        started = time.monotonic()
        assert self.finish("undisturbed") == 0, self.log("undisturbed")
        self.seconds = time.monotonic() - started
        self.expected = hashes(self.root / "undisturbed/out")

    def start(self, name: str, more: dict[str, str] | None = None) -> Driver:
        folder = self.root / name
        (folder / "scratch").mkdir(parents=True, exist_ok=True)
        config = self.root / f"{name}.yaml"
        config.write_text(self.text.replace(f"output: {self.root}/out", f"output: {folder}/out"))
        environment = {"MASSIVETEXT_SCRATCH": f"{folder}/scratch", **(more or {})}
        command = ["build", str(config), "--workers", "2"]
        return self.nursery.start(command, self._log(name), environment)

    def finish(self, name: str) -> int:
        return self.start(name).wait(PATIENCE)

    def log(self, name: str) -> str:
        return self._log(name).read_text()[-3000:]

    def _log(self, name: str) -> Path:
        return self.root / f"{name}.log"  # not in the folder, which may be full

    def check(self, name: str) -> None:
        """The outputs are those of an undisturbed build, and nothing else is left."""
        folder = self.root / name
        assert hashes(folder / "out") == self.expected
        assert list((folder / "scratch").iterdir()) == []


@pytest.fixture(scope="module")
def builds(tmp_path_factory, nursery):
    return Builds(tmp_path_factory.mktemp("faults"), nursery)


def gone(pids: list[int]) -> bool:
    """Whether none of the processes is there after a while; one that only waits to be reaped by
    its parent is not."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not [pid for pid in pids if _state(pid) not in (None, "Z", "X")]:
            return True
        time.sleep(0.05)
    return False


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def disturb(builds: Builds, number: int) -> str:
    """Run one round; return what was killed."""
    rng = random.Random(number)
    name = f"round-{number}"
    driver = builds.start(name)
    time.sleep(rng.random() * builds.seconds)
    kind = rng.choice(["driver", "worker", "starter"])
    victims: list[int] = []
    while driver.running() and not victims:
        generations = descendants(driver.pid)
        victims = {"driver": [driver.pid], "worker": workers(driver)}.get(
            kind, [pid for generation in generations[:1] for pid in generation]
        )
    processes = [pid for generation in descendants(driver.pid) for pid in generation]
    if victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(victims), signal.SIGKILL)
    else:
        kind = "nobody"
    code = driver.wait(PATIENCE)
    assert gone(processes), f"{name}: {kind} was killed and left processes behind"
    if kind == "driver":
        # It may have been so late that the build was done.
        assert code in (0, -signal.SIGKILL), builds.log(name)
        code = builds.finish(name)
    assert code == 0, f"{name}: {kind} was killed\n{builds.log(name)}"
    builds.check(name)
    return kind


def test_whatever_is_killed_the_bytes_are_the_same(builds):
    with ThreadPoolExecutor(2) as pool:
        kinds = list(pool.map(lambda number: disturb(builds, number), range(ROUNDS)))
    assert ROUNDS < 20 or {"driver", "worker", "starter"} <= set(kinds)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_leaves_nothing_behind(builds, name, number):
    rng = random.Random(number)
    label = f"{name}-{number}"
    folder = builds.root / label
    driver = builds.start(label)
    while not (folder / "out/config.yaml").exists():
        assert driver.running()
        time.sleep(0.01)
    time.sleep(rng.random() * builds.seconds * 0.9)
    processes = [pid for generation in descendants(driver.pid) for pid in generation]
    with contextlib.suppress(ProcessLookupError):
        os.kill(driver.pid, signal.Signals[name])
    code = driver.wait(PATIENCE)
    assert code in (0, 130), builds.log(label)
    assert (code == 130) == ("run the same command again" in builds.log(label))
    assert gone(processes)
    assert list((folder / "scratch").iterdir()) == []
    assert not list(folder.rglob("*.tmp-*"))
    assert builds.finish(label) == 0, builds.log(label)
    builds.check(label)


@pytest.fixture
def small_disk(tmp_path):
    """A function that makes a folder of so many bytes, or gives it more."""
    folder = tmp_path / "small"
    folder.mkdir()

    def resize(size: int) -> Path:
        mounted = os.path.ismount(folder)
        options = f"remount,size={size}" if mounted else f"size={size}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True
        )
        if done.returncode:
            pytest.skip("needs root, to mount a small disk")
        return folder

    yield resize
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6])
def test_a_full_output_disk(builds, small_disk, share):
    label = f"full-{share}"
    whole = held_bytes(builds.root / "undisturbed/out")
    disk = small_disk(int(whole * share) + (64 << 10))
    (builds.root / label).symlink_to(disk)
    # The scratch folder is on another disk.
    scratch = builds.root / f"{label}-scratch"
    scratch.mkdir()
    driver = builds.start(label, {"MASSIVETEXT_SCRATCH": str(scratch)})
    assert driver.wait(PATIENCE) == 1, builds.log(label)
    assert "make room there or name an output on another disk" in builds.log(label)
    assert "Traceback" not in builds.log(label)
    assert not list(disk.rglob("*.tmp-*"))
    assert list(scratch.iterdir()) == []
    small_disk(100 << 20)
    assert builds.finish(label) == 0, builds.log(label)
    builds.check(label)


def test_a_full_scratch_disk(builds, small_disk):
    disk = small_disk(8 << 10)
    driver = builds.start("full-scratch", {"MASSIVETEXT_SCRATCH": str(disk)})
    assert driver.wait(PATIENCE) == 1, builds.log("full-scratch")
    log = builds.log("full-scratch")
    assert re.search(rf"full, .* at {disk}/.*: this run kept .*; set MASSIVETEXT_SCRATCH to", log)
    assert "Traceback" not in log
    assert list(disk.iterdir()) == []
    assert builds.finish("full-scratch") == 0, builds.log("full-scratch")
    builds.check("full-scratch")
