"""What every contender's script shares: documents in, result out. Standard library alone.

    python SCRIPT DOCUMENTS.jsonl RESULT.json OPTIONS

`OPTIONS` is JSON. The script's function gets the documents and the options, measures only the work,
and returns a dict with `seconds`, `wall_seconds` (see `Stopwatch`) and `configuration`, which says
how the tool was set up.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Document = dict[str, Any]


class Stopwatch:
    """Adds up the time spent in `with` blocks.

    `cpu` is that of this process with all its threads: seconds of one core, whatever else the
    machine is busy with, so it is what rates per core are computed from. `wall` is for comparison.
    """

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._started
        self.cpu += time.process_time() - cpu
        self.wall += time.perf_counter() - wall

    def result(self) -> dict[str, float]:
        """Return the times as they stand in a contender's result."""
        return {"seconds": self.cpu, "wall_seconds": self.wall}


def main(measure: Callable[[list[Document], dict[str, Any]], dict[str, Any]]) -> None:
    """Run `measure` as the arguments say, and write its result."""
    source, target, options = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        documents = [json.loads(line) for line in file]
    size = sum(len((d.get("text") or d.get("html") or "").encode()) for d in documents)
    result = {
        "documents": len(documents),
        "bytes": size,
        **measure(documents, json.loads(options)),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    Path(target).write_text(json.dumps(result), encoding="utf-8")
