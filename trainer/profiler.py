"""A trace of some steps, for TensorBoard's profiler, Perfetto or XProf."""

from typing import Any

import jax

from massivetext.errors import ConfigError
from massivetext.published import Published
from massivetext.storage import Location


class Profiler:
    """Traces the steps after step `start` up to step `stop`; a context manager.

    Args:
      between: (start, stop), or None to trace nothing. A run that continues past `start` traces
        what is left.
      steps: of the whole run.

    Raises:
      ConfigError: there are no such steps.
    """

    def __init__(self, folder: Location, between: tuple[int, int] | None, steps: int):
        if between is not None and not 0 <= between[0] < between[1] <= steps:
            raise ConfigError(
                f"cannot profile from step {between[0]} to step {between[1]} of a run of {steps:,}:"
                " the first must lie before the second, and neither outside of the run"
            )
        self._published, self.between = Published(folder), between
        self._tracing = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._published.close()

    def before_step(self, done: int) -> None:
        """Begin to trace if the step after `done` steps is the first to be traced."""
        if self.between and not self._tracing and self.between[0] <= done < self.between[1]:
            jax.profiler.start_trace(self._published.folder)
            self._tracing = True

    def after_step(self, done: int, values: Any) -> None:
        """Write the trace if step number `done`, which gives `values`, is the last to be traced."""
        if self._tracing and self.between and done >= self.between[1]:
            jax.block_until_ready(values)
            self._stop()

    def _stop(self) -> None:
        if self._tracing:
            jax.profiler.stop_trace()
            self._published.publish()
            self._tracing = False
            self.between = None  # a rewind does not trace them again
