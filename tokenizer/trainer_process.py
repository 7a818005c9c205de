"""SentencePiece's trainer in a process of its own: sentences in, model out, its log on stderr.

    python -P trainer_process.py SETTINGS

SETTINGS is JSON, the trainer's options. Standard input is sentences, each with its length in bytes
before it (uint32, little-endian); standard output is the model file. The last line on stderr is
JSON: `error`, what the trainer raised, or `peak_rss_bytes`.

A process of its own gives all memory back, can be killed without a trace, and has a log to itself,
which is the only way to see how far the trainer is.
"""

import json
import resource
import sys
from collections.abc import Iterator

import sentencepiece


def _sentences() -> Iterator[bytes]:
    read = sys.stdin.buffer.read
    while head := read(4):
        yield read(int.from_bytes(head, "little"))


def _main() -> None:
    last: dict[str, str | int]
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_sentences(),
            model_writer=sys.stdout.buffer,
            **json.loads(sys.argv[1]),
        )
        sys.stdout.buffer.flush()
        last = {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    except RuntimeError as error:
        last = {"error": str(error)}
    print(json.dumps(last), file=sys.stderr, flush=True)


if __name__ == "__main__":
    _main()
