"""Work shared among threads: for kernels and readers that let go of Python's lock."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


def cores() -> int:
    """Return how many cores this process may use."""
    # Affinity is what this process may use, but only Linux tells it.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def for_each(items: Iterable[Item], work: Callable[[Item], None], threads: int) -> None:
    """Call `work` with every item, from `threads` threads, in any order.

    Items are taken when a thread is free, so as many exist at a time as there are threads. The
    first error, of `work` or of `items`, ends all after the calls that are under way, and is
    raised.
    """
    source, taking, stopped = iter(items), Lock(), Event()

    def run() -> None:
        try:
            while not stopped.is_set():
                with taking:
                    item = next(source, _END)
                if item is _END:
                    return
                work(item)  # type: ignore[arg-type]
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(threads) as pool:
        try:
            for future in [pool.submit(run) for _ in range(threads)]:
                future.result()
        finally:
            # When the first to be asked failed, or a person interrupts the wait.
            stopped.set()
