"""trafilatura's `extract`; option `fast` is its own. Returns `texts` if asked."""

from typing import Any

import trafilatura
from contender import Document, Stopwatch, main


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    fast = bool(options.get("fast"))
    trafilatura.extract("<html><body><p>A first page.</p></body></html>", fast=fast)
    watch = Stopwatch()
    with watch:
        texts = [trafilatura.extract(document["html"], fast=fast) or "" for document in documents]
    configuration = f"trafilatura.extract(html{', fast=True' if fast else ''}), other defaults"
    result: dict[str, Any] = {**watch.result(), "configuration": configuration}
    return result | ({"texts": texts} if options.get("texts") else {})


main(measure)
