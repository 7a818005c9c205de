"""readability-lxml's `summary`, which is HTML: returned as `markup` if `texts` are asked for."""

from typing import Any

from contender import Document, Stopwatch, main
from readability import Document as Readable


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    Readable("<html><body><p>A first page.</p></body></html>").summary()
    watch = Stopwatch()
    with watch:
        markup = [Readable(document["html"]).summary() for document in documents]
    configuration = "Document(html).summary(), defaults"
    result: dict[str, Any] = {**watch.result(), "configuration": configuration}
    return result | ({"markup": markup} if options.get("texts") else {})


main(measure)
