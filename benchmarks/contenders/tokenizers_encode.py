"""Hugging Face tokenizers, one thread, on lists of texts.

Option `file`: path of a tokenizer.json. The result holds `ids`, a digest of each document's tokens,
and `tokens`.
"""

import array
import os
import sys
from hashlib import sha256
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from contender import Document, Stopwatch, main
from tokenizers import Tokenizer

BATCH = 64


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    tokenizer = Tokenizer.from_file(options["file"])
    texts = [document["text"] for document in documents]
    tokenizer.encode_batch_fast(texts[:2], add_special_tokens=False)
    watch = Stopwatch()
    ids: list[str] = []
    count = 0
    for at in range(0, len(texts), BATCH):
        with watch:
            found = tokenizer.encode_batch_fast(texts[at : at + BATCH], add_special_tokens=False)
            rows = [encoding.ids for encoding in found]
        for tokens in rows:
            wide = array.array("I", tokens)
            if sys.byteorder == "big":
                wide.byteswap()
            ids.append(sha256(wide.tobytes()).hexdigest()[:16])
            count += len(tokens)
    return {
        **watch.result(),
        "ids": ids,
        "tokens": count,
        "configuration": f"encode_batch_fast({BATCH} texts), TOKENIZERS_PARALLELISM=false",
    }


main(measure)
