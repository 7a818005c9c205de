"""One proxy, from its job to its `result.json`: what a worker does (JAX)."""

import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from massivetext.config import Config
from massivetext.dataset import write_json
from massivetext.evaluation.texts import evaluate_files
from massivetext.evaluation.trained import Trained
from massivetext.mixture_records import MixtureRecords
from massivetext.trainer.checkpoint import load_params
from massivetext.trainer.data import fingerprint
from massivetext.trainer.flops import budget_flops
from massivetext.trainer.metrics import kept, read_metrics
from massivetext.trainer.parameters import dimensions, parameter_count
from massivetext.trainer.ramp import micro_batch_size
from massivetext.trainer.run import DivergedError
from massivetext.trainer.train import TrainResult, train

from .proxy_jobs import job_config, job_records

CURVE_POINTS = 200


def run_proxy(job: dict[str, Any]) -> None:
    """Train the proxy of `job`, or continue, and write `result.json` to its folder.

    Raises:
      MassivetextError: what `train` raises, but for a run that diverged, which is a result.
    """
    folder, config, records = Path(job["folder"]), job_config(job), job_records(job)
    try:
        trained = train(folder, config, records=records, quiet=True, evaluate_before=False)
        result = _result(job, folder, config, records, trained)
    except DivergedError as error:
        result = {"failed": str(error)}
    write_json(folder / "result.json", {**result, "identity": job["identity"]})
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _result(
    job: dict[str, Any],
    folder: Path,
    config: Config,
    records: MixtureRecords,
    trained: TrainResult,
) -> dict[str, Any]:
    bits = dict(trained.bpb_after)
    loss = mean_loss(bits, job["weights"], records.manifest["heldout"])
    if job["targets"]:
        bits |= _target_bits(job, folder, config, records)
    broken = sorted(name for name, value in bits.items() if not math.isfinite(value))
    if broken:
        return {"failed": f"the held-out loss of {', '.join(broken)} is not finite"}
    size = dimensions(config.train, records.manifest["vocab_size"], records.sequence_length)
    return {
        "name": job["name"],
        "weights": job["weights"],
        "seed": config.seed,
        "bits_per_byte": bits,
        "loss": loss,
        "parameters": parameter_count(size),
        "tokens": trained.tokens,
        "flops": float(budget_flops(size, trained.tokens)),
        "seconds": trained.seconds,
        "curve": curve(kept(read_metrics(folder))),
        "tokenizer_sha256": records.manifest["tokenizer_sha256"],
    }


def mean_loss(
    bits: dict[str, float], weights: dict[str, float], heldout: dict[str, dict[str, int]]
) -> float:
    """Return nats per token: those of each held-out set, weighted as the subsets were sampled.

    Subsets that hold nothing out, or nothing but empty documents, do not count.
    """
    total = sum(weights[name] for name in bits)
    nats = (
        weights[name] * value * math.log(2) * entry["text_bytes"] / entry["targets"]
        for name, value in bits.items()
        for entry in (heldout[name],)
    )
    return math.fsum(nats) / total


def _target_bits(
    job: dict[str, Any], folder: Path, config: Config, records: MixtureRecords
) -> dict[str, float]:
    """Return bits per byte of each target: over all bytes of its files."""
    size = dimensions(config.train, records.manifest["vocab_size"], records.sequence_length)
    model = Trained(
        root=Path(job["root"]),
        shards=records,  # type: ignore[arg-type]  # of shards, texts need only the manifest
        size=size,
        params=load_params(folder, size, fingerprint(records)),
        step=config.train.steps,
        precision=config.train.precision,
        batch_size=micro_batch_size(config.train),
    )
    bits = {}
    for name, paths in job["targets"].items():
        losses = evaluate_files(model, [Path(path) for path in paths]).values()
        nats = math.fsum(loss.loss * loss.targets for loss in losses)
        bits[name] = nats / (math.log(2) * sum(loss.text_bytes for loss in losses))
    return bits


def curve(records: Iterable[dict[str, Any]]) -> list[list[float]]:
    """Return at most `CURVE_POINTS` of [tokens, training loss], evenly spread, the last included.

    Each is the mean loss of the updates since the point before, at the tokens of its last update.
    """
    points = [(r["tokens"], r["loss"]) for r in records if r.get("loss") is not None]
    if not points:
        return []
    tokens, losses = np.array(points, np.float64).T
    parts = min(CURVE_POINTS, len(points))
    stops = [(i + 1) * len(points) // parts for i in range(parts)]
    starts = [0, *stops[:-1]]
    return [
        [int(tokens[stop - 1]), float(losses[start:stop].mean())]
        for start, stop in zip(starts, stops, strict=True)
    ]
