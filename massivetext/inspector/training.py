"""The trainer's log, thinned, and read on from where the page has got to: curves and samples."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

POINTS = 2000
SAMPLED = 100  # steps whose samples come
_CHUNK = 4 << 20
# What lines other than those of steps have; a step's are read only where they are kept.
_KEYS = (b'"bits_per_byte"', b'"samples"', b'"rewind"')


def runs(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the log of each folder by a name: the folder's, with a number where that is taken."""
    found: dict[str, Path] = {}
    for folder in folders:
        name = base = folder.resolve().name or "run"
        count = 1
        while name in found:
            count += 1
            name = f"{base} ({count})"
        found[name] = folder / "train" / "metrics.jsonl"
    return found


def run(path: Path, start: int = 0) -> dict[str, Any]:
    """Return what `metrics.jsonl` says from byte `start` on, as JSON.

    Steps and samples are thinned evenly, and the last of each comes; evaluations and rewinds all
    come. What a rewind undid is left out: of what came with earlier requests, too, the steps after
    its `to` are void. `size` is where the last whole line ends: the `start` of the next request.
    Where the log has become shorter than `start`, because a run went back to a checkpoint, nothing
    comes but the size.
    """
    result: dict[str, Any] = {"present": path.is_file(), "steps": [], "evaluations": []}
    result |= {"samples": [], "rewinds": [], "size": 0}
    if not result["present"]:
        return result
    total = path.stat().st_size
    result["size"] = total if total < start else start
    if total <= start:
        return result
    steps, samples = _Thinned(POINTS, _point), _Thinned(SAMPLED, _samples)
    rest = b""
    with open(path, "rb") as file:
        file.seek(start)
        while chunk := file.read(min(_CHUNK, max(0, total - file.tell()))):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                result["size"] += len(line) + 1
                if any(key in line for key in _KEYS):
                    row = _parsed(line) or {}
                    if isinstance(row.get("bits_per_byte"), dict):
                        result["evaluations"].append(row)
                    elif isinstance(row.get("samples"), list):
                        samples.add(row)
                    elif (rewind := _rewind(row)) is not None:
                        result["rewinds"].append(rewind)
                        to = rewind["to"]
                        result["evaluations"] = _until(to, result["evaluations"])
                        steps.cut(to)
                        samples.cut(to)
                elif line:
                    steps.add(line)
    return result | {"steps": steps.rows(), "samples": samples.rows()}


class _Thinned:
    """At most `most` rows, evenly from the first to the last, of what is added in their order.

    Args:
      most: an even number.
      read: makes a row, or None, of what was added; called for what is kept and for the last.
    """

    def __init__(self, most: int, read: Callable[[Any], dict[str, Any] | None]):
        self._most, self._read = most, read
        self._kept: list[dict[str, Any]] = []
        self._last: Any = None
        self._count, self._every = 0, 1

    def add(self, what: Any) -> None:
        self._last = what
        row = self._read(what) if self._count % self._every == 0 else None
        self._count += 1
        if row is not None:
            self._kept.append(row)
        if len(self._kept) == self._most:
            del self._kept[1::2]
            self._every *= 2

    def cut(self, step: int) -> None:
        """Forget what came of later steps."""
        self._kept, self._last = _until(step, self._kept), None

    def rows(self) -> list[dict[str, Any]]:
        last = None if self._last is None else self._read(self._last)
        return self._kept + [row for row in (last,) if row and row not in self._kept[-1:]]


def _until(step: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if _step(row) <= step]


def _point(line: bytes) -> dict[str, Any] | None:
    """Return the numbers of a step."""
    row = _parsed(line)
    return row if row and "step" in row and "loss" in row else None


def _samples(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the step and what the model wrote then: `prompt` and `text` of each sample."""
    found = [
        {"prompt": sample["prompt"], "text": sample["text"]}
        for sample in row["samples"]
        if isinstance(sample, dict)
        and isinstance(sample.get("prompt"), str)
        and isinstance(sample.get("text"), str)
    ]
    step = row.get("step")
    return {"step": step, "samples": found} if isinstance(step, int) else None


def _rewind(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return `step`, `loss`, `to` and `records` of a line that says that the run went back."""
    said = row.get("rewind")
    if not isinstance(said, dict) or not isinstance(said.get("to"), int):
        return None
    return {"step": row.get("step")} | {key: said.get(key) for key in ("loss", "to", "records")}


def _step(row: dict[str, Any]) -> int:
    step = row.get("step")
    return step if isinstance(step, int) else 0


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None  # what a run that was killed had begun to write
    return row if isinstance(row, dict) else None
