"""Scratch space: where everything goes that a run writes to disk and nobody keeps.

Spilled buffers, the files of an exchange and the workers' logs go below `scratch_folder()`: the
folder that the variable MASSIVETEXT_SCRATCH names, else the system's for temporary files. It is a
variable and not a key of the config because it belongs to the machine and not to the data: the
config decides the bytes of every output, and those must not depend on where a disk has room.

Each run has its own folder there and holds a lock in it. What a killed run has left is known by its
free lock and removed when the next run starts. Temporary folders are shared with other users, who
may be hostile: only folders of our own user are touched, and no link is followed.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ConfigError, MassivetextError
from .progress import human_bytes

VARIABLE = "MASSIVETEXT_SCRATCH"
LOCK = ".lock"
# A quota and a limit on the size of files end a run just as a full disk does.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DiskFullError(MassivetextError):
    """A disk has no room left; running again, with room, continues."""


def scratch_folder() -> Path:
    """Return the folder below which runs keep what they spill.

    Raises:
      ConfigError: MASSIVETEXT_SCRATCH names no folder, or one that cannot be written to.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return Path(tempfile.gettempdir())
    folder = Path(named).absolute()
    # It is not created: the mount point of a disk that is missing would fill another disk.
    if not folder.is_dir():
        raise ConfigError(f"{VARIABLE} is {named}, which is not a folder; create it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{VARIABLE} is {named}, which cannot be written to")
    return folder


@contextmanager
def run_folder(label: str) -> Iterator[Path]:
    """Make a folder for one run below `scratch_folder()`; remove it, full or not, at the end.

    Its name is `massivetext-<uid>-<pid>-<label>-<random>`. Folders that killed runs of this user
    have left are removed first.

    Args:
      label: lower-case letters; tells a person who looks at the disk what the folder is for.

    Raises:
      ConfigError: the scratch folder is missing or cannot be written to.
    """
    parent = scratch_folder()
    remove_abandoned(parent)
    path, lock = _create(parent, label)
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):  # what cannot be removed now is at the next start
            _remove(path)
        os.close(lock)


def remove_abandoned(parent: Path) -> None:
    """Remove the run folders in `parent` that belong to this user and to no living run."""
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries if _ours(entry.name)]
    for name in names:
        with contextlib.suppress(OSError):  # another run removes it at the same time
            _remove(parent / name, abandoned=True)


def _ours(name: str) -> bool:
    """Whether a run of this user names its folder so."""
    return re.fullmatch(rf"massivetext-{os.geteuid()}-\d+-[a-z]+-[0-9a-f]+", name) is not None


def held_bytes(folder: Path) -> int:
    """Return the bytes of the files below `folder`, however many vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def disk_full(error: OSError, held: int = 0) -> DiskFullError | None:
    """Return the error that tells a person of a full disk; None if `error` is another.

    Args:
      error: as a write raised it; its `filename` is the file or folder that could not grow.
      held: bytes of the run's scratch files that have no name.
    """
    if error.errno not in FULL or error.filename is None:
        return None
    folder = Path(os.fsdecode(error.filename)).absolute()
    while not folder.is_dir():
        folder = folder.parent
    # By the name, for an output may lie in the folder for temporary files as well.
    run = next((path for path in (folder, *folder.parents) if _ours(path.name)), None)
    if run is not None:
        what = f"this run kept {human_bytes(held + held_bytes(run))} there"
        remedy = f"set {VARIABLE} to a folder on a disk with more room"
    else:
        usage = shutil.disk_usage(folder)
        what = f"{human_bytes(usage.free)} of {human_bytes(usage.total)} are free"
        remedy = "make room there or name an output on another disk"
    return DiskFullError(
        f"the disk is full, or a limit was reached, at {folder} ({os.strerror(error.errno)}): "
        f"{what}; {remedy}, then run the same command again to continue"
    )


def _create(parent: Path, label: str) -> tuple[Path, int]:
    """Make a run folder; return it and the descriptor that holds its lock."""
    while True:
        path = parent / f"massivetext-{os.geteuid()}-{os.getpid()}-{label}-{secrets.token_hex(4)}"
        try:
            path.mkdir(0o700)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileExistsError, FileNotFoundError):
            # Until its lock is held, another run may take the folder for one that was left.
            if not parent.is_dir():
                raise
            continue
        except OSError as error:
            with contextlib.suppress(OSError):
                path.rmdir()
            raise ConfigError(
                f"no folder can be made in {parent} ({error.strerror}); set {VARIABLE} to a folder "
                "on a disk with room"
            ) from error
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), os.stat(path / LOCK)):
                return path, lock
        os.close(lock)


def _remove(path: Path, *, abandoned: bool = False) -> None:
    """Remove a run folder whose lock this process holds or, if `abandoned`, can take."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    lock = None
    try:
        if os.fstat(folder).st_uid != os.geteuid():
            return
        if abandoned:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(LOCK, flags, 0o600, dir_fd=folder)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _empty(folder)
        path.rmdir()
    finally:
        if lock is not None:
            os.close(lock)
        os.close(folder)


def _empty(folder: int) -> None:
    """Remove the contents of an open folder whose lock is held; no link is followed."""
    # The lock goes last: a folder without one looks abandoned, which it must not before the rest
    # is gone.
    for name in sorted(os.listdir(folder), key=lambda name: name == LOCK):
        try:
            os.unlink(name, dir_fd=folder)
        except (IsADirectoryError, PermissionError):  # what Linux and macOS say of a folder
            shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
