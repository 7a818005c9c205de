"""A training during which the weights of the mixture move; what it finds is their mean.

DoReMi (2305.10429, Algorithm 1) and online mixing (2312.02406) differ in what they train on and in
how weights follow from losses, which is a `Method`; the loop is one. Killed at any moment and
started again, it goes on from its last checkpoint with the same weights to the bit.
"""

from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
import numpy.typing as npt

from massivetext.allocator import keep_freed_memory
from massivetext.dataset import write_json
from massivetext.errors import StageError
from massivetext.record_files import Records
from massivetext.trainer.checkpoint import Checkpoints
from massivetext.trainer.data import Int32, to_batch
from massivetext.trainer.loss import PADDING
from massivetext.trainer.metrics import Metrics
from massivetext.trainer.ramp import batch_size, micro_batch_size
from massivetext.trainer.run import MAX_SKIPPED_IN_A_ROW, DivergedError, Task
from massivetext.trainer.schedule import learning_rate
from massivetext.trainer.sharding import batch_sharding
from massivetext.trainer.signals import stop_on_signal
from massivetext.trainer.spikes import checkpoint_due, steps_to_keep

from .group_step import Arrays, Weigh, make_group_step

TRAJECTORY = "trajectory.json"
# Points of it that are kept, so that a long run's is not larger than its checkpoints.
POINTS = 500

Floats = npt.NDArray[np.float64]


class Method(Protocol):
    """How weights move with losses.

    Attributes:
      names: the subsets, in the order of `weights`.
      weights: float64 [K], those of the last step, and before it those to begin with.
    """

    names: tuple[str, ...]
    weights: Floats

    @property
    def weigh(self) -> Weigh:
        """What `group_step.make_group_step` takes."""
        ...

    def draw(self, step: int, start: int, size: int) -> Records:
        """Return the records of step `step`, before which `start` were trained on."""
        ...

    def given(self, batch: "PlacedBatch") -> Arrays:
        """Return what `weigh` needs."""
        ...

    def learn(self, told: Arrays, records: Records) -> None:
        """Take in what `weigh` told of a step that was done: of the first records of [M, b]."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        ...

    def restore(self, about: dict[str, Any]) -> None:
        """Be as the method was that gave `about`."""
        ...


class PlacedBatch:
    """A batch on the devices: `inputs` and `targets` [M, b, T], `subsets` int32 [M, b]; only the
    first `micro_batches` of M count."""

    def __init__(self, task: Task, records: Records):
        train, batch = task.plan, to_batch(records)
        micro, size = micro_batch_size(train), len(records.tokens)
        missing = train.batch_size - size
        self.micro_batches = np.int32(size // micro)
        shape = (train.batch_size // micro, micro)

        def placed(array: Int32, fill: int) -> jax.Array:
            rows = ((0, missing), *((0, 0),) * (array.ndim - 1))
            array = np.pad(array, rows, constant_values=fill).reshape(*shape, *array.shape[1:])
            return jax.device_put(array, split) if array.ndim == 3 else jax.device_put(array)

        split = batch_sharding(task.mesh)
        self.inputs = placed(batch.inputs, 0)
        self.targets = placed(batch.targets, PADDING)
        self.subsets = placed(records.subset.astype(np.int32), 0)


class _Run:
    """Where a run stands."""

    def __init__(self, task: Task, method: Method, checkpoints: Checkpoints):
        self.task, self.method, self.checkpoints = task, method, checkpoints
        self.step = checkpoints.last_step or 0
        self.sequences, self.skipped_in_a_row, self.log_bytes = 0, 0, 0
        self.total = np.zeros(len(method.names))
        self.points: list[dict[str, Any]] = []
        if self.step:
            about = checkpoints.about(self.step)
            self.sequences, self.skipped_in_a_row = about["sequences"], about["skipped_in_a_row"]
            self.log_bytes = about["log_bytes"]
            self.total = np.array(about["total"])
            self.points = about["points"]
            method.restore(about["method"])
        self.state = task.state(checkpoints, self.step)

    def count(self, batch: int, finite: bool) -> None:
        """Count a step, and the weights it ended with.

        Raises:
          DivergedError: too many steps in a row were not finite.
        """
        self.step, self.sequences = self.step + 1, self.sequences + batch
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        if self.skipped_in_a_row == MAX_SKIPPED_IN_A_ROW:
            raise DivergedError(
                f"the loss has not been finite for {MAX_SKIPPED_IN_A_ROW} steps, up to step "
                f"{self.step}: training diverged. Lower the learning_rate of tune.train"
            )
        self.total += self.method.weights
        steps = self.task.plan.steps
        if self.step % -(-steps // POINTS) == 0 or self.step in (1, steps):
            weights = dict(zip(self.method.names, self.method.weights.tolist(), strict=True))
            self.points.append({"step": self.step, "weights": weights})

    def save(self, log_bytes: int) -> None:
        about = {
            "sequences": self.sequences,
            "skipped_in_a_row": self.skipped_in_a_row,
            "log_bytes": log_bytes,
            "total": self.total.tolist(),
            "points": self.points,
            "method": self.method.to_json(),
        }
        self.checkpoints.save(self.step, self.state, about, None)


def find_weights(
    folder: Path, task: Task, method: Method, identity: dict[str, Any]
) -> dict[str, float]:
    """Train `task` as `method` says, or continue; return the mean of the weights over all steps.

    Writes `checkpoints/`, `train/metrics.jsonl` and `trajectory.json` in `folder`: a list of
    {step, weights}, of about `POINTS` steps.

    Args:
      identity: what a checkpoint must share to be continued from: JSON by name.

    Raises:
      ConfigError: a checkpoint of something else is in the way.
      DivergedError: the loss was not finite too often in a row.
      StageError: stopped by a signal, or unable to write.
    """
    plan = task.plan
    if jax.default_backend() == "cpu":
        keep_freed_memory()
    with (
        Checkpoints(folder, identity, partial(steps_to_keep, plan)) as checkpoints,
        stop_on_signal() as stopping,
    ):
        run = _Run(task, method, checkpoints)
        step = make_group_step(plan, task.size, task.mesh, method.weigh)
        with Metrics(
            folder, plan.steps, task.tokens, done=run.step, size=run.log_bytes, quiet=True
        ) as metrics:
            while run.step < plan.steps:
                size = batch_size(plan, run.sequences)
                records = method.draw(run.step, run.sequences, size)
                batch = PlacedBatch(task, records)
                rate = learning_rate(plan, run.step)
                run.state, values, told = step(
                    run.state,
                    batch.inputs,
                    batch.targets,
                    batch.micro_batches,
                    np.float32(rate),
                    method.given(batch),
                )
                finite = bool(values["finite"])
                if finite:
                    method.learn(told, records)
                run.count(size, finite)
                metrics.step(
                    run.step,
                    run.sequences * task.length,
                    size * task.length,
                    {
                        "loss": float(values["loss"]),
                        "learning_rate": rate,
                        "gradient_norm": float(values["gradient_norm"]),
                    },
                    int(values["skipped"]),
                )
                finished, stop = run.step == plan.steps, stopping(run.step)
                if not (finished or stop or checkpoint_due(plan, run.step)):
                    continue
                run.save(metrics.size())
                metrics.start_clock()
                if stop and not finished:
                    checkpoints.wait()
                    raise StageError(
                        f"stopped by a signal after step {run.step:,} of {plan.steps:,}; a "
                        "checkpoint was saved: run the same command again to continue"
                    )
    write_json(folder / TRAJECTORY, run.points)
    return dict(zip(method.names, (run.total / plan.steps).tolist(), strict=True))
