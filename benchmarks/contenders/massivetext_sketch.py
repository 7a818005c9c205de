"""massivetext's MinHash signatures, shingling included, and with `pairs` those that share a band.

Options: `bands`, `rows`, `pairs`. The result holds `seconds_by` step.
"""

from typing import Any

import numpy as np
from contender import Document, Stopwatch, main
from found_pairs import FoundPairs
from massivetext_batches import batches

from massivetext.document import text_buffers
from massivetext.minhash import band_hashes, signatures
from massivetext.shingles import normalise, shingle_normalised

NGRAM = 13


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    bands, rows = options["bands"], options["rows"]
    columns = [text_buffers(batch.column("text")) for batch in batches(documents)]
    steps = {name: Stopwatch() for name in ("normalise", "shingle", "minhash", "bands")}
    found: list[np.ndarray] = []
    # The first batch once more: its first time compiles the kernels.
    for number, (data, offsets) in enumerate([columns[0], *columns]):
        if number == 1:
            steps = {name: Stopwatch() for name in steps}
            found.clear()
        with steps["normalise"]:
            text = normalise(data, offsets)
        with steps["shingle"]:
            hashes, starts = shingle_normalised(text, NGRAM)
        with steps["minhash"]:
            minima = signatures(hashes, starts, bands * rows)
        with steps["bands"]:
            hashed = band_hashes(minima, bands)
        # Texts without words have nothing in common.
        hashed[text.words == 0] = 0
        found.append(hashed)
    result: dict[str, Any] = {
        "seconds": sum(watch.cpu for watch in steps.values()),
        "wall_seconds": sum(watch.wall for watch in steps.values()),
        "seconds_by": {name: watch.cpu for name, watch in steps.items()},
        "configuration": f"{NGRAM}-grams, {bands} bands of {rows} rows",
    }
    if options.get("pairs"):
        pairs = FoundPairs(len(documents))
        for column in np.concatenate(found).T.tolist():
            pairs.add_buckets((row, key) for row, key in enumerate(column) if key)
        result["pairs"] = pairs.result()
    return result


main(measure)
