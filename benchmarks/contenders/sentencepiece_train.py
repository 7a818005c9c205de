"""Plain spm_train of a BPE model on the documents as a text file, repeated to the size wanted.

Options: `bytes`, `vocab_size`, `model` to write. A line is a sentence; those over 4,192 bytes are
dropped by SentencePiece, so lines are what the documents' line ends make them.
"""

import resource
import time
from pathlib import Path
from typing import Any

import sentencepiece
from contender import Document, main


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    path = Path(options["model"]).with_suffix(".txt")
    total = 0
    with open(path, "w", encoding="utf-8") as file:
        while total < options["bytes"]:
            for document in documents:
                total += len(document["text"].encode()) + 1
                file.write(document["text"] + "\n")
                if total >= options["bytes"]:
                    break
    started, busy = time.monotonic(), time.process_time()
    sentencepiece.SentencePieceTrainer.train(
        input=str(path),
        model_prefix=options["model"].removesuffix(".model"),
        vocab_size=options["vocab_size"],
        model_type="bpe",
        byte_fallback=True,
        num_threads=4,
        minloglevel=2,
    )
    seconds = time.monotonic() - started
    return {
        "seconds": seconds,
        "wall_seconds": seconds,
        "cpu_seconds": time.process_time() - busy,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "text_bytes": total,
        "configuration": "spm_train with its defaults, byte fallback, 4 threads; wall time",
    }


main(measure)
