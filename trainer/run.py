"""A run under way: its state, where it is in its data, what it says, keeps and takes back."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from massivetext.config import Config, Train
from massivetext.errors import StageError
from massivetext.shards import Shards
from massivetext.storage import Location
from massivetext.training_records import TrainingRecords

from . import flops
from .checkpoint import Checkpoints
from .data import (
    Feed,
    Position,
    require_enough,
    require_left,
    require_same_build,
    text_bytes_per_target,
)
from .evaluate import evaluate_params, make_score
from .memory import require_fits
from .metrics import Metrics, say
from .parameters import Dimensions, Params, dimensions, named_seed, parameter_count
from .ramp import batch_size, micro_batch_size, sequences_of
from .sharding import make_mesh
from .spikes import LossWindow, rewind_target
from .step import abstract_state, initial_state

# A run that diverged never recovers by itself: it would skip to its end and look finished.
MAX_SKIPPED_IN_A_ROW = 20

# From parameters and the steps done, samples: `prompt` and `text` of each.
Sampler = Callable[[Params, int], list[dict[str, str]]]


class DivergedError(StageError):
    """The run is beyond help as it is configured."""


@dataclass(frozen=True)
class Task:
    """What is to be trained, on what, and where."""

    plan: Train
    shards: TrainingRecords
    size: Dimensions
    mesh: jax.sharding.Mesh
    seed: int

    @classmethod
    def open(cls, root: Location, config: Config, records: TrainingRecords | None = None) -> "Task":
        """Lay the model out on the devices, for the shards in `root` or for `records`.

        Raises:
          ConfigError: model, batch or steps do not fit devices or shards.
          InputError: shards are missing or corrupt, or of another build.
        """
        plan, shards = config.train, records
        if shards is None:
            shards = Shards.open(root / "shards")
            require_same_build(root, shards)
        require_enough(plan, shards)
        size = dimensions(plan, shards.manifest["vocab_size"], shards.sequence_length)
        mesh = make_mesh(plan.mesh, micro_batch_size(plan))
        memory = mesh.local_devices[0].memory_stats() or {}  # a CPU has none of its own
        if "bytes_limit" in memory:
            require_fits(size, plan, dict(mesh.shape), memory["bytes_limit"])
        return cls(plan, shards, size, mesh, named_seed(config.seed, "parameters"))

    @property
    def length(self) -> int:
        return self.shards.sequence_length  # tokens

    @cached_property
    def tokens(self) -> int:
        """Tokens that the whole run trains on."""
        return sequences_of(self.plan) * self.length

    @property
    def parameters(self) -> int:
        return parameter_count(self.size, norms=True)

    def state(self, checkpoints: Checkpoints, step: int) -> dict[str, Any]:
        """Return the state after `step` steps, from the checkpoint of that step."""
        if step:
            return checkpoints.restore(step, abstract_state(self.plan, self.size, self.mesh))
        return initial_state(self.plan, self.size, self.seed, self.mesh)

    def mfu(self, tokens_per_second: float) -> float | None:
        """Return the share of the devices' peak, if that is known."""
        kind = self.mesh.devices.flat[0].device_kind
        return flops.mfu(tokens_per_second, self.size, self.length, self.mesh.size, kind)


class Pending(NamedTuple):
    """An update whose values are still on the device; `position` is that after it."""

    position: Position
    batch: int  # sequences
    rate: float
    values: dict[str, jax.Array]


class SpikeError(Exception):
    """The loss of the update that led to `position` is a spike."""

    def __init__(self, position: Position, loss: float):
        super().__init__(position, loss)
        self.position, self.loss = position, loss


