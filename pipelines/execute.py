"""Run a pipeline: locally by default, or on any engine that Beam's own flags name."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.runners.runner import PipelineResult, PipelineState, create_runner

from massivetext.errors import ConfigError, StageError, nearest
from massivetext.threads import cores

from . import (
    coders,  # noqa: F401  (registers the Arrow coders)
    job_service,
)
from .local_runner import LocalRunner


@dataclass(frozen=True)
class Engine:
    """Where pipelines run.

    Args:
      workers: worker processes of the local runner; by default one per CPU.
      beam_args: Beam's flags. With `--runner=...` among them Beam runs the pipeline there and
        `workers` has no meaning.

    Raises:
      ConfigError: `workers` is below 1, or a flag is unknown.
    """

    workers: int = field(default_factory=cores)
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"workers is {self.workers}; it must be at least 1")
        check_flags(self.beam_args)

    @property
    def shared_disk(self) -> bool:
        """Whether all workers and the driver are sure to see one disk: those of our own runner."""
        return PipelineOptions(list(self.beam_args)).view_as(StandardOptions).runner is None


class _Parser(_BeamArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"Beam flags: {message}")


def check_flags(beam_args: tuple[str, ...]) -> None:
    """Check Beam flags before anything runs: Beam itself discards what it does not know.

    Raises:
      ConfigError: a flag is unknown, its value is missing or wrong, or the runner is unknown or
        unsuited; names the nearest flag or runner.
    """
    # Two classes may register the same flag; which of them wins does not matter here.
    parser = _Parser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    classes = [PipelineOptions]
    for cls in classes:
        classes += cls.__subclasses__()
        if "_add_argparse_args" in cls.__dict__:
            cls._add_argparse_args(parser)
    known, unknown = parser.parse_known_args(list(beam_args))
    for argument in unknown:
        name = argument.split("=", 1)[0]
        if not name.startswith("-"):
            raise ConfigError(f"Beam flags: {argument!r} is not a flag; flags start with --")
        raise ConfigError(
            f"unknown Beam flag {name!r}{nearest(name, parser._option_string_actions)}"
        )
    if known.runner is not None:
        _check_runner(known.runner)
    elif any(argument.startswith("--direct_") for argument in beam_args):
        raise ConfigError("--direct_... flags are for Beam's own local runner; ours takes workers")


def _check_runner(name: str) -> None:
    valid = StandardOptions.KNOWN_RUNNER_NAMES
    lower = name.lower().removesuffix("runner")
    # `DirectRunner`, `SwitchingDirectRunner`, `BundleBasedDirectRunner`
    if lower.endswith("direct"):
        raise ConfigError(
            f"--runner={name} first tries to download a program and may hang; leave --runner out "
            "to run on this machine"
        )
    if "." not in name and lower not in {known.lower().removesuffix("runner") for known in valid}:
        raise ConfigError(f"unknown runner {name!r}{nearest(name, valid)}")


def execute(build: Callable[[beam.Pipeline], None], engine: Engine) -> None:
    """Build a pipeline with `build`, run it, and return when it has succeeded.

    Raises:
      ConfigError: `engine.beam_args` is wrong; nothing was run.
      StageError: a worker process died, or a remote engine stopped before the end.
      Exception: what the engine raises when user code failed; holds the user's error.
    """
    options = PipelineOptions(list(engine.beam_args))
    name = options.view_as(StandardOptions).runner
    runner = LocalRunner(engine.workers) if name is None else create_runner(name)
    job_service.prepare(runner, options)
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline)
    if name is None:
        state = pipeline.run().wait_until_finish()
    else:
        with job_service.naming_server(options):
            state = _wait(pipeline.run())
    if state != PipelineState.DONE:
        raise StageError(f"the engine stopped in state {state}")


def _wait(job: PipelineResult) -> str:
    """Wait for a job of a remote engine; Ctrl-C cancels it, so that nobody writes on behind us."""
    try:
        return str(job.wait_until_finish())
    except KeyboardInterrupt:
        # Whatever it raises, the person at the keyboard wants to leave.
        with contextlib.suppress(Exception):
            job.cancel()
        raise
