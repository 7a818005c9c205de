"""Bits per byte of a trained model: of its held-out documents, and of text files.

A text file is one document, cut as the records of a held-out set are. Its targets are its tokens
and an end of text, each once, in windows of the model's context; a window starts one token before
its first target, the first of all with an end of text, and sees nothing of the window before.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from massivetext.config import Config
from massivetext.errors import InputError
from massivetext.readers.stream import DamagedError, Stream
from massivetext.storage import Location
from massivetext.trainer.data import Batch
from massivetext.trainer.evaluate import Score, TextLoss, evaluate_params, make_score, sum_losses
from massivetext.trainer.loss import PADDING
from massivetext.trainer.metrics import say

from .trained import Trained, load

# Bytes of a file encoded at once. The next part begins a line, so no word is cut but in a
# longer line.
PART_BYTES = 4 << 20

Int32 = npt.NDArray[np.int32]


def evaluate(root: Location, config: Config) -> dict[str, float]:
    """Return, per subset, the bits per byte of the last checkpoint on the held-out documents.

    Says on stderr of which subsets only `train.evaluate_sequences` sequences were evaluated.

    Raises:
      InputError: there is no checkpoint or no held-out document.
      ConfigError: the checkpoint is of another model, or was trained on other shards.
    """
    trained = load(root, config)
    score = make_score(trained.size, trained.precision)
    losses = evaluate_params(
        trained.params,
        trained.shards,
        score,
        trained.batch_size,
        config.train.evaluate_sequences,
    )
    if not losses:
        raise InputError(
            f"no held-out documents in {root / 'shards'}: set heldout.fraction and build again"
        )
    for name, loss in losses.items():
        if loss.sequences < loss.of_sequences:
            say(
                f"{name}: {loss.sequences:,} of {loss.of_sequences:,} sequences; bytes scaled by "
                "their share of the targets"
            )
    return {name: loss.bits_per_byte for name, loss in losses.items()}


def evaluate_files(trained: Trained, paths: Iterable[Path]) -> dict[str, TextLoss]:
    """Return the loss of each text file, plain or compressed (.gz, .bz2, .zst), of any size.

    Raises:
      InputError: a file cannot be read, is empty, or is not UTF-8; says at which byte.
    """
    score = make_score(trained.size, trained.precision)
    return {str(path): _evaluate_file(trained, score, path) for path in paths}


def _evaluate_file(trained: Trained, score: Score, path: Path) -> TextLoss:
    text_bytes = 0

    def tokens() -> Iterator[Int32]:
        nonlocal text_bytes
        for part in text_parts(path):
            text_bytes += len(part.encode())
            yield trained.tokenizer.encode(part).astype(np.int32)

    def batches() -> Iterator[Batch]:
        rows = windows(tokens(), trained.tokenizer.eos_id, trained.context)
        while batch := list(itertools.islice(rows, trained.batch_size)):
            yield Batch(*(np.stack(column) for column in zip(*batch, strict=True)))

    nats, targets, sequences = sum_losses(trained.params, score, batches(), trained.batch_size)
    if not text_bytes:
        raise InputError(f"{path} is empty; bits per byte need a byte of text")
    return TextLoss(
        bits_per_byte=nats / (math.log(2) * text_bytes),
        loss=nats / targets,
        targets=targets,
        text_bytes=text_bytes,
        sequences=sequences,
        of_sequences=sequences,
    )


def text_parts(path: Path) -> Iterator[str]:
    """Yield the text of a file in parts of at most `PART_BYTES`, cut before a line.

    Raises:
      InputError: it cannot be read, or is not UTF-8; says at which byte.
    """
    offset, pending = 0, b""

    def decoded(data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} is not UTF-8 at byte {offset + error.start:,} ({error.reason}); convert "
                "it first"
            ) from error

    try:
        for chunk in Stream(str(path), lambda _: None).chunks():
            pending += chunk
            while len(pending) >= PART_BYTES:
                cut = pending.rfind(b"\n", 0, PART_BYTES) + 1
                if not cut:
                    # Before the last character, which may not be whole.
                    ends = range(PART_BYTES - 4, PART_BYTES)
                    cut = max((i for i in ends if pending[i] >> 6 != 0b10), default=PART_BYTES)
                yield decoded(pending[:cut])
                offset, pending = offset + cut, pending[cut:]
    except DamagedError as error:
        raise InputError(f"{path}: {error}") from error
    if pending:
        yield decoded(pending)


def windows(parts: Iterable[Int32], eos_id: int, length: int) -> Iterator[tuple[Int32, Int32]]:
    """Yield inputs and targets, int32 [T], of a document whose tokens come in `parts`."""
    end = np.array([eos_id], np.int32)
    pending = end
    for part in itertools.chain(parts, [end]):
        pending = np.concatenate([pending, part])
        while len(pending) > length:
            yield pending[:length], pending[1 : length + 1]
            pending = pending[length:]
    if len(pending) > 1:
        rest = (0, length + 1 - len(pending))
        yield np.pad(pending[:-1], rest), np.pad(pending[1:], rest, constant_values=PADDING)
