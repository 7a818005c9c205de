"""Runs fastText's training as a process of its own: `python -m massivetext.fasttext_train JSON`.

fastText trains without looking at signals, and with one thread says nothing of its progress; as a
child it can be stopped, watched, and run out of memory without taking the command with it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from .errors import MassivetextError, StageError
from .progress import Progress

DISTRIBUTION = "fasttext-community"
MINIMUM = (0, 11, 9)

POLL_SECONDS = 0.05


def check_installed() -> str:
    """Return the version of the fastText that trains reproducibly.

    Raises:
      MassivetextError: another distribution provides (or has overwritten) the module `fasttext`.
        Those before 0.11.9 train on uninitialised memory unless there are eleven threads, and with
        more than one thread no two runs agree; `fasttext-predict` cannot train at all.
    """
    found = sorted(set(packages_distributions().get("fasttext", [])))
    versions = {name: version(name) for name in found}
    number = tuple(int(part) for part in re.findall(r"\d+", versions.get(DISTRIBUTION, ""))[:3])
    if found != [DISTRIBUTION] or number < MINIMUM:
        named = ", ".join(f"{name} {versions[name]}" for name in found) or "none"
        remove = f"pip uninstall -y {' '.join(found)} && " if found else ""
        raise MassivetextError(
            f"training needs {DISTRIBUTION} >= {'.'.join(map(str, MINIMUM))} and no other fastText "
            f"beside it (found: {named}); others give a different model each time. "
            f"Run: {remove}pip install -U {DISTRIBUTION}"
        )
    return versions[DISTRIBUTION]


def train(lines: Path, model: Path, settings: dict[str, Any], quiet: bool) -> None:
    """Train a supervised model on the file `lines` and save it as `model`.

    Args:
      settings: arguments of `fasttext.train_supervised`, `epoch` among them.

    Raises:
      StageError: training failed or was killed.
    """
    lines = lines.resolve()  # as the system will name what the child reads
    arguments = {"input": str(lines), "verbose": 0, **settings}
    command = [sys.executable, "-P", "-m", __name__, json.dumps([arguments, str(model)])]
    size = lines.stat().st_size
    passes = position = 0

    def done() -> int:
        return passes * size + position

    with (
        tempfile.TemporaryFile() as messages,
        Progress("train", (1 + settings["epoch"]) * size, done, quiet=quiet),
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages) as child,
    ):
        try:
            while child.poll() is None:
                before, position = position, _position(child.pid, lines)
                passes += position < before  # one pass for the vocabulary, one for each epoch
                time.sleep(POLL_SECONDS)
        except BaseException:
            child.kill()
            raise
        messages.seek(0)
        last = messages.read().decode("utf-8", "replace").splitlines()[-1:]
    if child.returncode < 0:
        raise StageError(
            f"fastText was killed by signal {-child.returncode} (out of memory?); "
            "use fewer --documents"
        )
    if child.returncode:
        raise StageError(f"fastText failed: {last[0] if last else 'no message'}")


def _position(pid: int, path: Path) -> int:
    """Return how far a process has read in a file; 0 where the system does not tell."""
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            if os.readlink(descriptor) == str(path):
                info = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
                return int(info.split()[1])  # "pos:", and the number
    except OSError:  # no such system, or no such process any more
        pass
    return 0


def _end_with_parent() -> None:
    """Exit when the other end of standard input is closed: the parent was killed."""
    sys.stdin.read()
    os._exit(1)


def _main() -> None:
    import fasttext

    threading.Thread(target=_end_with_parent, daemon=True).start()
    arguments, path = json.loads(sys.argv[1])
    fasttext.train_supervised(**arguments).save_model(path)


if __name__ == "__main__":
    _main()
