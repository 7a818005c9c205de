"""massivetext's language identification, on batches as pipelines make them.

Option `model`: path. With `predictions` the result holds `labels` (codes such as `en`) and
`probabilities`, one per document.
"""

from typing import Any

from contender import Document, Stopwatch, main
from massivetext_batches import batches

from massivetext.document import text_buffers
from massivetext.language import LanguageModel


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    model = LanguageModel(options["model"])
    columns = [text_buffers(batch.column("text")) for batch in batches(documents)]
    data, offsets = columns[0]
    model.predict(data, offsets[:11])
    watch = Stopwatch()
    with watch:
        found = [model.predict(data, offsets) for data, offsets in columns]
    result: dict[str, Any] = {**watch.result(), "configuration": "LanguageModel.predict"}
    if options.get("predictions"):
        result["labels"] = [label for labels, _ in found for label in labels.to_pylist()]
        result["probabilities"] = [float(p) for _, scores in found for p in scores]
    return result


main(measure)
