"""datatrove's GopherQualityFilter and GopherRepetitionFilter, as they come.

`seconds` is both filters on every document, the same work as measuring every signal;
`seconds_chained` is what a pipeline of the two spends, where only what the first one keeps reaches
the second. datatrove caches the words of the last documents, so they are split once for both.
"""

from contextlib import nullcontext
from typing import Any

from contender import Document, Stopwatch, main
from datatrove.data import Document as TroveDocument
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    quality, repetition = GopherQualityFilter(), GopherRepetitionFilter()

    def keeps(verdict: bool | tuple[bool, str]) -> bool:
        return verdict if isinstance(verdict, bool) else verdict[0]

    # Loads the tokenizer.
    quality.filter(TroveDocument(text="the words of a first document", id="first"))
    every, chained = Stopwatch(), Stopwatch()
    kept = 0
    for document in [TroveDocument(text=d["text"], id=d["id"]) for d in documents]:
        with every:
            with chained:
                good = keeps(quality.filter(document))
            with chained if good else nullcontext():
                varied = keeps(repetition.filter(document))
        kept += good and varied
    return {
        **every.result(),
        "seconds_chained": chained.cpu,
        "kept": kept,
        "configuration": "GopherQualityFilter() and GopherRepetitionFilter(), all defaults; "
        "language en, whose words are split by spaCy's blank English tokenizer",
    }


main(measure)
