"""Runs what is compared: each contender in a child process of its own, peers in their own venv.

A contender is a script of `contenders/`: it reads the documents, measures the work alone (no
import, start or reading) and writes its result as JSON. massivetext is a contender like any other,
except that it runs in the environment of the benchmark.

Environments are created once, below `$XDG_CACHE_HOME/massivetext-benchmarks` (`~/.cache/...`).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from massivetext.errors import StageError

CONTENDERS = Path(__file__).parent / "contenders"
# The version that Python bundles may be too old to resolve a peer's requirements.
PIP = "pip==26.3"
INSTALL_SECONDS = 1200
RUN_SECONDS = 3600

# One thread each: results are per core.
SINGLE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
}


class NotInstalledError(Exception):
    """A peer's environment could not be made; says why."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of `requirements`, pinned. `name` is its folder in the cache."""

    name: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(cache) / "massivetext-benchmarks" / self.name

    def python(self) -> str:
        """Return the interpreter of the environment, which is made when it is not there.

        Raises:
          NotInstalledError: it cannot be made, for want of a network, say.
        """
        stamp = self.folder / "installed.json"
        interpreter = str(self.folder / "bin" / "python")
        wanted = {"requirements": list(self.requirements), "python": sys.version}
        if stamp.exists():
            found = json.loads(stamp.read_text())
            if {key: found[key] for key in wanted} == wanted:
                return interpreter
        print(f"installing {self.name} below {self.folder.parent}", file=sys.stderr, flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        pip = [interpreter, "-m", "pip", "--disable-pip-version-check"]
        _install([sys.executable, "-m", "venv", str(self.folder)])
        _install([*pip, "install", "--quiet", PIP])
        _install([*pip, "install", "--quiet", *self.requirements])
        freeze = _install([*pip, "freeze"]).split()
        stamp.write_text(json.dumps({**wanted, "freeze": freeze}))
        return interpreter

    def packages(self) -> list[str]:
        """Return every installed package with its version, as pip lists them."""
        packages: list[str] = json.loads((self.folder / "installed.json").read_text())["freeze"]
        return packages


def _install(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except OSError as error:
        raise NotInstalledError(f"not installed: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise NotInstalledError(f"not installed: over {INSTALL_SECONDS} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise NotInstalledError(f"not installed: {lines[-1].removeprefix('ERROR: ')}")
    return done.stdout


@dataclass(frozen=True)
class Contender:
    """A script of `contenders/` with its options; without `environment` it runs in ours."""

    name: str
    script: str
    environment: Environment | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, documents: Path) -> dict[str, Any]:
        """Measure the work on the documents in a JSONL file; return what the script reports.

        The result holds `seconds` (of CPU), `wall_seconds`, `documents`, `bytes`, `configuration`
        and `peak_rss_bytes`, and what else the script says in its docstring.

        Raises:
          NotInstalledError: the environment cannot be made.
          StageError: the script failed.
        """
        python = self.environment.python() if self.environment else sys.executable
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.json"
            script = str(CONTENDERS / self.script)
            command = [python, script, str(documents), str(result), json.dumps(self.options)]
            try:
                done = subprocess.run(
                    command,
                    env={**os.environ, **SINGLE_THREAD},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    timeout=RUN_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise StageError(f"{self.name} took over {RUN_SECONDS} s") from error
            if done.returncode:
                raise StageError(f"{self.name} failed:\n{done.stderr[-4000:]}")
            value: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return value


def in_turns(
    contenders: Sequence[Contender], documents: Path, repetitions: int, peers: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Run the contenders A B A B ..., so that a busy moment of the machine meets them all.

    Args:
      peers: the report's; gets what is known of each contender that is not massivetext.

    Returns:
      The results of each contender by name; an empty list for one that is not installed.
    """
    results: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contenders}
    missing: set[str] = set()
    for _ in range(repetitions):
        for contender in contenders:
            if contender.name in missing:
                continue
            try:
                result = contender.run(documents)
            except NotInstalledError as error:
                missing.add(contender.name)
                peers[contender.name] = {"note": str(error)}
                continue
            results[contender.name].append(result)
            if contender.environment is not None:
                peers[contender.name] = {
                    "configuration": result["configuration"],
                    "requirements": contender.environment.requirements,
                    "packages": contender.environment.packages(),
                }
    return results
