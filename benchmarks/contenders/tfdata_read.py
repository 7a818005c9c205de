"""TensorFlow's TFRecordDataset, which checks CRCs, with one thread (more cost more CPU seconds).

Options: `folder`, `batch`; `whole`: batch first, then parse whole batches, which is fastest; else
parse single records, then batch, as most programs do. `sum` is of all tokens.
"""

import json
from pathlib import Path
from typing import Any

import tensorflow as tf
from contender import Document, Stopwatch, main


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    folder = Path(options["folder"])
    manifest = json.loads((folder / "manifest.json").read_text())
    files = [str(folder / file["path"]) for file in manifest["files"]]
    features = {
        "tokens": tf.io.FixedLenFeature([], tf.string),
        **{n: tf.io.FixedLenFeature([], tf.int64) for n in ("subset", "sequence", "epoch")},
    }

    def parse(records: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.io.parse_example(records, features)
        return {**found, "tokens": tf.io.decode_raw(found["tokens"], manifest["dtype"])}

    def parse_one(record: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.io.parse_single_example(record, features)
        return {**found, "tokens": tf.io.decode_raw(found["tokens"], manifest["dtype"])}

    dataset, size = tf.data.TFRecordDataset(files), options["batch"]
    whole = options["whole"]
    dataset = dataset.batch(size).map(parse) if whole else dataset.map(parse_one).batch(size)
    single = tf.data.Options()
    single.threading.private_threadpool_size = 1
    single.threading.max_intra_op_parallelism = 1
    dataset = dataset.with_options(single)
    next(iter(dataset))
    watch = Stopwatch()
    total = 0
    batches = dataset.as_numpy_iterator()
    while True:
        with watch:
            batch = next(batches, None)
        if batch is None:
            break
        total += int(batch["tokens"].sum(dtype="int64"))
    return {
        **watch.result(),
        "sum": total,
        "configuration": "TFRecordDataset, one thread, "
        + (f"batch({size}), then parse_example" if whole else "parse_single_example, then batch"),
    }


main(measure)
