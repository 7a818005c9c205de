"""tiktoken on lists of texts, one thread.

Options: `pattern`, and `ranks`, a JSON file of bytes in hexadecimal by rank. The result holds
`tokens`.
"""

import json
from pathlib import Path
from typing import Any

import tiktoken
from contender import Document, Stopwatch, main

BATCH = 64


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    pieces = json.loads(Path(options["ranks"]).read_text(encoding="utf-8"))
    encoding = tiktoken.Encoding(
        "benchmark",
        pat_str=options["pattern"],
        mergeable_ranks={bytes.fromhex(piece): rank for rank, piece in enumerate(pieces)},
        special_tokens={},
    )
    texts = [document["text"] for document in documents]
    encoding.encode_ordinary_batch(texts[:2], num_threads=1)
    watch = Stopwatch()
    count = 0
    for at in range(0, len(texts), BATCH):
        with watch:
            found = encoding.encode_ordinary_batch(texts[at : at + BATCH], num_threads=1)
        count += sum(map(len, found))
    return {
        **watch.result(),
        "tokens": count,
        "configuration": f"encode_ordinary_batch({BATCH} texts, num_threads=1), cl100k's pattern, "
        f"{len(pieces)} ranks trained on the same text",
    }


main(measure)
