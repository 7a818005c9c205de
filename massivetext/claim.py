"""Holding an output on an object store for one run, where there are no locks.

The run writes an object `.claim` that says who it is, only if there is none, and writes it anew
every 30 seconds. A claim that has not been written for two minutes is of a run that was killed; so,
at once, is one of this machine whose process is gone.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import storage
from .errors import ConfigError
from .progress import human_seconds
from .storage import Location
from .store_errors import reason

CLAIM = ".claim"
REFRESH_SECONDS = 30.0
STALE_SECONDS = 120.0


@contextmanager
def claimed_on_store(root: Location) -> Iterator[None]:
    """Hold `root` for one run.

    Raises:
      ConfigError: it cannot be written, or another run holds it.
    """
    path = root / CLAIM
    claim = _claim()
    try:
        if not storage.create(path, claim):
            _take_over(root, path, claim)
    except OSError as error:
        raise ConfigError(f"output {root} cannot be written: {reason(error)}") from error
    stop = threading.Event()
    thread = threading.Thread(target=_refresh, args=(path, claim, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        # What cannot be removed now is stale in two minutes.
        with contextlib.suppress(OSError):
            if storage.read_bytes(path) == claim:
                storage.remove(path)


def _machine() -> list[str]:
    """Return what tells whether a process id of a claim is one of ours."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return [boot, os.readlink("/proc/self/ns/pid")]
    except OSError:
        return []


def _claim() -> bytes:
    claim = {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "run": secrets.token_hex(8),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(claim).encode()


def _take_over(root: Location, path: Location, claim: bytes) -> None:
    """Take the claim of a run that was killed.

    Raises:
      ConfigError: the run is alive, as far as can be known.
    """
    try:
        theirs: dict[str, Any] = json.loads(storage.read_bytes(path))
        age = time.time() - storage.modified(path)
    except (FileNotFoundError, ValueError):  # given up just now, or not ours to understand
        theirs, age = {}, 0.0
    if not _dead(theirs) and age < STALE_SECONDS:
        left = human_seconds(max(1, STALE_SECONDS - age))
        raise ConfigError(
            f"another massivetext is working in {root}: process {theirs.get('pid')} of host "
            f"{theirs.get('host')}, since {theirs.get('started')}; wait for it. If it was killed, "
            f"run this again in {left}"
        )
    storage.remove(path)
    if not storage.create(path, claim):
        raise ConfigError(f"another massivetext has just started in {root}; wait for it")


def _dead(claim: dict[str, Any]) -> bool:
    """Return whether a claim is of a process of this machine that is gone."""
    if not claim.get("machine") or claim["machine"] != _machine():
        return False
    try:
        os.kill(int(claim["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _refresh(path: Location, claim: bytes, stop: threading.Event) -> None:
    while not stop.wait(REFRESH_SECONDS):
        # A store that is away for a moment is no reason to end a run of hours.
        with contextlib.suppress(OSError):
            # A machine that slept for minutes may find that its output was taken over.
            if storage.exists(path) and storage.read_bytes(path) != claim:
                return
            storage.write_bytes(path, claim)
