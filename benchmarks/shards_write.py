"""Rows of shards.py: the stage that writes shards from token stores, and its memory."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from processes import Finished, python
from report import Bench, Row, median

from massivetext.errors import StageError
from massivetext.presets import MIXTURES

SCRIPT = Path(__file__).parent / "contenders" / "massivetext_mix.py"
VOCAB_SIZE, EOS, PAD = 32_000, 1, 0
DOCUMENT = 1000
PART_TOKENS = 20_000_000
ITEM = 2
# What it takes to start is measured on shards of so many bytes of tokens, and taken off.
START = 1_000_000
SIZES = (1_000_000_000, 20_000_000_000)
# Where the disk has less free than so many times the large size, it is a tenth of that.
DISK_SIZES = 2.2


def write(bench: Bench) -> None:
    """Token stores of MassiveText's subsets, as random ids, to shards of 2,048 + 1 tokens."""
    sizes = (4_000_000, 20_000_000) if bench.quick else SIZES
    if not bench.quick and shutil.disk_usage(bench.folder).free < DISK_SIZES * sizes[1]:
        sizes = (sizes[0], sizes[1] // 10)
    least = _runs(bench, START, bench.repetitions)
    peaks = []
    for size in sizes:
        # The large one is long enough to be taken once.
        runs = _runs(bench, size, bench.repetitions if size == sizes[0] else 1)
        peaks.append(_report(bench, size, runs, least))
    growth = peaks[1] / peaks[0]
    what = f"memory, {sizes[1] / 1e6:,.0f} MB / {sizes[0] / 1e6:,.0f} MB"
    bench.report.add(Row("write", what, growth, "x", at_most=1.15))


def _runs(bench: Bench, size: int, repetitions: int) -> list[Finished]:
    """Return runs that write shards of `size` bytes of tokens."""
    root = bench.folder / "output"
    tokens = bench.folder / "tokens.json"
    tokens.write_text(json.dumps(_stores(root, size)))
    runs = []
    for _ in range(repetitions):
        for name in ("shards", "manifests"):
            shutil.rmtree(root / name, ignore_errors=True)
        runs.append(python([str(SCRIPT), str(root), str(tokens), str(size // ITEM)], watch=True))
    shutil.rmtree(root)
    return runs


def _report(bench: Bench, size: int, runs: list[Finished], least: list[Finished]) -> int:
    """Add the rows of one size; `least` are runs of `START` bytes. Return the peak of a worker."""
    wall, start = [run.seconds for run in runs], [run.seconds for run in least]
    busy = median([run.cpu_seconds for run in runs]) - median([run.cpu_seconds for run in least])
    workers = [memory for run in runs for memory in run.workers.values()]
    if not workers:
        raise StageError("no worker was seen: memory is watched on Linux alone")
    detail: dict[str, Any] = {"bytes": size, "seconds": wall, "start": start, "cpu_seconds": busy}
    what, more = f"{size / 1e6:,.0f} MB of tokens", (size - START) / 1e6
    rate = more / (median(wall) - median(start))
    bench.report.add(Row("write", f"{what}, 1 worker", rate, "MB/s", detail=detail))
    name = f"{what}, by CPU time"
    bench.report.add(Row("write", name, more / busy, "MB/s", at_least=150))
    detail = {
        "pss_bytes": max(memory.pss for memory in workers),
        "driver_rss_bytes": max(run.driver.rss for run in runs),
    }
    peak = max(memory.rss for memory in workers)
    name = f"{what}, peak of a worker"
    row = Row("write", name, peak / 1e6, "MB", at_most=1000, detail=detail)
    bench.report.add(row)
    return peak


def _stores(root: Path, size: int) -> dict[str, Any]:
    """Write token stores of `size` bytes, shared as Gopher's mixture; return their manifest."""
    random = np.random.default_rng(1)
    block = random.integers(2, VOCAB_SIZE, PART_TOKENS).astype("<u2")
    block[DOCUMENT - 1 :: DOCUMENT] = EOS
    subsets = {}
    weights = MIXTURES["gopher"]
    for name, weight in weights.items():
        # One more than the budget takes, so that no subset begins a second epoch.
        left = int(size / ITEM * weight / sum(weights.values())) // DOCUMENT * DOCUMENT + 4000
        total = left
        parts: list[dict[str, Any]] = []
        while left:
            tokens = min(left, PART_TOKENS)
            path = root / "tokens" / name / f"part-{len(parts):05d}.tokens"
            path.parent.mkdir(parents=True, exist_ok=True)
            block[:tokens].tofile(path)
            ends = np.arange(DOCUMENT, tokens + 1, DOCUMENT, dtype="<u8")
            ends.tofile(path.with_suffix(".documents"))
            relative = str(path.relative_to(root))
            parts.append({"path": relative, "tokens": tokens, "documents": len(ends)})
            left -= tokens
        documents = total // DOCUMENT
        subsets[name] = {
            "documents": documents, "tokens": total, "text_bytes": 4 * total, "parts": parts,
        }  # fmt: skip
    return {
        "vocab_size": VOCAB_SIZE, "dtype": "uint16", "eos_id": EOS, "pad_id": PAD,
        "tokenizer_sha256": "", "key": "", "depends": {}, "files": [], "subsets": subsets,
        "heldout": {},
    }  # fmt: skip
