"""Checkpoints: whole or absent, the last and the best kept, resumed only where they belong.

A folder `checkpoints/<step>` holds `params`, `optimiser` (Adam's moments and the counters) and
`about` (JSON: the step, the model, the recipe, the shards' fingerprint). Orbax writes it under
a temporary name and renames it, so a killed run or a full disk leaves the one before.
"""

import logging
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from massivetext.errors import ConfigError, InputError, StageError

from .parameters import Dimensions, Params, abstract

FOLDER = "checkpoints"
STATE = ("params", "optimiser")


def _bits_per_byte(metrics: dict[str, float]) -> float:
    return metrics["bits_per_byte"]


class Checkpoints:
    """The checkpoints of the run in `root`; a context manager.

    Args:
      identity: what a run must share with a checkpoint to continue it: JSON by name. A value that
        differs is refused by that name.
    """

    def __init__(self, root: Path, identity: dict[str, Any]):
        # Orbax narrates every save on the root logger; the run has its own lines.
        logging.getLogger("absl").setLevel(logging.ERROR)
        self.folder = (root / FOLDER).absolute()
        self.identity = identity
        keep = AnyPreservationPolicy(
            [
                LatestN(1),
                BestN(
                    n=1,
                    get_metric_fn=_bits_per_byte,
                    reverse=True,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep,
            # Not needed by the policy, but without it orbax does not store the metrics, and a run
            # that continues would not know its best checkpoint.
            best_fn=_bits_per_byte,
            best_mode="min",
            enable_async_checkpointing=False,
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.close()

    @property
    def steps(self) -> list[int]:
        """Steps of all checkpoints, in order: the last, and the best if it is another."""
        return sorted(self._manager.all_steps())

    @property
    def last_step(self) -> int | None:
        """Steps done at the last whole checkpoint, or None when there is none."""
        step: int | None = self._manager.latest_step()
        return step

    def path(self, step: int) -> Path:
        return self.folder / str(step)

    def save(
        self, step: int, state: dict[str, Any], about: dict[str, Any], bits_per_byte: float | None
    ) -> None:
        """Save the state after `step` steps; with `bits_per_byte` it may be kept as the best.

        Raises:
          StageError: it could not be written, as on a full disk; the one before is still there.
        """
        metrics = None if bits_per_byte is None else {"bits_per_byte": bits_per_byte}
        contents = ocp.args.Composite(
            **{item: ocp.args.StandardSave(state[item]) for item in STATE},
            about=ocp.args.JsonSave({**about, "step": step, "identity": self.identity}),
        )
        before = self.last_step
        try:
            self._manager.save(step, args=contents, metrics=metrics, force=True)
        except (OSError, ValueError, RuntimeError) as error:
            # TensorStore reports a full disk as ValueError or RuntimeError, by its own status code.
            left = "nothing was saved before" if before is None else f"step {before} is kept"
            raise StageError(
                f"the checkpoint of step {step} could not be written to {self.folder}; {left}. "
                f"Free some space and run again. ({str(error).splitlines()[0]})"
            ) from error

    def about(self) -> dict[str, Any]:
        """Return what the last checkpoint says of itself, after checking that it is of this run.

        Raises:
          ConfigError: it is of another model, other shards or another recipe.
          InputError: it cannot be read.
        """
        step = self.last_step
        assert step is not None
        about = self._restore(step, "about", ocp.args.JsonRestore())
        check_identity(about["identity"], self.identity, self.path(step))
        return dict(about)

    def restore(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the last saved value of each item of `state`.

        Args:
          state: `jax.ShapeDtypeStruct`s by item, any of `STATE`: the shapes, dtypes and shardings
            to restore to.
        """
        step = self.last_step
        assert step is not None
        return {
            item: self._restore(step, item, ocp.args.StandardRestore(state[item])) for item in state
        }

    def _restore(self, step: int, item: str, args: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InputError(
                f"{self.path(step)} cannot be read ({str(error).splitlines()[0]}); delete it to "
                "continue from an earlier checkpoint or from the start"
            ) from error


def check_identity(stored: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
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


def load_params(root: Path, size: Dimensions, data: str) -> Params:
    """Return the parameters of the last checkpoint under `root`, for evaluation and sampling.

    Args:
      data: fingerprint of the shards it must have been trained on.

    Raises:
      InputError: there is no checkpoint, or it cannot be read.
      ConfigError: it is of another model or of other shards.
    """
    if not (root / FOLDER).is_dir():
        raise InputError(f"no checkpoint in {root / FOLDER}; run massivetext train first")
    with Checkpoints(root, {"model": size.to_json(), "shards": data}) as checkpoints:
        if checkpoints.last_step is None:
            raise InputError(f"no checkpoint in {root / FOLDER}; run massivetext train first")
        checkpoints.about()
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        params: Params = checkpoints.restore({"params": abstract(size, device)})["params"]
        return params