class Run:
    """The run of `task` in `root`, from its last checkpoint or from the start; a context manager.

    Attributes:
      state: parameters and optimiser, after `position.step` updates.
      about: what checkpoints say of the run besides: rewinds, seconds, losses, evaluations.
    """

    def __init__(self, root: Location, task: Task, checkpoints: Checkpoints, quiet: bool):
        self._began = time.monotonic()
        self.task, self.checkpoints = task, checkpoints
        self._score = make_score(task.size, task.plan.precision)
        last = checkpoints.last_step or 0
        self.about: dict[str, Any] = {"rewinds": 0, "seconds": 0.0, "log_bytes": 0}
        self.about |= self._go_to(last)
        self._earlier = self.about["seconds"]
        if last and not quiet:
            say(f"continuing from {checkpoints.path(last)}")
        self.metrics = Metrics(
            root,
            task.plan.steps,
            task.tokens,
            done=last,
            size=self.about["log_bytes"],
            text_bytes=text_bytes_per_target(task.shards.manifest),
            mfu=task.mfu,
            quiet=quiet,
            writes=jax.process_index() == 0,
        )

    def __enter__(self) -> "Run":
        self.metrics.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.metrics.__exit__(*error)

    def _go_to(self, step: int) -> dict[str, Any]:
        """Put the run to where it was after `step` steps; return what was known of it then."""
        task = self.task
        self.state: dict[str, Any] = {}  # or the devices would have to hold two
        self._pending: Pending | None = None
        about: dict[str, Any] = {**Position().to_json(), "losses": [], "skipped_in_a_row": 0}
        if step:
            about = self.checkpoints.about(step)
        self.state = task.state(self.checkpoints, step)
        self.position = Position.from_json(about)
        spikes = task.plan.spikes
        self.window = LossWindow(spikes, about["losses"]) if spikes else None
        self._skipped_in_a_row: int = about["skipped_in_a_row"]
        return about

    def took(self, feed: Feed, rate: float, values: dict[str, jax.Array]) -> None:
        """Count an update that was begun, and report the one before.

        Values are fetched when the next update is on its way, so the device never waits for the
        host to print.

        Raises:
          SpikeError, StageError: see `report`.
        """
        batch = feed.position.sequences - self.position.sequences
        self.position = feed.position
        self.report()
        self._pending = Pending(self.position, batch, rate, values)

    def report(self) -> None:
        """Wait for the last update and say what it gave.

        Raises:
          SpikeError: its loss is one.
          StageError: the loss was not finite too often in a row.
        """
        if self._pending is None:
            return
        (position, batch, rate, values), self._pending = self._pending, None
        length = self.task.length
        loss = float(values["loss"])
        said = {
            "loss": loss,
            "learning_rate": rate,
            "gradient_norm": float(values["gradient_norm"]),
        }
        if self.task.plan.z_loss:
            said["z_loss"] = float(values["z_loss"])
        tokens, skipped = position.sequences * length, int(values["skipped"])
        self.metrics.step(position.step, tokens, batch * length, said, skipped)
        if not values["finite"]:
            self._skipped_in_a_row += 1
            if self._skipped_in_a_row == MAX_SKIPPED_IN_A_ROW:
                raise DivergedError(
                    f"the loss has not been finite for {MAX_SKIPPED_IN_A_ROW} steps, up to step "
                    f"{position.step}: training diverged. Lower train.learning_rate, delete "
                    f"{self.checkpoints.address} and train again"
                )
            return
        self._skipped_in_a_row = 0
        self.about.setdefault("loss_first", loss)
        self.about["loss_last"] = loss
        if self.window is not None:
            if self.window.is_spike(loss):
                raise SpikeError(position, loss)
            self.window.admit(loss)

    def evaluate(self, sampler: Sampler | None = None) -> dict[str, float]:
        """Return bits per byte of the held-out documents by subset; say them, and write samples."""
        task, step, params = self.task, self.position.step, self.state["params"]
        batch, sequences = micro_batch_size(task.plan), task.plan.evaluate_sequences
        losses = evaluate_params(params, task.shards, self._score, batch, sequences)
        bits = {name: loss.bits_per_byte for name, loss in losses.items()}
        tokens = self.position.sequences * task.length
        if sampler is not None:
            samples = sampler(params, step)
            self.metrics.write({"step": step, "tokens": tokens, "samples": samples})
        self.metrics.evaluation(step, tokens, bits)
        return bits

    def save(self, bits_per_byte: dict[str, float] | None) -> None:
        """Begin to save a checkpoint; with evaluations it may be kept as the best."""
        self.about |= self.position.to_json()
        self.about["losses"] = list(self.window.losses) if self.window is not None else []
        self.about["skipped_in_a_row"] = self._skipped_in_a_row
        self.about["log_bytes"] = self.metrics.size()
        self.about["seconds"] = self._earlier + time.monotonic() - self._began
        mean = float(np.mean(list(bits_per_byte.values()))) if bits_per_byte else None
        self.checkpoints.save(self.position.step, self.state, self.about, mean)
        self.metrics.start_clock()

    def rewind(self, spike: SpikeError) -> None:
        """Go back to before the spike, and on past its records and those that follow it.

        A run killed in the midst of this finds, in whatever checkpoint is its last then, all that
        leads it to the same spike again.

        Raises:
          StageError: this happened too often, or the shards hold too little to go on.
        """
        plan, step = self.task.plan, spike.position.step
        assert plan.spikes is not None
        rewinds = self.about["rewinds"]
        if rewinds == plan.spikes.max_rewinds:
            raise DivergedError(
                f"step {step}: loss {spike.loss:.4f} is a spike, and the run has gone back "
                f"{rewinds} times before: lower train.learning_rate and train from the start, or "
                "raise train.spikes.max_rewinds to go on"
            )
        to = rewind_target(plan, step, self.checkpoints.steps)
        then = self._go_to(to)
        skipped = plan.spikes.skip * batch_size(plan, spike.position.sequences)
        self.position = self.position.skip_to(spike.position.cursor + skipped)
        require_left(plan, self.task.shards, self.position, step)
        # What took place since then did not, but for the time and the way back.
        kept = {name: self.about[name] for name in ("bpb_before", "seconds")}
        self.about = {**then, **kept, "rewinds": rewinds + 1}
        self.checkpoints.remove_after(to)
        tokens = self.position.sequences * self.task.length
        self.metrics.rewind(step, spike.loss, to, tokens, self.position.skipped[-1])
