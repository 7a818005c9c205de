"""Training, from shards to an evaluated model: one loop, read top to bottom.

A run is a function of its config and its shards. Killed at any moment and started again, it
continues from its last checkpoint with the same losses to the bit, on the same kind and number of
devices; finished, it is not trained again.
"""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from massivetext.config import Config
from massivetext.errors import StageError
from massivetext.presets import MODELS
from massivetext.progress import human_seconds
from massivetext.shards import Shards

from .checkpoint import Checkpoints
from .data import batches, fingerprint, require_enough, require_same_build
from .evaluate import evaluate_params, make_score
from .flops import flops_per_token
from .metrics import Metrics, say
from .optimiser import learning_rate
from .parameters import dimensions, named_seed, parameter_count
from .sharding import for_axes, make_mesh
from .step import initial_state, make_step

# A run that diverged never recovers by itself: it would skip to its end and look finished.
MAX_SKIPPED_IN_A_ROW = 20


@dataclass(frozen=True)
class TrainResult:
    """What a finished run was worth. Losses are nats per target; bits per byte are per subset."""

    steps: int
    tokens: int
    parameters: int
    loss_first: float
    loss_last: float
    bpb_before: dict[str, float]
    bpb_after: dict[str, float]
    skipped: int
    seconds: float  # of training, evaluation and compilation included, over all restarts
    tokens_per_second: float
    checkpoint: Path


