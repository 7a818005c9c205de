"""Rows of train.py: how long the loop waits for its next batch when a step takes 50 ms."""

import time
from functools import partial
from pathlib import Path

import numpy as np
from report import Bench, Row, median
from train_corpus import write_shards

from massivetext.config import Config, Mixture, Subset, Train
from massivetext.shards import Shards

LENGTH, VOCAB = 2048, 32_000
STEP_SECONDS = 0.05
BATCHES = (8, 128)
STEPS, QUICK_STEPS = 100, 10


def waiting(bench: Bench) -> None:
    """Records of 2,049 tokens, read, checked and put on the device; a sleep stands for a step."""
    steps = QUICK_STEPS if bench.quick else STEPS
    folder = bench.folder / "output"
    need = steps * max(BATCHES) * LENGTH
    write_shards(folder, _config(folder, Train(), need), _random(need), VOCAB, 1)
    for batch in BATCHES:
        train = Train(steps=steps, batch_size=batch)
        runs = [_waits(folder, train) for _ in range(bench.repetitions)]
        share = median([sum(waits[1:]) / len(waits[1:]) for waits in runs]) / STEP_SECONDS
        detail = {"waits_seconds": runs}
        what = f"waiting of a {STEP_SECONDS * 1000:.0f} ms step, {batch} sequences"
        row = Row("input", what, share * 100, "%", at_most=1, detail=detail)
        bench.report.add(row)
        # The first batch is asked for when nothing was read ahead.
        first = median([waits[0] for waits in runs]) * 1000
        bench.report.add(Row("input", f"first batch, {batch} sequences", first, "ms"))


def _config(folder: Path, train: Train, tokens: int) -> Config:
    return Config(
        output=str(folder),
        subsets={"random": Subset(input=("none",))},
        mixture=Mixture(tokens=tokens, weights={"random": 1.0}, sequence_length=LENGTH),
        train=train,
    )


def _random(tokens: int) -> dict[str, dict[str, np.ndarray]]:
    drawn = np.random.default_rng(1).integers(2, VOCAB, tokens, np.uint16)
    return {"subsets": {"random": drawn}, "heldout": {}}


def _waits(folder: Path, train: Train) -> list[float]:
    """Return the seconds from asking for each batch to having it on the device."""
    # Only now: sections that need no JAX start without it.
    import jax

    from massivetext.trainer.data import Position, batches
    from massivetext.trainer.sharding import batch_sharding, make_mesh

    split = batch_sharding(make_mesh(train.mesh, train.batch_size))
    place = partial(jax.device_put, device=split)
    feed = batches(Shards.open(folder / "shards"), train, Position(), place)
    waits = []
    for _ in range(train.steps):
        begin = time.perf_counter()
        jax.block_until_ready(next(feed).inputs)
        waits.append(time.perf_counter() - begin)
        time.sleep(STEP_SECONDS)
    return waits
