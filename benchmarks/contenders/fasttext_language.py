"""fastText's own batch prediction of languages, on whole texts.

Option `model`: path. With `predictions` the result holds `labels` (as in the model) and
`probabilities`, one per document.
"""

from typing import Any

import fasttext
from contender import Document, Stopwatch, main

BATCH = 1000


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    model = fasttext.load_model(options["model"])
    # fastText scores the first line of a text; making it one line is not counted as its work.
    lines = [document["text"].replace("\n", " ") + "\n" for document in documents]
    predict = model.f.multilinePredict
    predict(lines[:10], 1, 0.0, "strict")
    labels: list[str] = []
    probabilities: list[float] = []
    watch = Stopwatch()
    for at in range(0, len(lines), BATCH):
        with watch:
            names, scores = predict(lines[at : at + BATCH], 1, 0.0, "strict")
        labels += [name[0] if len(name) else "" for name in names]
        probabilities += [float(score[0]) if len(score) else 0.0 for score in scores]
    result: dict[str, Any] = {
        **watch.result(),
        "configuration": f"multilinePredict(k=1, threshold=0), {BATCH} texts a call, whole texts",
    }
    if options.get("predictions"):
        result |= {"labels": labels, "probabilities": probabilities}
    return result


main(measure)
