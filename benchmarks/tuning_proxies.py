"""Rows of tuning.py: proxies an hour in worker processes, beside one process with every core."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from report import Bench, Row, median
from train_corpus import write_tokens

from massivetext.config import Config, Mixture, Subset, Train
from massivetext.config_train import Override
from massivetext.dataset import write_json
from massivetext.experiments.pool import environment
from massivetext.experiments.proxies import Proxy, run_proxies
from massivetext.experiments.proxy_jobs import make_folder, make_jobs

LENGTH, VOCAB, TOKENS = 256, 4096, 400_000
NAMES = ("a", "b", "c", "d")
STEPS, RUNS, QUICK_RUNS = 60, 8, 4
TRAIN = Train(
    override=Override(layers=2, d_model=64, heads=2, kv_size=32), steps=STEPS, learning_rate=0.004
)
# What a worker is told that keeps it to one thread.
SINGLE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC", "XLA_FLAGS")


def throughput(bench: Bench) -> None:
    """The same runs, on random tokens; each side first trains one, which compiles."""
    root = bench.folder / "output"
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
    runs = QUICK_RUNS if bench.quick else RUNS
    weights = dict.fromkeys(NAMES, 0.25)
    proxies = [Proxy(f"{seed:03d}", weights, TRAIN, seed) for seed in range(1, runs + 2)]
    cores = len(os.sched_getaffinity(0))
    sides = {"one process": 1, f"{cores} workers": cores}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(bench.repetitions):
        for name, workers in sides.items():
            folder = bench.folder / "runs"
            shutil.rmtree(folder, ignore_errors=True)
            if name == "one process":
                seconds[name].append(_one_process(root, config, proxies, folder))
            else:
                run_proxies(root, config, proxies[:1], folder, workers=1, quiet=True)
                began = time.monotonic()
                run_proxies(root, config, proxies, folder, workers=workers, quiet=True)
                seconds[name].append(time.monotonic() - began)
    hourly = {name: 3600 * runs / median(times) for name, times in seconds.items()}
    for name, value in hourly.items():
        bench.report.add(Row("proxies", name, value, "runs/h", detail={"seconds": seconds[name]}))
    ratio = hourly[f"{cores} workers"] / hourly["one process"]
    bench.report.add(Row("proxies", "workers to one process", ratio, "x", at_least=1.5))


def _one_process(root: Path, config: Config, proxies: list[Proxy], folder: Path) -> float:
    """Return the seconds of all proxies but the first in one process with threads as JAX has them,
    which finds what it compiled for the first in the same cache."""
    jobs = make_jobs(root, config, proxies, folder, None, None)
    variables = {k: v for k, v in environment(folder / "compiled").items() if k not in SINGLE}
    command = [sys.executable, "-m", "massivetext.experiments.worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        began = 0.0
        for number, job in enumerate(jobs):
            make_folder(job)
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if "error" in answer:
                raise RuntimeError(answer["why"])
            if number == 0:
                began = time.monotonic()
        taken = time.monotonic() - began
        process.stdin.close()
    return taken
