"""Training, from shards to an evaluated model: one loop, read top to bottom.

A run is a function of its config and its shards. Killed at any moment and started again, it
continues from its last checkpoint with the same losses to the bit, on the same kind and number of
devices, and within rounding on others; finished, it is not trained again.
"""

import math
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from massivetext.allocator import keep_freed_memory
from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.errors import StageError
from massivetext.progress import human_seconds
from massivetext.storage import Location
from massivetext.training_records import TrainingRecords

from .checkpoint import Checkpoints
from .data import Int32, batches, fingerprint
from .distributed import global_batch, local_rows
from .flops import PEAKS, flops_per_token
from .metrics import say
from .profiler import Profiler
from .ramp import micro_batch_size
from .run import Run, Sampler, SpikeError, Task
from .schedule import learning_rate, peak_rate
from .sharding import batch_sharding
from .signals import stop_on_signal
from .spikes import checkpoint_due, steps_to_keep
from .step import make_step

# What decides the losses, of the config's section `train`, besides the model and the learning rate.
# The rest may change from one start of a run to the next: devices and how the batch is cut, when to
# save and to evaluate, and what to do about spikes.
RECIPE = (
    "steps",
    "batch_size",
    "batch_ramp",
    "warmup_steps",
    "schedule",
    "optimizer",
    "weight_decay",
    "decay",
    "clip_norm",
    "z_loss",
    "precision",
    "stochastic_rounding",
)


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
    rewinds: int
    seconds: float  # of training, evaluation and compilation included, over all restarts
    checkpoint: Location


def train(
    root: Location,
    config: Config,
    *,
    records: TrainingRecords | None = None,
    sampler: Sampler | None = None,
    quiet: bool = False,
    profile: tuple[int, int] | None = None,
    evaluate_before: bool = True,
) -> TrainResult:
    """Train `config.train` on `root/shards`, or continue, and evaluate before and after.

    Writes `checkpoints/` and, in `train/`, `metrics.jsonl`, events for TensorBoard and `loss.svg`
    under `root`, and a line per step on stderr; of several processes the first does. On SIGTERM or
    the first Ctrl-C it saves a checkpoint and stops.

    Args:
      records: to train and evaluate on instead of the shards.
      sampler: what to write of samples whenever the model is evaluated. It decides nothing.
      profile: (start, stop): the steps after step `start` up to step `stop` are traced, to
        `train/profile`.
      evaluate_before: unless, `bpb_before` of the result is empty.

    Raises:
      ConfigError: model, batch or steps do not fit devices or shards, or `profile` not the steps;
        or a checkpoint of another model, other shards or another recipe is in the way.
      InputError: shards or checkpoint are missing or corrupt, or the shards are of another build.
      StageError: stopped by a signal, unable to write, diverged, or spiked too often; what was done
        is kept.
    """
    plan = config.train
    if jax.default_backend() == "cpu":
        keep_freed_memory()
    quiet = quiet or jax.process_index() != 0
    task = Task.open(root, config, records)
    identity = {
        "model": task.size.to_json(),
        "shards": fingerprint(task.shards),
        "recipe": recipe(config),
    }
    if not quiet:
        describe(config, task)

    with (
        Profiler(root / "train" / "profile", profile, plan.steps) as profiler,
        Checkpoints(root, identity, partial(steps_to_keep, plan)) as checkpoints,
        stop_on_signal() as stopping,
        Run(root, task, checkpoints, quiet) as run,
    ):
        if run.position.step == 0:
            run.about["bpb_before"] = run.evaluate(sampler) if evaluate_before else {}
        step = make_step(plan, task.size, task.mesh)
        split = batch_sharding(task.mesh)
        rows = local_rows(split, micro_batch_size(plan))

        def place(array: Int32) -> jax.Array:
            """Put a batch on the devices; of several processes, each puts its own part."""
            return global_batch(array[:, rows], split, array.shape[1])

        def to_the_end() -> None:
            """Do all updates that are left, from where the run is."""
            with closing(batches(task.shards, plan, run.position, place)) as feeds:
                for feed in feeds:
                    profiler.before_step(run.position.step)
                    rate = learning_rate(plan, run.position.step)
                    run.state, values = step(
                        run.state,
                        feed.inputs,
                        feed.targets,
                        np.int32(feed.micro_batches),
                        np.float32(rate),
                    )
                    run.took(feed, rate, values)

                    done = run.position.step
                    profiler.after_step(done, values)
                    finished, stop = done == plan.steps, stopping(done)
                    if not (finished or stop or checkpoint_due(plan, done)):
                        continue
                    run.report()
                    bits_per_byte = None
                    if finished or (plan.evaluate_every and done % plan.evaluate_every == 0):
                        bits_per_byte = run.evaluate(sampler)
                    if finished:
                        run.about["bpb_after"] = bits_per_byte
                        run.about["skipped"] = int(values["skipped"])
                    run.save(bits_per_byte)
                    if stop and not finished:
                        checkpoints.wait()
                        raise StageError(
                            f"stopped by a signal after step {done:,} of {plan.steps:,}; a "
                            "checkpoint was saved: run the same command again to continue"
                        )

        while run.position.step < plan.steps:
            try:
                to_the_end()
            except SpikeError as spike:
                run.rewind(spike)
        checkpoints.wait()
        run.metrics.plot(title(config, task))
        result = _result(run, task)
        if not quiet:
            size, time = result.tokens / 1e6, human_seconds(result.seconds)
            losses = f"loss {result.loss_first:.3f} -> {result.loss_last:.3f}"
            say(f"trained {size:,.2f} M tokens in {time}: {losses}, {result.checkpoint}")
    return result


def _result(run: Run, task: Task) -> TrainResult:
    """Return the result from the last checkpoint's own account.

    A finished run that is started again says the same as when it finished.
    """
    about = run.about
    kept = ("bpb_before", "bpb_after", "skipped", "rewinds", "seconds")
    return TrainResult(
        steps=task.plan.steps,
        tokens=task.tokens,
        parameters=task.parameters,
        loss_first=about.get("loss_first", math.nan),
        loss_last=about.get("loss_last", math.nan),
        checkpoint=run.checkpoints.path(task.plan.steps),
        **{name: about[name] for name in kept},
    )


def title(config: Config, task: Task) -> str:
    """Return what to call the model: a changed preset is no longer the published size."""
    changed = " (dimensions overridden)" if config.train.override.given() else ""
    return f"{config.train.model}{changed}, {task.parameters / 1e6:,.2f} M parameters"


def describe(config: Config, task: Task) -> None:
    """Say what is to be trained, on what and where, before the first step."""
    size, plan, mesh = task.size, task.plan, task.mesh
    total = flops_per_token(size, task.length) * task.tokens
    axes = " x ".join(f"{name} {count}" for name, count in mesh.shape.items() if count > 1)
    say(
        f"{title(config, task)} ({size.layers} layers, d_model {size.d_model}, {size.heads} heads),"
        f" {plan.steps:,} steps, {task.tokens / 1e6:,.2f} M tokens, {total:.2e} FLOPs"
    )
    kind = mesh.devices.flat[0].device_kind
    peak = f"; MFU is of {PEAKS[kind]:.3g} FLOP/s each, bfloat16 dense" if kind in PEAKS else ""
    say(f"{mesh.size} x {kind}{f' ({axes})' if axes else ''}{peak}")


def recipe(config: Config) -> dict[str, Any]:
    """Return all of the config that decides the losses; a run continues only under the same."""
    values = to_dict(config.train)
    return {
        "seed": config.seed,
        "learning_rate": peak_rate(config.train),
        **{name: values[name] for name in RECIPE},
    }
