"""Batches from shards: each is the records from a cursor on, in the order of training.

Where a run stands in its data is a `Position`, kept in every checkpoint. A run without rewinds
trains record k as its k-th sequence; a rewind (`spikes`) moves the cursor on, never back, so what
was left out is not met again.
"""

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from massivetext.config import Train
from massivetext.dataset import read_json, sha256_file, sha256_json
from massivetext.errors import ConfigError, InputError, StageError
from massivetext.shards import Records, Shards
from massivetext.storage import Location, exists
from massivetext.training_records import RecordReader, TrainingRecords

from .loss import PADDING
from .ramp import batch_size, micro_batch_size, sequences_of, steps_within

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Position:
    """Where a run stands: `step` updates done on `sequences` records; the next is `cursor`.

    `skipped` are the ranges of records [from, to) that rewinds left out, in order. Always
    `cursor` = `sequences` + the records left out.
    """

    step: int = 0
    sequences: int = 0
    cursor: int = 0
    skipped: tuple[tuple[int, int], ...] = ()

    def after(self, size: int) -> "Position":
        """Return the position after an update on the next `size` records."""
        return replace(
            self, step=self.step + 1, sequences=self.sequences + size, cursor=self.cursor + size
        )

    def skip_to(self, record: int) -> "Position":
        """Return the position with the records up to `record` left out."""
        skipped = (*self.skipped, (self.cursor, record))
        return replace(self, cursor=record, skipped=skipped)

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "sequences": self.sequences,
            "cursor": self.cursor,
            "skipped_ranges": [list(bounds) for bounds in self.skipped],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Position":
        skipped = tuple((start, stop) for start, stop in value["skipped_ranges"])
        return cls(value["step"], value["sequences"], value["cursor"], skipped)


class Batch(NamedTuple):
    """`inputs` and `targets`, both int32 [B, T]; a target is the token after its input."""

    inputs: Int32
    targets: Int32


def to_batch(records: Records) -> Batch:
    """Split records into inputs and targets; what is not a real target becomes `PADDING`."""
    tokens = records.tokens.astype(np.int32)
    targets = tokens[:, 1:].copy()
    targets[np.arange(targets.shape[1]) >= records.targets[:, None]] = PADDING
    return Batch(tokens[:, :-1], targets)


def fingerprint(shards: TrainingRecords) -> str:
    """Return the sha256 of the manifest, which identifies the shards' files, or the stores."""
    return sha256_json(shards.manifest)


def require_same_build(root: Location, shards: Shards) -> None:
    """Refuse shards that are not those of the build in `root`, as far as the build is there.

    Raises:
      InputError: their manifest is not the one that was written, or the tokenizer is another.
    """
    path = shards.folder / "manifest.json"
    stage = root / "manifests" / "shards.json"
    if exists(stage):
        written = {entry["path"]: entry["sha256"] for entry in read_json(stage)["files"]}
        if written.get("shards/manifest.json") != sha256_file(path):
            raise InputError(
                f"{path} is not the manifest that the build wrote (its sha256 is another): restore "
                f"it, or delete {stage} and build again"
            )
    tokenizer = root / "tokenizer" / "tokenizer.model"
    if exists(tokenizer) and sha256_file(tokenizer) != shards.manifest["tokenizer_sha256"]:
        raise InputError(
            f"the shards in {shards.folder} were made with another tokenizer than {tokenizer}; "
            "build again"
        )


def require_enough(train: Train, shards: TrainingRecords) -> None:
    """Refuse a run that is longer than its data.

    Repetition of data is decided once, by the mixture's budget and `max_epochs`.

    Raises:
      ConfigError: the batches of `steps` pass the number of records; says what to change.
    """
    needed = sequences_of(train)
    if needed > len(shards):
        fits = steps_within(train, len(shards))
        shorter = f"lower train.steps to at most {fits:,}, or " if fits else ""
        size = f"{train.batch_size:,}"
        if train.batch_ramp is not None:
            size = f"{train.batch_ramp.points[0].batch_size:,} to {size}"
        raise ConfigError(
            f"train.steps {train.steps:,} x train.batch_size {size} need {needed:,} "
            f"sequences and the shards in {shards.folder} hold {len(shards):,}: {shorter}"
            f"raise mixture.tokens to at least {needed * shards.sequence_length:,} and build again"
        )


def require_left(train: Train, shards: TrainingRecords, position: Position, spike: int) -> None:
    """Refuse to go on from `position`, after the spike at step `spike`, when the rest of the run is
    longer than the rest of the data.

    Raises:
      StageError: says what to change.
    """
    assert train.spikes is not None
    over = position.cursor + sequences_of(train) - position.sequences - len(shards)
    if over > 0:
        fewer = train.spikes.skip - -(-over // batch_size(train, position.sequences))
        lower = f"lower train.spikes.skip to at most {fewer:,}, " if fewer >= 0 else ""
        needed = (len(shards) + over) * shards.sequence_length
        raise StageError(
            f"the loss spiked at step {spike:,}; without the records around it the shards in "
            f"{shards.folder} are {over:,} sequences too short for the rest of the run: {lower}"
            "remove train.spikes to go on as it is, or raise mixture.tokens to at least "
            f"{needed:,} and begin again"
        )


def text_bytes_per_target(manifest: Mapping[str, Any]) -> float | None:
    """Return the bytes of text that a target of the training mixture stands for.

    Estimated from the held-out documents, which are drawn from the same subsets: their bytes per
    target, weighted by the tokens of each subset in the mixture. None when a subset that is trained
    on holds nothing out.
    """
    heldout = manifest["heldout"]
    used = {s["name"]: s["tokens"] for s in manifest["subsets"] if s.get("tokens")}
    if not used or not all(heldout.get(name, {}).get("text_bytes") for name in used):
        return None
    total = sum(
        tokens * heldout[name]["text_bytes"] / heldout[name]["targets"]
        for name, tokens in used.items()
    )
    return float(total / sum(used.values()))


class Feed(NamedTuple):
    """The batch of one update.

    `inputs` and `targets` are [M, b, T]: the largest batch of the run in micro-batches, of which
    the first `micro_batches` count. `position` is that of the run after the update.
    """

    inputs: Any
    targets: Any
    micro_batches: int
    position: Position


def batches(
    shards: RecordReader,
    train: Train,
    start: Position,
    place: Callable[[Int32], Any] = lambda array: array,
) -> Generator[Feed, None, None]:
    """Yield the batches from `start` to the end of the run.

    A thread reads one ahead of the step that computes.

    Args:
      place: what to make of the arrays, in that thread: puts them on the devices.
    """
    micro = micro_batch_size(train)

    def read(position: Position) -> Feed:
        size = batch_size(train, position.sequences)
        batch = to_batch(shards.read(position.cursor, position.cursor + size))
        missing = ((0, train.batch_size - size), (0, 0))
        inputs = np.pad(batch.inputs, missing)
        targets = np.pad(batch.targets, missing, constant_values=PADDING)
        shape = (train.batch_size // micro, micro, inputs.shape[1])
        return Feed(
            place(inputs.reshape(shape)),
            place(targets.reshape(shape)),
            size // micro,
            position.after(size),
        )

    with ThreadPoolExecutor(1, thread_name_prefix="read shards") as reader:
        ahead = reader.submit(read, start) if start.step < train.steps else None
        while ahead is not None:
            feed = ahead.result()
            left = feed.position.step < train.steps
            ahead = reader.submit(read, feed.position) if left else None
            yield feed
