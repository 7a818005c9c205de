"""Shards as a `tf.data.Dataset`. Needs the extra `tf`; nothing else here imports TensorFlow."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import shards
from .errors import MassivetextError
from .record_files import share

if TYPE_CHECKING:
    import tensorflow as tf

COLUMNS = ("subset", "sequence", "epoch", "targets")


def as_tf_dataset(
    manifest: Path | str,
    batch_size: int,
    *,
    start: int = 0,
    shard: int = 0,
    num_shards: int = 1,
    check: bool = True,
) -> "tf.data.Dataset":
    """Return the training batches of shards, in training order, as `tf.data`.

    Element i is step `start + i`: a dict of `tokens` (int32 [B, L + 1]) and of `subset`,
    `sequence`, `epoch` and `targets` (int64 [B]; `massivetext.shards.Records` says what they are),
    where B = batch_size / num_shards. The dataset ends with the last full batch. Starting at a step
    reads nothing of the steps before it.

    Args:
      manifest: `manifest.json` of the shards, or its folder.
      batch_size: records of a step, over all readers.
      start: the first step.
      shard, num_shards: which of how many readers this is; each takes a run of every batch, so
        together they take every record of a step once.
      check: judge every record that is read: CRC-32C, and tokens within the vocabulary.

    Raises:
      MassivetextError: TensorFlow is not installed.
      InputError: the shards cannot be opened. (A record found corrupt later is a
        `tf.errors.OpError` with the same message.)
      ValueError: `start` lies behind the records, or `batch_size` cannot be shared evenly.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MassivetextError(
            'TensorFlow is not installed; run: pip install "massivetext[tf]"'
        ) from error

    opened = shards.open(manifest, check)
    rows = share(batch_size, shard, num_shards)
    steps = len(opened) // batch_size
    if not 0 <= start <= steps:
        raise ValueError(f"start {start} is outside the {steps:,} steps of {batch_size:,} records")

    def read(step: np.int64) -> tuple[np.ndarray, ...]:
        records = opened.batch(int(step), batch_size, shard, num_shards)
        columns = (getattr(records, name) for name in COLUMNS)
        return records.tokens.astype(np.int32), *columns

    def load(step: "tf.Tensor") -> dict[str, "tf.Tensor"]:
        kinds = [tf.int32, *[tf.int64] * len(COLUMNS)]
        tokens, *columns = tf.numpy_function(read, [step], kinds)
        tokens.set_shape([len(rows), opened.sequence_length + 1])
        for column in columns:
            column.set_shape([len(rows)])
        return {"tokens": tokens, **dict(zip(COLUMNS, columns, strict=True))}

    dataset = tf.data.Dataset.range(start, steps)
    return dataset.map(load, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
