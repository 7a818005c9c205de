"""The trainer's log as points of curves: thinned, and read on from where the page has got to."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

POINTS = 2000
_CHUNK = 4 << 20
# A line of a step has some 200 bytes. A longer one than this is none of the trainer's.
_LINE = 100


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
    """Return steps, evaluations and rewinds that `metrics.jsonl` has from byte `start` on, as JSON.

    Of many steps every k-th comes, and the last; evaluations all come. What a rewind undid is left
    out: of what came with earlier requests, too, the steps after its `to` are void. `size` is where
    the last whole line ends: the `start` of the next request. Where the log has become shorter than
    `start`, because a run went back to a checkpoint, nothing comes but the size.
    """
    result: dict[str, Any] = {"present": path.is_file(), "steps": [], "evaluations": []}
    result |= {"rewinds": [], "size": 0}
    if not result["present"]:
        return result
    total = path.stat().st_size
    result["size"] = total if total < start else start
    if total <= start:
        return result
    # Never fewer lines than this, so never more points than `POINTS` without a second thinning.
    every = max(1, (total - start) // (_LINE * POINTS))
    steps: list[dict[str, Any]] = []
    last: bytes | None = None
    count = 0
    rest = b""
    with open(path, "rb") as file:
        file.seek(start)
        while chunk := file.read(min(_CHUNK, max(0, total - file.tell()))):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                result["size"] += len(line) + 1
                if b'"bits_per_byte"' in line:
                    row = _parsed(line)
                    if row is not None and isinstance(row.get("bits_per_byte"), dict):
                        result["evaluations"].append(row)
                elif b'"rewind"' in line:
                    row = _rewind(line)
                    if row is not None:
                        result["rewinds"].append(row)
                        for rows in (steps, result["evaluations"]):
                            rows[:] = [r for r in rows if _step(r) <= row["to"]]
                        last = None
                elif line:
                    last = line
                    if count % every == 0:
                        _add(steps, line)
                    count += 1
    if last is not None:
        _add(steps, last)
    # Lines are longer than assumed, so this rarely has work to do.
    stride = -(-len(steps) // (POINTS - 1)) if len(steps) > POINTS else 1
    result["steps"] = steps[::stride] if stride == 1 else [*steps[:-1:stride], steps[-1]]
    return result


def _add(steps: list[dict[str, Any]], line: bytes) -> None:
    row = _parsed(line)
    if row is not None and "step" in row and "loss" in row and (not steps or steps[-1] != row):
        steps.append(row)


def _rewind(line: bytes) -> dict[str, Any] | None:
    """Return `step`, `loss`, `to` and `records` of a line that says that the run went back."""
    row = _parsed(line) or {}
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
