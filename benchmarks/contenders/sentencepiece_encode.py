"""SentencePiece's own encoding of lists of texts, one thread.

Option `model`: path. The result holds `ids`, a digest of each document's tokens, and `tokens`.
"""

import array
import sys
from hashlib import sha256
from typing import Any

import sentencepiece
from contender import Document, Stopwatch, main

BATCH = 64


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    processor = sentencepiece.SentencePieceProcessor(model_file=options["model"])
    texts = [document["text"] for document in documents]
    processor.encode(texts[:2], num_threads=1)
    watch = Stopwatch()
    ids: list[str] = []
    count = 0
    for at in range(0, len(texts), BATCH):
        with watch:
            found = processor.encode(texts[at : at + BATCH], num_threads=1)
        for tokens in found:
            wide = array.array("I", tokens)
            if sys.byteorder == "big":
                wide.byteswap()
            ids.append(sha256(wide.tobytes()).hexdigest()[:16])
            count += len(tokens)
    return {
        **watch.result(),
        "ids": ids,
        "tokens": count,
        "configuration": f"encode(list of {BATCH} texts, num_threads=1)",
    }


main(measure)
