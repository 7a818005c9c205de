"""Rows of shards.py: reading in order and at random beside tf.data, and starting at a late step."""

import json
import time
from pathlib import Path
from typing import Any

import corpora
import numpy as np
from peers import Contender, Environment, in_turns
from report import Bench, Row, median

from massivetext import shards
from massivetext.errors import StageError
from massivetext.tfrecord import layout

TENSORFLOW = Environment("tensorflow", ("tensorflow-cpu==2.21.0",))

TF_RECORDS, TF_BATCHES = "tf.data by records", "tf.data by batches"

LENGTH, VOCAB_SIZE = 2048, 32_000
SHARD_RECORDS = 16_384
BATCH = 256


def read(bench: Bench) -> None:
    """All records in order, then records at random, CRC on; tf.data, as docs/shards.md has it."""
    total = 4096 if bench.quick else 245_760
    folder = bench.folder / "shards"
    size = _write(folder, total)
    options = {"folder": str(folder), "batch": BATCH}
    chosen = 2000 if bench.quick else 200_000
    contenders = [
        Contender("massivetext", "massivetext_read.py", options={**options, "random": chosen}),
        *(
            Contender(name, "tfdata_read.py", TENSORFLOW, {**options, "whole": name == TF_BATCHES})
            for name in (TF_RECORDS, TF_BATCHES)
        ),
    ]
    nothing = corpora.write_jsonl(bench.folder / "none.jsonl", [])
    results = in_turns(contenders, nothing, bench.repetitions, bench.report.body["peers"])
    ours = results["massivetext"]
    seconds = median([run["seconds"] for run in ours])
    detail: dict[str, Any] = {"bytes": size, "records": total, "seconds": seconds}
    rate = size / 1e6 / seconds
    what = "in order, CRC on"
    bench.report.add(Row("read", what, rate, "MB/s", at_least=800, detail=detail))
    bench.report.add(Row("read", what, total / seconds, "records/s"))
    rate = chosen / median([run["random_seconds"] for run in ours])
    what = "one by one at random, CRC on"
    bench.report.add(Row("read", what, rate, "records/s", at_least=60_000))
    for name in (TF_RECORDS, TF_BATCHES):
        theirs, times = results[name], f"times {name}"
        if not theirs:
            why = bench.report.body["peers"][name]["note"]
            bench.report.add(Row("read", times, None, "x", at_least=5, note=why))
            continue
        if {run["sum"] for run in ours} != {run["sum"] for run in theirs}:
            raise StageError(f"{name} and massivetext read different tokens")
        other = median([run["seconds"] for run in theirs])
        walls = {
            "massivetext": median([run["wall_seconds"] for run in ours]),
            name: median([run["wall_seconds"] for run in theirs]),
        }
        bench.report.add(Row("read", f"{name}, in order", total / other, "records/s"))
        detail = {"wall_seconds": walls}
        bench.report.add(Row("read", times, other / seconds, "x", at_least=5, detail=detail))


def jump(bench: Bench) -> None:
    """The batch of a late step of a plan of 300 B tokens: its shards are there, but sparse."""
    total, step = 300_000_000_000 // LENGTH, 1_000_000
    batch = total // step
    if bench.quick:
        total, step = total // 100, step // 100
    folder = bench.folder / "shards"
    record = layout(LENGTH + 1, "uint16")
    _manifest(folder, total)
    for path, first, count in _files(folder, total):
        with path.open("wb") as file:
            file.truncate(count * record.record_bytes)
            # Real records only where the step lies.
            for k in range(max(first, step * batch - batch), min(first + count, step * batch)):
                file.seek((k - first) * record.record_bytes)
                file.write(_records(k, 1).tobytes())
    begin = time.perf_counter()
    opened = shards.open(folder)
    opening = time.perf_counter() - begin
    times = []
    for _ in range(bench.repetitions):
        fresh = shards.open(folder)
        begin = time.perf_counter()
        found = fresh.batch(step - 1, batch)
        times.append(time.perf_counter() - begin)
        assert len(found.tokens) == batch
    detail = {"records": total, "batch": batch, "shards": len(opened.paths), "seconds": times}
    what = f"to step {step:,} of {total * LENGTH / 1e9:,.0f} B tokens, CRC on"
    row = Row("jump", what, median(times) * 1000, "ms", at_most=10, detail=detail)
    bench.report.add(row)
    what = f"opening {len(opened.paths):,} shards"
    bench.report.add(Row("jump", what, opening * 1000, "ms"))


def _files(folder: Path, total: int) -> list[tuple[Path, int, int]]:
    """Return (path, first record, records) of each shard."""
    starts = range(0, total, SHARD_RECORDS)
    return [
        (
            folder / f"train-{number:05d}-of-{len(starts):05d}.tfrecord",
            start,
            min(SHARD_RECORDS, total - start),
        )
        for number, start in enumerate(starts)
    ]


def _records(start: int, count: int) -> np.ndarray:
    tokens = np.random.default_rng(start).integers(0, VOCAB_SIZE, (count, LENGTH + 1))
    zeros = np.zeros(count, np.int64)
    sequence = np.arange(start, start + count)
    return layout(LENGTH + 1, "uint16").encode(tokens.astype(np.uint16), zeros, sequence, zeros)


def _write(folder: Path, total: int) -> int:
    """Write shards of random tokens; return their bytes."""
    _manifest(folder, total)
    size = 0
    for path, first, count in _files(folder, total):
        with path.open("wb") as file:
            for start in range(first, first + count, BATCH):
                size += file.write(_records(start, min(BATCH, first + count - start)).tobytes())
    return size


def _manifest(folder: Path, total: int) -> None:
    folder.mkdir()
    width = layout(LENGTH + 1, "uint16").record_bytes
    manifest = {
        "format": shards.FORMAT, "version": shards.VERSION, "sequence_length": LENGTH,
        "record_bytes": width, "dtype": "uint16", "vocab_size": VOCAB_SIZE, "eos_id": 1,
        "pad_id": 0, "tokenizer_sha256": "0" * 64, "seed": 0, "sequences": total, "heldout": {},
        "subsets": [{"index": 0, "name": "all", "available_tokens": total * LENGTH}],
        "files": [
            {"path": path.name, "records": count, "bytes": count * width, "sha256": "0" * 64}
            for path, _, count in _files(folder, total)
        ],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
