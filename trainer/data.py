"""Batches from shards: the batch of step k is records [k·B, (k+1)·B), a pure function of k."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from massivetext.config import Train
from massivetext.dataset import read_json, sha256_file, sha256_json
from massivetext.errors import ConfigError, InputError
from massivetext.shards import RecordFiles, Records, Shards

from .loss import PADDING

Int32 = npt.NDArray[np.int32]


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


def fingerprint(shards: Shards) -> str:
    """Return the sha256 of the shards' manifest, which holds the sha256 of every file."""
    return sha256_json(shards.manifest)


def require_same_build(root: Path, shards: Shards) -> None:
    """Refuse shards that are not those of the build in `root`, as far as the build is there.

    Raises:
      InputError: their manifest is not the one that was written, or the tokenizer is another.
    """
    path = shards.folder / "manifest.json"
    stage = root / "manifests" / "shards.json"
    if stage.exists():
        written = {entry["path"]: entry["sha256"] for entry in read_json(stage)["files"]}
        if written.get("shards/manifest.json") != sha256_file(path):
            raise InputError(
                f"{path} is not the manifest that the build wrote (its sha256 is another): restore "
                f"it, or delete {stage} and build again"
            )
    tokenizer = root / "tokenizer" / "tokenizer.model"
    if tokenizer.exists() and sha256_file(tokenizer) != shards.manifest["tokenizer_sha256"]:
        raise InputError(
            f"the shards in {shards.folder} were made with another tokenizer than {tokenizer}; "
            "build again"
        )


def require_enough(train: Train, shards: Shards) -> None:
    """Refuse a run that is longer than its data.

    Repetition of data is decided once, by the mixture's budget and `max_epochs`.

    Raises:
      ConfigError: `steps` · `batch_size` passes the number of records; says what to change.
    """
    needed = train.steps * train.batch_size
    if needed > len(shards):
        length = shards.manifest["sequence_length"]
        fits = len(shards) // train.batch_size
        shorter = f"lower train.steps to at most {fits:,}, or " if fits else ""
        raise ConfigError(
            f"train.steps {train.steps:,} x train.batch_size {train.batch_size:,} need {needed:,} "
            f"sequences and the shards in {shards.folder} hold {len(shards):,}: {shorter}"
            f"raise mixture.tokens to at least {needed * length:,} and build again"
        )


def batches(shards: RecordFiles, batch_size: int, start: int, stop: int) -> Iterator[Batch]:
    """Yield the batches of steps [start, stop), reading one ahead of the step that computes."""

    def read(step: int) -> Batch:
        return to_batch(shards.read(step * batch_size, (step + 1) * batch_size))

    with ThreadPoolExecutor(1, thread_name_prefix="read shards") as reader:
        ahead = reader.submit(read, start) if start < stop else None
        for step in range(start, stop):
            assert ahead is not None
            batch = ahead.result()
            ahead = reader.submit(read, step + 1) if step + 1 < stop else None
            yield batch