def train(root: Path, config: Config, *, quiet: bool = False) -> TrainResult:
    """Train `config.train` on `root/shards`, or continue, and evaluate before and after.

    Writes `checkpoints/`, `train/metrics.jsonl` and `train/loss.svg` under `root`, and a line per
    step on stderr. On SIGTERM or the first Ctrl-C it saves a checkpoint and stops.

    Raises:
      ConfigError: more steps than the shards hold; or a checkpoint of another model, other shards
        or another recipe is in the way.
      InputError: shards or checkpoint are missing or corrupt, or the shards are of another build.
      StageError: stopped by a signal, unable to write, or diverged; what was done is kept.
    """
    began = time.monotonic()
    plan = config.train

    # The data and the model.
    shards = Shards.open(root / "shards")
    require_same_build(root, shards)
    require_enough(plan, shards)
    length = shards.manifest["sequence_length"]
    batch_tokens = plan.batch_size * length
    size = dimensions(plan, shards.manifest["vocab_size"])
    parameters = parameter_count(size, norms=True)
    identity = {
        "model": size.to_json(),
        "shards": fingerprint(shards),
        "recipe": recipe(config),
    }
    mesh = make_mesh(plan.batch_size)
    if not quiet:
        flops = flops_per_token(size, length) * batch_tokens * plan.steps
        say(
            f"{title(config)}: {parameters / 1e6:,.2f} M parameters ({size.layers} layers, d_model "
            f"{size.d_model}, {size.heads} heads), {plan.steps:,} steps of {batch_tokens:,} tokens,"
            f" {flops:.2e} FLOPs, {mesh.size} {jax.default_backend()} device(s)"
        )

    with Checkpoints(root, identity) as checkpoints, _stop_on_signal() as stop:
        # The state: fresh, or as it was.
        about: dict[str, Any] = {"seconds": 0.0}
        done = checkpoints.last_step or 0
        if done:
            about = checkpoints.about()
        state = initial_state(plan, size, named_seed(config.seed, "parameters"), mesh)
        if done:
            wanted = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
            )
            del state  # or the device would have to hold two
            state = checkpoints.restore(wanted)
            if not quiet:
                say(f"continuing from {checkpoints.path(done)}")
        earlier = about["seconds"]
        step = make_step(plan, size)
        score = make_score(size, plan.precision)
        split = for_axes(mesh, ("batch",))

        def bits_per_byte() -> dict[str, float]:
            losses = evaluate_params(
                state["params"], shards, score, plan.batch_size, plan.evaluate_sequences
            )
            return {name: loss.bits_per_byte for name, loss in losses.items()}

        with Metrics(root, done, plan.steps, batch_tokens, quiet) as metrics:
            if not done:
                about["bpb_before"] = bits_per_byte()
                metrics.evaluation(0, about["bpb_before"])

            def save(bpb: dict[str, float] | None) -> None:
                about["seconds"] = earlier + time.monotonic() - began
                mean = float(np.mean(list(bpb.values()))) if bpb else None
                checkpoints.save(done, state, about, mean)
                metrics.start_clock()

            # The loop. Values of a step are fetched when the next is on its way, so the device
            # never waits for the host to print.
            skipped_in_a_row = 0
            pending: tuple[int, float, dict[str, jax.Array]] | None = None

            def report() -> None:
                nonlocal pending, skipped_in_a_row
                if pending is None:
                    return
                number, rate, values = pending
                pending = None
                loss, norm = float(values["loss"]), float(values["gradient_norm"])
                metrics.step(number, rate, loss, norm, int(values["skipped"]))
                finite = math.isfinite(loss) and math.isfinite(norm)
                skipped_in_a_row = 0 if finite else skipped_in_a_row + 1
                if skipped_in_a_row == MAX_SKIPPED_IN_A_ROW:
                    raise StageError(
                        f"the loss has not been finite for {MAX_SKIPPED_IN_A_ROW} steps, up to "
                        f"step {number}: training diverged. Lower train.learning_rate, delete "
                        f"{checkpoints.folder} and train again"
                    )

            for batch in batches(shards, plan.batch_size, done, plan.steps):
                inputs, targets = jax.device_put(tuple(batch), split)
                rate = learning_rate(plan, done)
                state, values = step(state, inputs, targets, np.float32(rate))
                done += 1
                report()
                pending = done, rate, values

                finished = done == plan.steps
                evaluating = plan.evaluate_every and done % plan.evaluate_every == 0
                if finished or evaluating:
                    report()
                    bpb = bits_per_byte()
                    metrics.evaluation(done, bpb)
                    if finished:
                        about["bpb_after"] = bpb
                        about["skipped"] = int(state["optimiser"]["skipped"])
                        about["loss_first"], about["loss_last"] = _ends(metrics.losses())
                    save(bpb)
                elif done % plan.checkpoint_every == 0 or stop.is_set():
                    report()
                    save(None)
                if stop.is_set() and not finished:
                    raise StageError(
                        f"stopped by a signal after step {done:,} of {plan.steps:,}; a checkpoint "
                        "was saved: run the same command again to continue"
                    )

            # The result, read from the last checkpoint's own account: a finished run that is
            # started again says the same as when it finished.
            metrics.plot(f"{title(config)}, {parameters / 1e6:,.1f} M parameters")

        tokens = plan.steps * batch_tokens
        result = TrainResult(
            steps=plan.steps,
            tokens=tokens,
            parameters=parameters,
            loss_first=about["loss_first"],
            loss_last=about["loss_last"],
            bpb_before=about["bpb_before"],
            bpb_after=about["bpb_after"],
            skipped=about["skipped"],
            seconds=about["seconds"],
            tokens_per_second=tokens / about["seconds"],
            checkpoint=checkpoints.path(done),
        )
    if not quiet:
        say(
            f"trained {tokens / 1e6:,.2f} M tokens in {human_seconds(result.seconds)}: "
            f"loss {result.loss_first:.3f} -> {result.loss_last:.3f}, {result.checkpoint}"
        )
    return result


def title(config: Config) -> str:
    """Return what to call the model: a changed preset is no longer the published size."""
    return f"{config.train.model}{' (dimensions overridden)' if config.train.override else ''}"


def recipe(config: Config) -> dict[str, Any]:
    """Return all of the config that decides the losses; a run continues only under the same."""
    plan = config.train
    return {
        "seed": config.seed,
        "steps": plan.steps,
        "batch_size": plan.batch_size,
        "learning_rate": plan.learning_rate or MODELS[plan.model].learning_rate,
        "warmup_steps": plan.warmup_steps,
        "optimizer": plan.optimizer,
        "weight_decay": plan.weight_decay,
        "clip_norm": plan.clip_norm,
        "precision": plan.precision,
    }


def _ends(losses: list[float]) -> tuple[float, float]:
    return (losses[0], losses[-1]) if losses else (math.nan, math.nan)


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Give an event that SIGTERM or SIGINT sets; a second signal acts as it did before."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread only: whoever owns it decides.
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: object) -> None:
        stop.set()
        restore()

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        restore()
