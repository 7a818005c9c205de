"""Where and how a build runs, and what of that its stages need not know."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import apache_beam as beam

from massivetext import storage
from massivetext.scratch import run_folder
from massivetext.storage import Location

from .exchange import Exchange
from .execute import Engine, execute

# A listing of an object store costs a request for every thousand names.
STORE_SECONDS = 10.0


@dataclass(frozen=True)
class Context:
    """Where and how a build runs."""

    root: Location
    engine: Engine
    quiet: bool = False


MakeExchange = Callable[[str, int], Exchange]
"""Makes an exchange by a key column over a number of partitions, as it suits the engine."""


def execute_exchange(
    context: Context, build: Callable[[beam.Pipeline, MakeExchange], None]
) -> None:
    """Run a pipeline that holds exchanges: through files of this machine, which are gone at the
    end, or, on engines whose workers share no disk, through the engine; raises as `execute`."""
    if not context.engine.shared_disk:
        native: MakeExchange = lambda key, count: Exchange(key, count, "", native=True)  # noqa: E731
        execute(lambda pipeline: build(pipeline, native), context.engine)
        return
    with run_folder("exchange") as folder:
        make: MakeExchange = lambda key, count: Exchange(key, count, str(folder))  # noqa: E731
        execute(lambda pipeline: build(pipeline, make), context.engine)


def paced(context: Context, count: Callable[[], int]) -> Callable[[], int]:
    """Return `count`, which on an object store is asked no more often than makes sense there."""
    if not storage.is_remote(context.root):
        return count
    known, asked = 0, -STORE_SECONDS

    def slow() -> int:
        nonlocal known, asked
        if time.monotonic() - asked >= STORE_SECONDS:
            known, asked = count(), time.monotonic()
        return known

    return slow
