"""What the trainer has logged: steps, speed and bits per byte."""

import json
from pathlib import Path
from statistics import median
from typing import Any

# The median speed is of the last steps: the first ones compile.
STEPS = 1000


def summary(path: Path) -> dict[str, Any] | None:
    """Return the last state that `train/metrics.jsonl` tells of, or None when there is none."""
    last: dict[str, Any] = {}
    bits: dict[str, float] = {}
    speeds: list[float] = []
    before: tuple[int, int] | None = None
    if not path.is_file():
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the line that a killed run was writing
            if "bits_per_byte" in row:
                bits = row["bits_per_byte"]
            if "loss" not in row or "milliseconds" not in row:
                continue
            last = row
            if before and row["step"] > before[0] and row["milliseconds"] > 0:
                speeds.append(1000 * (row["tokens"] - before[1]) / row["milliseconds"])
                del speeds[:-STEPS]
            before = (row["step"], row["tokens"])
    if not last and not bits:
        return None
    return {
        "steps": last.get("step"),
        "tokens": last.get("tokens"),
        "loss": last.get("loss"),
        "tokens_per_second": round(median(speeds), 1) if speeds else None,
        "bits_per_byte": bits,
    }
