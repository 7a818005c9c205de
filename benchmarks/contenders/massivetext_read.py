"""massivetext's own reader, CRC on: all records in batches, then single ones at random.

Options: `folder`, `batch`, `random` (how many). `sum` is of all tokens; `random_seconds` are those
of the single records.
"""

from typing import Any

import numpy as np
from contender import Document, Stopwatch, main

from massivetext import shards


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    opened = shards.open(options["folder"])
    size = options["batch"]
    opened.batch(0, size)
    watch, single = Stopwatch(), Stopwatch()
    total = 0
    for step in range(len(opened) // size):
        with watch:
            records = opened.batch(step, size)
        total += int(records.tokens.sum(dtype=np.int64))
    chosen = np.random.default_rng(1).integers(0, len(opened), options["random"]).tolist()
    with single:
        for k in chosen:
            opened[k]
    return {
        **watch.result(),
        "random_seconds": single.cpu,
        "sum": total,
        "configuration": f"shards.open, batches of {size}, CRC on",
    }


main(measure)
