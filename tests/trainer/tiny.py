"""A tiny dataset of shards, written record by record, and a tiny config to train on it."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from massivetext.config import Config, Subset, Train
from massivetext.config_train import Override
from massivetext.dataset import write_json
from massivetext.shards import FORMAT, VERSION
from massivetext.tfrecord import layout

VOCAB, LENGTH, RECORDS, HELD_OUT = 61, 16, 64, 5
PAD, EOS = 0, 1
TOKENIZER_SHA256 = hashlib.sha256(b"tokenizer").hexdigest()
HELD_OUT_TARGETS = LENGTH * (HELD_OUT - 1) + 7
TRAIN = Train(
    override=Override(layers=2, heads=2, kv_size=4, d_model=8),
    steps=12,
    batch_size=4,
    learning_rate=1e-2,
    checkpoint_every=5,
    evaluate_sequences=64,
)


def config(**changes: Any) -> Config:
    return Config(
        output="unused", subsets={"books": Subset(input=("x",))}, train=replace(TRAIN, **changes)
    )


def counting(records: int, seed: int) -> np.ndarray:
    """Sequences [n, LENGTH + 1] in which the next token is the last plus one: easy to learn."""
    first = np.random.default_rng(seed).integers(3, VOCAB, (records, 1))
    return ((first - 3 + np.arange(LENGTH + 1)) % (VOCAB - 3) + 3).astype(np.uint16)


def write_shards(root: Path, records: int = RECORDS, seed: int = 0) -> Path:
    """Write `root/shards` with one subset, books, and one held-out set of 71 targets."""
    folder = root / "shards"
    (folder / "heldout").mkdir(parents=True)
    heldout = counting(HELD_OUT, 99)
    heldout[-1, 8:] = PAD
    entries = []
    parts = {"train.tfrecord": counting(records, seed), "heldout/books.tfrecord": heldout}
    for name, tokens in parts.items():
        number = np.arange(len(tokens))
        rows = layout(LENGTH + 1, "uint16").encode(tokens, 0 * number, number, 0 * number)
        (folder / name).write_bytes(rows.tobytes())
        data = rows.tobytes()
        sha256 = hashlib.sha256(data).hexdigest()
        entries.append({"path": name, "bytes": len(data), "sha256": sha256})
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "sequence_length": LENGTH,
        "record_bytes": layout(LENGTH + 1, "uint16").record_bytes,
        "sequences": records,
        "tokenizer_sha256": TOKENIZER_SHA256,
        "dtype": "uint16",
        "vocab_size": VOCAB,
        "pad_id": PAD,
        "eos_id": EOS,
        "subsets": [{"index": 0, "name": "books", "available_tokens": records * LENGTH}],
        "files": [{**entries[0], "records": records}],
        "heldout": {
            "books": {
                **entries[1],
                "sequences": HELD_OUT,
                "targets": HELD_OUT_TARGETS,
                "text_bytes": 300,
                "documents": 2,
            }
        },
    }
    write_json(folder / "manifest.json", manifest)
    return root
