"""massivetext's tokenizer on Arrow columns of about 4 MB, from an empty cache.

Option `model`: path. The result holds `ids`, a digest of each document's tokens, `tokens`, their
number, and `again`, the seconds of a second pass over the same documents.
"""

from hashlib import sha256
from itertools import pairwise
from typing import Any

from contender import Document, Stopwatch, main
from massivetext_batches import batches

from massivetext.tokenizer.encode import Tokenizer


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    # Compiles, or loads what was compiled, and builds the tables: of another instance, so that the
    # cache of the one measured is empty.
    Tokenizer.load(options["model"]).encode("some words é 中 " * 100)
    tokenizer = Tokenizer.load(options["model"])
    tokenizer.encode("")
    columns = [batch.column("text") for batch in batches(documents)]
    first, again = Stopwatch(), Stopwatch()
    ids: list[str] = []
    count = 0
    for watch in (first, again):
        ids, count = [], 0
        for column in columns:
            with watch:
                tokens, offsets = tokenizer.encode_batch(column)
            wide = tokens.astype("<u4")
            ids += [
                sha256(wide[start:end].tobytes()).hexdigest()[:16]
                for start, end in pairwise(offsets)
            ]
            count += len(tokens)
    return {
        **first.result(),
        "again": again.cpu,
        "ids": ids,
        "tokens": count,
        "configuration": "Tokenizer.encode_batch, Arrow columns of 4 MB, an empty cache",
    }


main(measure)
