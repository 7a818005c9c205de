"""Rows of encode.py: the stage that writes token stores, and training."""

import json
import shutil
from typing import Any

import corpora
from encode_speed import SENTENCEPIECE
from peers import Contender, in_turns
from processes import massivetext
from report import Bench, Row, median

from massivetext.dataset import read_json
from massivetext.presets import TOKENIZERS
from massivetext.tokenizer.train import train


def stage(bench: Bench) -> None:
    """`massivetext tokenize`, Parquet to token stores, one worker."""
    size = 10_000_000 if bench.quick else 200_000_000
    glob, _ = corpora.repeated().write(bench.folder / "text", size, 8)
    model = bench.folder / "benchmark.model"
    sample = (d["text"] for d in corpora.sample([corpora.all_texts()], 10_000_000))
    train(sample, TOKENIZERS["chinchilla"], 8000 if bench.quick else 32_000, model)
    output = bench.folder / "output"
    config: dict[str, Any] = {
        "output": str(output),
        "subsets": {"books": {"input": [glob], "rules": []}},
        "deduplicate": {"enabled": False},
        "tokenizer": {"model": str(model)},
        "mixture": {"weights": {"books": 1.0}},
    }
    path = bench.folder / "tokenize.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(config), encoding="utf-8")
    massivetext(["train-tokenizer", str(path), "--workers", "1"])
    runs, starts = [], []
    for _ in range(bench.repetitions):
        shutil.rmtree(output / "tokens", ignore_errors=True)
        (output / "manifests" / "tokens.json").unlink(missing_ok=True)
        runs.append(massivetext(["tokenize", str(path), "--workers", "1"]))
        # Everything is there: what is left is to start, and to check.
        starts.append(massivetext(["tokenize", str(path), "--workers", "1"]))
    counts = read_json(output / "manifests" / "tokens.json")["counts"]
    wall = [run.seconds for run in runs]
    idle = [run.seconds for run in starts]
    detail = {"bytes": counts["text_bytes"], "counts": counts, "seconds": wall, "start": idle}
    megabytes = counts["text_bytes"] / 1e6
    rate = megabytes / (median(wall) - median(idle))
    what = "Parquet to token stores, 1 worker"
    bench.report.add(Row("stage", what, rate, "MB/s", at_least=25, detail=detail))
    rate = megabytes / median(wall)
    bench.report.add(Row("stage", f"{what}, start included", rate, "MB/s"))
    processor = [
        run.cpu_seconds - idle_.cpu_seconds for run, idle_ in zip(runs, starts, strict=True)
    ]
    rate = megabytes / median(processor)
    bench.report.add(Row("stage", f"{what}, by CPU time", rate, "MB/s"))


def training(bench: Bench) -> None:
    """A BPE model of 32,000 pieces on a sample of 1 GB, and plain spm_train on the same text."""
    size = 4_000_000 if bench.quick else 1_000_000_000
    options = {
        "bytes": size,
        "vocab_size": 4000 if bench.quick else 32_000,
        "model": str(bench.folder / "trained.model"),
    }
    contenders = [
        Contender("massivetext", "massivetext_train_tokenizer.py", options=options),
        Contender("spm_train", "sentencepiece_train.py", SENTENCEPIECE, options),
    ]
    path = corpora.write_jsonl(bench.folder / "documents.jsonl", corpora.all_texts())
    results = in_turns(contenders, path, 1, bench.report.body["peers"])
    for name, found in results.items():
        what = f"{size / 1e9:g} GB, {options['vocab_size']:,} pieces, {name}"
        if not found:
            why = bench.report.body["peers"][name]["note"]
            bench.report.add(Row("train", what, None, "s", note=why))
            continue
        [run] = found
        detail = {name: run[name] for name in ("text_bytes", "cpu_seconds")}
        bench.report.add(Row("train", what, run["seconds"], "s", detail=detail))
        most = 16.0 if name == "massivetext" else None
        peak = run["peak_bytes"] / 1e9
        bench.report.add(Row("train", f"memory, {name}", peak, "GB", at_most=most))
