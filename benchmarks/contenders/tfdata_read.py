"""TensorFlow's TFRecordDataset, which checks CRCs, parsing whole batches: the fastest order of
`batch` and `map`, and one thread (more of them cost more CPU seconds a record).

Options: `folder`, `batch`. `sum` is of all tokens.
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

    dataset = tf.data.TFRecordDataset(files).batch(options["batch"]).map(parse)
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
        "configuration": f"TFRecordDataset.batch({options['batch']}).map(parse_example, "
        "decode_raw), one thread",
    }


main(measure)
