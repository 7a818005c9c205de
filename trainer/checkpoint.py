"""Checkpoints: whole or absent, the last and the best kept, resumed only where they belong.

A folder `checkpoints/<step>` holds `params`, `optimiser` (its moments and counters) and `about`
(JSON: where the run is, the model, the recipe, the shards' fingerprint). Orbax copies the state off
the devices, and training goes on while a thread writes it under a temporary name, renames it and
then removes those that are not kept. A killed run or a full disk leaves the one before. Where the
run's folder is on an object store, each is uploaded by that thread, and read from a copy.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from massivetext.errors import ConfigError, InputError, StageError
from massivetext.published import Published
from massivetext.storage import Location

from .parameters import Dimensions, Params, table

FOLDER = "checkpoints"
STATE = ("params", "optimiser")
# Where a checkpoint is moved before its files are removed: one that is half removed when the run
# is killed would still look whole.
REMOVED = "removed"

# TensorStore reports a full disk as ValueError or RuntimeError, by its own status code.
ERRORS = (OSError, ValueError, RuntimeError, StageError)

Keep = Callable[[Sequence[int]], set[int]]


def _bits_per_byte(metrics: dict[str, float]) -> float:
    return metrics["bits_per_byte"]


@dataclass
class _AlsoKeep:
    """An Orbax preservation policy: what `keep` chooses of the steps."""

    keep: Keep

    def should_preserve(self, checkpoints: Sequence[Any], *, context: object) -> list[bool]:
        chosen = self.keep([checkpoint.step for checkpoint in checkpoints])
        return [checkpoint.step in chosen for checkpoint in checkpoints]


class Checkpoints:
    """The checkpoints of the run in `root`; a context manager.

    Args:
      identity: what a run must share with a checkpoint to continue it: JSON by name. A value that
        differs is refused by that name.
      keep: of the steps saved, in ascending order, those to keep besides the last and the best.
      read_only: for a reader, which may be at work while a run is writing.
    """

    def __init__(
        self,
        root: Location,
        identity: dict[str, Any],
        keep: Keep = lambda steps: set(),
        *,
        read_only: bool = False,
    ):
        # Orbax narrates every save, and prints the errors that it raises; the run has its own
        # lines.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._published = Published(root / FOLDER)
        self.address, self.folder = self._published.address, self._published.folder
        if self._published.remote and not read_only and jax.process_count() > 1:
            what = "train into a folder that all of them share, then copy it there"
            raise ConfigError(f"{self.address} cannot take several processes' checkpoints: {what}")
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is a file; checkpoints need a folder of that name")
        self.identity = identity
        best = BestN(
            n=1, get_metric_fn=_bits_per_byte, reverse=True, keep_checkpoints_without_metrics=False
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy([LatestN(1), best, _AlsoKeep(keep)]),
            # Not needed by the policy, but without it orbax does not store the metrics, and a run
            # that continues would not know its best checkpoint.
            best_fn=_bits_per_byte,
            best_mode="min",
            enable_async_checkpointing=not read_only,
            todelete_subdir=None if read_only else REMOVED,
            cleanup_tmp_directories=False,  # it does so some time later: see `_sweep`
            read_only=read_only,
        )
        self._writes = not read_only
        self._failed = False
        self._pending: int | None = None
        handlers: dict[str, Any] = {item: ocp.StandardCheckpointHandler() for item in STATE}
        handlers["about"] = ocp.JsonCheckpointHandler()
        self._uploads = ThreadPoolExecutor(1, thread_name_prefix="upload checkpoint")
        self._published.fetch(lambda name: not {*STATE} & {*name.split("/")})
        self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)
        self._last = self.last_step
        self._sweep()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, value: BaseException | None, trace: object) -> None:
        try:
            self.wait()
        except StageError as error:
            if value is None:
                raise
            value.add_note(str(error))
        finally:
            try:
                self._manager.close()
            except ERRORS:
                # Orbax says once more what `_saving` has said.
                if not self._failed:
                    raise
            self._sweep()
            self._published.close()

    @property
    def steps(self) -> list[int]:
        """Steps of all whole checkpoints, in order, with the one that is being written."""
        self.wait()
        return sorted(self._manager.all_steps())

    @property
    def last_step(self) -> int | None:
        """Steps done at the last whole checkpoint, or None when there is none."""
        return max(self.steps, default=None)

    def path(self, step: int) -> Location:
        return self.address / str(step)

    def save(
        self, step: int, state: dict[str, Any], about: dict[str, Any], bits_per_byte: float | None
    ) -> None:
        """Begin to save the state after `step` steps; with `bits_per_byte` it may be kept as best.

        Both may be changed, and the state donated, as soon as this returns. The checkpoint is
        whole, and those that are not kept are gone, when the next `save`, `wait` or `restore`
        returns.

        Raises:
          StageError: this one or the one before could not be written, as on a full disk; the last
            whole one is still there.
        """
        self.wait()
        metrics = None if bits_per_byte is None else {"bits_per_byte": bits_per_byte}
        contents = ocp.args.Composite(
            **{item: ocp.args.StandardSave(state[item]) for item in STATE},
            # Orbax copies the arrays at once, but reads JSON only when it writes it.
            about=ocp.args.JsonSave(deepcopy({**about, "identity": self.identity})),
        )
        self._pending = step
        with self._saving(step):
            self._manager.save(step, args=contents, metrics=metrics, force=True)
        self._finish: Callable[[], object] = self._manager.wait_until_finished
        if self._published.remote:
            self._finish = self._uploads.submit(self._upload, step).result

    def _upload(self, step: int) -> None:
        self._manager.wait_until_finished()
        self._published.commit(str(step))

    def wait(self) -> None:
        """Return when the checkpoint that was begun is whole.

        Raises:
          StageError: it could not be written.
        """
        if self._pending is not None:
            with self._saving(self._pending):
                self._finish()
            self._last, self._pending = self._pending, None
            self._sweep()

    @contextmanager
    def _saving(self, step: int) -> Iterator[None]:
        try:
            yield
        except ERRORS as error:
            self._pending = None
            self._failed = True
            self._manager.reload()  # it forgot those that this one was to replace
            left = f"step {self._last} is kept" if self._last else "nothing was saved before"
            raise StageError(
                f"the checkpoint of step {step} could not be written to {self.address}; {left}. "
                f"Free some space and run again. ({str(error).splitlines()[0]})"
            ) from error

    def remove_after(self, step: int) -> None:
        """Remove all checkpoints of later steps: the run goes back to `step`."""
        for later in reversed(self.steps):
            if later > step:
                self._manager.delete(later)
        self._last = step
        self._sweep()

    def _sweep(self) -> None:
        """Remove the files of removed checkpoints, and of those that were never finished."""
        if self._writes and jax.process_index() == 0:
            if not self._failed:  # or the last one that was uploaded may be missing here
                with suppress(StageError):  # what cannot be removed now is removed later
                    self._published.keep(map(str, self._manager.all_steps()))
            for path in (self.folder / REMOVED, *self.folder.glob("*.orbax-checkpoint-tmp")):
                shutil.rmtree(path, ignore_errors=True)

    def about(self, step: int) -> dict[str, Any]:
        """Return what the checkpoint of `step` says of itself, after checking that it is of this
        run.

        Raises:
          ConfigError: it is of another model, other shards or another recipe.
          InputError: it cannot be read.
        """
        about = self._restore(step, "about", ocp.args.JsonRestore())
        check_identity(about["identity"], self.identity, self.path(step))
        return dict(about)

    def restore(self, step: int, state: dict[str, Any]) -> dict[str, Any]:
        """Return the value of each item of `state` as saved after `step` steps.

        Args:
          state: `jax.ShapeDtypeStruct`s by item, any of `STATE`: the shapes, dtypes and shardings
            to restore to, on whatever devices they were saved from.
        """
        self.wait()
        return {
            item: self._restore(step, item, ocp.args.StandardRestore(state[item])) for item in state
        }

    def dtypes(self, step: int, item: str) -> Any:
        """Return the dtype of every array of an item as saved, as a tree like it."""
        self._fetch(step, item)
        try:
            metadata = self._manager.item_metadata(step)[item]
        except Exception as error:  # as in `_restore`
            raise self._unreadable(step, error) from error
        if metadata is None:
            raise self._unreadable(step, FileNotFoundError(f"no {item}"))
        return jax.tree.map(lambda array: array.dtype, metadata.tree)

    def _fetch(self, step: int, item: str) -> None:
        self._published.fetch(lambda name: name.startswith(f"{step}/{item}/"))

    def _restore(self, step: int, item: str, args: Any) -> Any:
        self._fetch(step, item)
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]
        # Orbax raises a plain Exception for damaged arrays, and what its reader raises for others.
        except Exception as error:
            raise self._unreadable(step, error) from error

    def _unreadable(self, step: int, error: Exception) -> InputError:
        reason = (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0][:300]
        return InputError(
            f"{self.path(step)} cannot be read ({reason}); delete it to continue from an earlier "
            "checkpoint or from the start"
        )


def check_identity(stored: dict[str, Any], wanted: dict[str, Any], path: Location) -> None:
    """Raise ConfigError naming the first of `wanted` that `stored` does not share."""
    for name, value in wanted.items():
        if stored.get(name) != value:
            raise ConfigError(
                f"{path} was made with {name} {_differing(stored.get(name), value)}. Put it back, "
                f"or delete {path.parent} to train from the start"
            )


def _differing(stored: Any, wanted: Any) -> str:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        names = [name for name in wanted if stored.get(name) != wanted[name]]
        return ", ".join(f"{n} {stored.get(n)!r}, not {wanted[n]!r}" for n in names)
    return f"{stored!r}, not {wanted!r}"


def load_params(root: Location, size: Dimensions, data: str) -> Params:
    """Return the parameters of the last checkpoint under `root`, for evaluation and sampling.

    They are in the precision they were trained in, on one device; nothing else is read.

    Args:
      data: fingerprint of the shards it must have been trained on.

    Raises:
      InputError: there is no checkpoint, or it cannot be read.
      ConfigError: it is of another model or of other shards.
    """
    missing = InputError(f"no checkpoint in {root / FOLDER}; run massivetext train first")
    if not (root / FOLDER).is_dir():
        raise missing
    identity = {"model": size.to_json(), "shards": data}
    with Checkpoints(root, identity, read_only=True) as checkpoints:
        step = checkpoints.last_step
        if step is None:
            raise missing
        checkpoints.about(step)
        dtypes = checkpoints.dtypes(step, "params")
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        wanted = {
            name: jax.ShapeDtypeStruct(row.shape, dtypes[name], sharding=device)
            for name, row in table(size).items()
        }
        params: Params = checkpoints.restore(step, {"params": wanted})["params"]
        return params
