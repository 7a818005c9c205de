"""Rows of train.py: tokens per second of training, beside GPT-2 in PyTorch and a GPT in flax."""

import os
from typing import Any

import corpora
from peers import Contender, Environment, in_turns
from report import Bench, Row, median

from massivetext.errors import StageError

TRANSFORMERS = Environment("transformers", ("torch==2.15.0", "transformers==5.23.0"))
FLAX = Environment("flax", ("flax==0.12.8", "jax==0.10.2", "optax==0.2.8"))

SHAPES = {
    # nanoGPT's example for a CPU: Shakespeare by characters.
    "4 x 128": {
        "layers": 4, "heads": 4, "width": 128, "context": 64, "batch": 12, "vocab": 65,
        "steps": 100,
    },
    "6 x 256": {
        "layers": 6, "heads": 8, "width": 256, "context": 256, "batch": 8, "vocab": 4096,
        "steps": 12,
    },
}  # fmt: skip
QUICK_STEPS = 4
WARM_UP = 3


def speed(bench: Bench) -> None:
    """Whole updates in float32 on one core and on all, each kept to as many cores; in turns."""
    nothing = corpora.write_jsonl(bench.folder / "none.jsonl", [])
    for shape, sizes in SHAPES.items():
        for threads in sorted({1, _cores()}):
            options = {**sizes, "threads": threads, "warm_up": WARM_UP, "remat": "none"}
            if bench.quick:
                options["steps"] = QUICK_STEPS
            contenders = [
                Contender("massivetext", "massivetext_train.py", options=options),
                Contender("transformers", "torch_gpt2_train.py", TRANSFORMERS, options),
                Contender("flax", "flax_gpt_train.py", FLAX, options),
            ]
            results = in_turns(contenders, nothing, bench.repetitions, bench.report.body["peers"])
            what = f"{shape}, {threads} thread{'s' if threads > 1 else ''}"
            _rows(bench, what, options, results)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _rows(
    bench: Bench, what: str, options: dict[str, Any], results: dict[str, list[dict[str, Any]]]
) -> None:
    """Add tokens per second of each, and how often a peer's massivetext has of them."""
    counts = {run["parameters"] for runs in results.values() for run in runs}
    if len(counts) != 1:
        raise StageError(f"not the same model: {sorted(counts)} parameters")
    tokens = options["batch"] * options["context"]
    seconds = {name: _step_seconds(runs) for name, runs in results.items() if runs}
    detail: dict[str, Any] = {
        "options": options,
        "parameters": counts.pop(),
        "step_seconds": {
            name: [run["step_seconds"] for run in runs] for name, runs in results.items()
        },
        "cpu_seconds_per_step": {
            name: [run["seconds"] / len(run["step_seconds"]) for run in runs]
            for name, runs in results.items()
        },
        "losses": {
            name: [(run["first_loss"], run["last_loss"]) for run in runs]
            for name, runs in results.items()
        },
    }
    rate = tokens / seconds["massivetext"]
    bench.report.add(Row("speed", what, rate, "tokens/s", detail=detail))
    for name in results:
        if name == "massivetext":
            continue
        times = f"times {name}, {what}"
        if name not in seconds:
            why = bench.report.body["peers"][name]["note"]
            bench.report.add(Row("speed", times, None, "x", at_least=1, note=why))
            continue
        detail = {"tokens_per_second": tokens / seconds[name]}
        ratio = seconds[name] / seconds["massivetext"]
        bench.report.add(Row("speed", times, ratio, "x", at_least=1, detail=detail))


def _step_seconds(runs: list[dict[str, Any]]) -> float:
    """Return the median step of the median run: a stall of the machine is not the trainer's."""
    return median([median(run["step_seconds"]) for run in runs])
