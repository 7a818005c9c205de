"""massivetext's training of a tokenizer on the documents, repeated to the size wanted.

Options: `bytes`, `vocab_size`, `model` to write. `peak_bytes` is that of SentencePiece's process.
"""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contender import Document, main

from massivetext.presets import TOKENIZERS
from massivetext.tokenizer.train import train


def repeated(documents: list[Document], size: int) -> Iterator[str]:
    """Yield texts again and again until they have `size` bytes."""
    total = 0
    while total < size:
        for document in documents:
            total += len(document["text"].encode())
            yield document["text"]
            if total >= size:
                return


def _cpu() -> float:
    """Return the processor time of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    texts = repeated(documents, options["bytes"])
    model = Path(options["model"])
    before = _cpu()
    report = train(texts, TOKENIZERS["chinchilla"], options["vocab_size"], model)
    return {
        "seconds": report.seconds,
        "wall_seconds": report.seconds,
        "cpu_seconds": _cpu() - before,
        "peak_bytes": report.peak_rss_bytes,
        "text_bytes": report.text_bytes,
        "configuration": "train, preset chinchilla, 4 threads; seconds of wall time",
    }


main(measure)
