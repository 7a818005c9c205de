"""Runs SentencePiece's trainer in a process of its own, and follows its log."""

import contextlib
import json
import math
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

PROCESS = Path(__file__).with_name("trainer_process.py")

# What it logs every so many pieces: of BPE, which adds them (two versions), and of unigram, which
# drops them.
_PIECES = re.compile(rb"(?:Merged: .* merges|Added: .* size|EM sub_iter.* size)=(\d+)")


class TrainerKilledError(Exception):
    """The process ended without a word, which is how the system ends one that takes too much."""


def run(
    sentences: Iterable[bytes], settings: dict[str, Any], watch: Callable[[float], None] | None
) -> tuple[bytes, dict[str, Any]]:
    """Train on `sentences`; return the model, and what the process says of itself at the end.

    Args:
      settings: options of `SentencePieceTrainer.train`.
      watch: called with the share of the pieces that are found, 0 to 1: for each sentence, and
        then whenever the trainer says something; not by two threads at once.

    Raises:
      TrainerKilledError: the process was killed.
    """
    command = [sys.executable, "-P", str(PROCESS), json.dumps(settings)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        log = _Log(process.stderr, settings["vocab_size"], watch)
        log.start()
        # A trainer that has ended says why in its log.
        broken = contextlib.suppress(BrokenPipeError)
        try:
            with broken:
                for sentence in sentences:
                    process.stdin.write(len(sentence).to_bytes(4, "little") + sentence)
                    if watch is not None:
                        watch(0.0)
            with broken:
                process.stdin.close()
            content = process.stdout.read()
            process.wait()
        except BaseException:
            process.kill()
            with broken:
                process.stdin.close()
            raise
        finally:
            log.join()
    try:
        return content, json.loads(log.last)
    except ValueError:
        last = log.last.decode(errors="replace").strip()
        raise TrainerKilledError(f"ended with code {process.returncode} after {last!r}") from None


class _Log(threading.Thread):
    """Reads the trainer's log: how many pieces it has, and the last line."""

    def __init__(self, stream: IO[bytes], wanted: int, watch: Callable[[float], None] | None):
        super().__init__(daemon=True)
        self.last = b""
        self._stream, self._wanted, self._watch = stream, wanted, watch

    def run(self) -> None:
        first = 0
        for line in self._stream:
            self.last = line
            found = _PIECES.search(line)
            if found is None or self._watch is None:
                continue
            size = int(found[1])
            first = first or size
            if first > self._wanted:
                share = math.log(first / size) / math.log(first / self._wanted)
            else:
                share = size / self._wanted
            self._watch(min(share, 1.0))
