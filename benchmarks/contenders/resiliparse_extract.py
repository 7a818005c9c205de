"""resiliparse's `extract_plain_text` of the main content. Returns `texts` if asked."""

from typing import Any

from contender import Document, Stopwatch, main
from resiliparse.extract.html2text import extract_plain_text


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    extract_plain_text("<html><body><p>A first page.</p></body></html>", main_content=True)
    watch = Stopwatch()
    with watch:
        texts = [extract_plain_text(document["html"], main_content=True) for document in documents]
    configuration = "extract_plain_text(html, main_content=True), other defaults"
    result: dict[str, Any] = {**watch.result(), "configuration": configuration}
    return result | ({"texts": texts} if options.get("texts") else {})


main(measure)
