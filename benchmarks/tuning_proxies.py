"""Rows of tuning.py: proxies an hour in worker processes, beside one process with every core."""

import os
import resource
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from report import Bench, Row, median
from train_corpus import write_tokens

from massivetext.config import Config, Mixture, Subset, Train
from massivetext.config_train import Override
from massivetext.dataset import write_json
from massivetext.experiments.pool import run_jobs
from massivetext.experiments.proxies import Proxy
from massivetext.experiments.proxy_jobs import make_folder, make_jobs

LENGTH, VOCAB, TOKENS = 256, 4096, 400_000
NAMES = ("a", "b", "c", "d")
RUNS, QUICK_RUNS = 12, 4
TRAIN = Train(
    override=Override(layers=2, d_model=64, heads=2, kv_size=32), steps=60, learning_rate=0.004
)


class Side(NamedTuple):
    """A way to train the same proxies: `train` as changed, `flags` for XLA besides."""

    workers: int = 1
    threads: int = 1
    train: Train = TRAIN
    flags: str = ""


def throughput(bench: Bench) -> None:
    """Runs an hour of one process with all threads, and of a worker of one thread for each core.

    The process trains as `massivetext train` does, on whole batches, and once more in the workers'
    micro-batches.
    """
    cores = len(os.sched_getaffinity(0))
    workers, same = f"{cores} workers", "one process, micro-batches"
    whole = replace(TRAIN, micro_batch_size=TRAIN.batch_size)
    sides = {
        "one process": Side(threads=cores, train=whole),
        same: Side(threads=cores),
        workers: Side(workers=cores),
    }
    hourly = _measure(bench, "proxies", sides, QUICK_RUNS if bench.quick else RUNS)
    ratio = hourly[workers] / hourly["one process"]
    bench.report.add(Row("proxies", "workers to one process", ratio, "x", at_least=1.5))
    ratio = hourly[workers] / hourly[same]
    bench.report.add(Row("proxies", "workers to one process, micro-batches", ratio, "x"))


def variants(bench: Bench) -> None:
    """One worker, changed in one thing at a time: where its time goes.

    If eight times the steps, each of one sequence, take hardly longer, it computes all the time,
    and training several models in one program would save nothing.
    """
    single = replace(TRAIN, batch_size=1, steps=8 * TRAIN.steps)
    sides = {
        "one thread": Side(),
        "all threads": Side(threads=len(os.sched_getaffinity(0))),
        "vectors of 512 bits": Side(flags="--xla_cpu_prefer_vector_width=512"),
        "nothing computed again": Side(train=replace(TRAIN, remat="none")),
        "whole batches": Side(train=replace(TRAIN, micro_batch_size=TRAIN.batch_size)),
        "batches of one sequence": Side(train=single),
        "half the steps": Side(train=replace(TRAIN, steps=TRAIN.steps // 2)),
    }
    _measure(bench, "variants", sides, QUICK_RUNS)


def _measure(bench: Bench, section: str, sides: dict[str, Side], runs: int) -> dict[str, float]:
    """Report runs an hour and CPU seconds of a run of each side, on the same random tokens; return
    the former. Both count from the start of the processes; what they compile is there before."""
    root, config = _build(bench.folder / "output")
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(bench.repetitions):
        for name, side in sides.items():
            folder = bench.folder / "runs"
            shutil.rmtree(folder, ignore_errors=True)
            proxies = _proxies(side.train, runs + 1)
            with _flags(side.flags):
                _run(root, config, proxies[:1], folder, side)
                taken[name].append(_run(root, config, proxies[1:], folder, side))
    hourly = {}
    for name, times in taken.items():
        seconds, cpu = ([pair[i] for pair in times] for i in (0, 1))
        hourly[name] = 3600 * runs / median(seconds)
        detail = {"runs": runs, "seconds": seconds}
        bench.report.add(Row(section, name, hourly[name], "runs/h", detail=detail))
        bench.report.add(Row(section, f"{name}, CPU", median(cpu) / runs, "s/run"))
    return hourly


def _build(root: Path) -> tuple[Path, Config]:
    """Write token stores of random tokens; return their root and a config for them."""
    config = Config(
        output=str(root),
        subsets={name: Subset(input=("none",)) for name in NAMES},
        mixture=Mixture(sequence_length=LENGTH, max_epochs=100),
    )
    random = np.random.default_rng(1)
    stores = {name: random.integers(2, VOCAB, TOKENS, np.uint16) for name in NAMES}
    held = {name: values[:10_000] for name, values in stores.items()}
    manifest = write_tokens(root, {"subsets": stores, "heldout": held}, VOCAB, 1)
    write_json(root / "manifests" / "tokens.json", manifest)
    return root, config


def _proxies(train: Train, count: int) -> list[Proxy]:
    """Return runs as those of a search: of one seed, each on a mixture of its own."""
    drawn = np.random.default_rng(2).dirichlet([4.0] * len(NAMES), count)
    return [
        Proxy(f"{number:03d}", dict(zip(NAMES, weights.tolist(), strict=True)), train, 1)
        for number, weights in enumerate(drawn)
    ]


def _run(
    root: Path, config: Config, proxies: Sequence[Proxy], folder: Path, side: Side
) -> tuple[float, float]:
    """Return the seconds, and the CPU seconds of the worker processes."""
    jobs = make_jobs(root, config, proxies, folder, None, None)
    for job in jobs:
        make_folder(job)
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    run_jobs(jobs, side.workers, folder / "compiled", lambda job: None, side.threads)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu


@contextmanager
def _flags(flags: str) -> Iterator[None]:
    """Let workers be started with these flags for XLA besides those of this process."""
    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = f"{before or ''} {flags}".strip()
    try:
        yield
    finally:
        if before is None:
            del os.environ["XLA_FLAGS"]
        else:
            os.environ["XLA_FLAGS"] = before
