"""Scratch folders: named by one variable, gone at the end, and only ever our own."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from massivetext import scratch
from massivetext.errors import ConfigError
from massivetext.scratch import disk_full, held_bytes, run_folder, scratch_folder

NAME = f"massivetext-{os.geteuid()}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setenv("MASSIVETEXT_SCRATCH", str(path))
    return path


def test_without_the_variable_it_is_the_systems_folder(monkeypatch):
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("MASSIVETEXT_SCRATCH", raising=False)
        else:
            monkeypatch.setenv("MASSIVETEXT_SCRATCH", value)
        assert scratch_folder() == Path(tempfile.gettempdir())


def test_the_variable_must_name_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MASSIVETEXT_SCRATCH", str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match=r"SCRATCH is .*missing, which is not a folder"):
        scratch_folder()
    monkeypatch.setenv("MASSIVETEXT_SCRATCH", str(tmp_path))
    monkeypatch.setattr(scratch.os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match="cannot be written to"):
        scratch_folder()


def test_a_run_folder_is_private_and_gone_at_the_end(folder):
    with run_folder("build") as path:
        assert path.parent == folder
        assert path.name.startswith(f"{NAME}-{os.getpid()}-build-")
        assert path.stat().st_mode & 0o777 == 0o700
        (path / "a/b").mkdir(parents=True)
        (path / "a/b/file").write_text("x")
        with run_folder("build") as other:
            assert other != path
            assert path.exists()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing(folder, error):
    with pytest.raises(error), run_folder("build") as path:
        (path / "file").write_text("x")
        raise error
    assert list(folder.iterdir()) == []


def test_links_are_removed_and_not_followed(folder, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("x")
    with run_folder("build") as path:
        (path / "link").symlink_to(tmp_path / "precious")
        (path / "sub").mkdir()
        (path / "sub/link").symlink_to(tmp_path / "precious/file")
    assert list(folder.iterdir()) == []
    assert (tmp_path / "precious/file").exists()


RUN = """
import sys, time
from massivetext.scratch import run_folder
with run_folder("build") as path:
    (path / "file").write_text("x")
    print(path, flush=True)
    time.sleep(1000)
"""


def test_what_a_killed_run_left_goes_at_the_next_start_and_a_living_run_stays(folder):
    with subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True) as run:
        left = Path(run.stdout.readline().strip())
        with run_folder("build"):
            assert (left / "file").exists(), "its run is alive"
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert left.exists()
    with run_folder("build") as path:
        assert list(folder.iterdir()) == [path]


def test_only_folders_of_our_own_name_and_user_are_touched(folder, tmp_path, monkeypatch):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("x")
    ours = f"{NAME}-1-build-0a"
    kept = [f"massivetext-{os.geteuid() + 1}-1-build-0a", f"{ours}.txt", "other", f"x{ours}"]
    for name in kept:
        (folder / name).mkdir()
    (folder / f"{NAME}-1-build-0b").symlink_to(tmp_path / "precious")
    (folder / f"{NAME}-1-build-0c").write_text("a file")
    (folder / ours).mkdir()
    with run_folder("build"):
        pass
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [*kept, f"{NAME}-1-build-0b", f"{NAME}-1-build-0c"]
    )
    assert (tmp_path / "precious/file").exists()


def test_a_folder_that_another_user_made_in_our_name_stays(folder, monkeypatch):
    (folder / f"{NAME}-1-build-0a").mkdir()
    real = os.fstat

    def foreign(descriptor):
        found = list(real(descriptor))
        found[4] += 1
        return os.stat_result(found)

    monkeypatch.setattr(scratch.os, "fstat", foreign)
    scratch.remove_abandoned(folder)
    assert len(list(folder.iterdir())) == 1


def test_a_lock_that_another_run_takes_first_costs_only_the_name(folder, monkeypatch):
    real, taken = fcntl.flock, []

    def once(descriptor, operation):
        if not taken:
            taken.append(descriptor)
            raise BlockingIOError
        real(descriptor, operation)

    monkeypatch.setattr(scratch.fcntl, "flock", once)
    with run_folder("build") as path:
        assert path.exists()
    with run_folder("build") as path:
        assert list(folder.iterdir()) == [path]


def test_no_room_for_a_folder_is_an_error_and_not_a_loop(folder, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scratch.os, "open", full)
    message = r"No space left on device.*set MASSIVETEXT_SCRATCH"
    with pytest.raises(ConfigError, match=message), run_folder("build"):
        pass
    assert list(folder.iterdir()) == []


def test_held_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x").write_bytes(bytes(10))
    (tmp_path / "y").write_bytes(bytes(5))
    size = (tmp_path / "a").lstat().st_size
    assert held_bytes(tmp_path) == 15 + size


def test_a_full_scratch_disk_tells_what_the_run_held(folder):
    with run_folder("build") as path:
        (path / "file").write_bytes(bytes(3000))
        error = OSError(errno.ENOSPC, "No space left on device", str(path / "sub/other"))
        text = str(disk_full(error, held=2000))
        assert f"at {path} (No space left on device): this run kept 5.0 kB there; set " in text
        assert "MASSIVETEXT_SCRATCH to a folder on a disk with more room" in text


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_output_disk_tells_what_is_free(folder, tmp_path, code):
    text = str(disk_full(OSError(code, "", str(tmp_path / "out/x.parquet"))))
    assert f"at {tmp_path} ({os.strerror(code)}): " in text
    assert " are free; make room there or name an output on another disk, then run the" in text


def test_an_output_in_the_folder_for_temporary_files_is_no_scratch(folder):
    text = str(disk_full(OSError(errno.ENOSPC, "", str(folder / "out/x.parquet"))))
    assert "name an output on another disk" in text


def test_other_errors_are_not_about_room():
    assert disk_full(OSError(errno.EIO, "", "/x")) is None
    assert disk_full(OSError(errno.ENOSPC, "")) is None
