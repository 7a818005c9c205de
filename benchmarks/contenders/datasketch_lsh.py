"""datasketch's MinHashLSH on 13-word shingles: `pairs` are those that its queries return.

Options: `num_perm`; the index chooses its bands for the threshold 0.8.
"""

from typing import Any

from contender import Document, Stopwatch, main
from datasketch import MinHash, MinHashLSH
from found_pairs import FoundPairs
from word_shingles import shingles

THRESHOLD = 0.8


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    num_perm = options["num_perm"]
    index = MinHashLSH(threshold=THRESHOLD, num_perm=num_perm)
    pairs = FoundPairs(len(documents))
    watch = Stopwatch()
    for number, document in enumerate(documents):
        with watch:
            sketch = MinHash(num_perm=num_perm)
            sketch.update_batch([shingle.encode() for shingle in shingles(document["text"])])
            if not sketch.is_empty():
                pairs.add(number, index.query(sketch))
                index.insert(number, sketch)
    return {
        **watch.result(),
        "pairs": pairs.result(),
        "configuration": f"MinHashLSH(threshold={THRESHOLD}, num_perm={num_perm}), which chose "
        f"{index.b} bands of {index.r} rows; 13-word shingles as massivetext makes them",
    }


main(measure)
