"""rensa's RMinHash and RMinHashLSH on 13-word shingles: `pairs` are those that queries return.

Options: `num_perm`, `num_bands`.
"""

from typing import Any

from contender import Document, Stopwatch, main
from found_pairs import FoundPairs
from rensa import RMinHash, RMinHashLSH
from word_shingles import shingles

THRESHOLD = 0.8


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    num_perm, num_bands = options["num_perm"], options["num_bands"]
    index = RMinHashLSH(threshold=THRESHOLD, num_perm=num_perm, num_bands=num_bands)
    pairs = FoundPairs(len(documents))
    watch = Stopwatch()
    for number, document in enumerate(documents):
        with watch:
            tokens = list(shingles(document["text"]))
            if tokens:
                sketch = RMinHash(num_perm=num_perm, seed=1)
                sketch.update(tokens)
                pairs.add(number, index.query(sketch))
                index.insert(number, sketch)
    return {
        **watch.result(),
        "pairs": pairs.result(),
        "configuration": f"RMinHashLSH(threshold={THRESHOLD}, num_perm={num_perm}, "
        f"num_bands={num_bands}); 13-word shingles as massivetext makes them",
    }


main(measure)
