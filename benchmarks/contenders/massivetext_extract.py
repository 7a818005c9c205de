"""massivetext's extraction of text from pages, decoding included. Returns `texts` if asked."""

from typing import Any

import pyarrow as pa
from contender import Document, Stopwatch, main

from massivetext.document import PAGE, BatchBuilder, DeadLetters
from massivetext.extract import extract_batch


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    prepared = list(_pages(documents))
    dead = DeadLetters()
    extract_batch(prepared[0].slice(0, 1), "benchmark", dead)
    watch = Stopwatch()
    with watch:
        found = [extract_batch(batch, "benchmark", dead) for batch in prepared]
    if dead.letters:
        raise SystemExit(f"{len(dead.letters)} pages failed, the first: {dead.letters[0].error}")
    result: dict[str, Any] = {**watch.result(), "configuration": "extract_batch, defaults"}
    if options.get("texts"):
        result["texts"] = [text for batch in found for text in batch.column("text").to_pylist()]
    return result


def _pages(documents: list[Document]) -> list[pa.RecordBatch]:
    builder = BatchBuilder(PAGE)
    done = []
    for document in documents:
        content = document["html"].encode()
        row = {"id": document["id"], "content": content, "charset": "utf-8", "source": "benchmark"}
        done.append(builder.add(len(content), **row))
    return [batch for batch in [*done, builder.flush()] if batch is not None]


main(measure)
