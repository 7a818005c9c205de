"""Stopping in order: a signal is heard between two steps."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
from jax.experimental import multihost_utils


@contextmanager
def stop_on_signal() -> Iterator[Callable[[int], bool]]:
    """Give a function of the steps done that says whether to stop after them.

    SIGTERM and SIGINT set it; a second signal acts as it did before. Of several processes, whoever
    gets SIGTERM, all stop after the same step: JAX agrees on it.
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
        return
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread only: whoever owns it decides.
        yield lambda done: False
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
        yield lambda done: stop.is_set()
    finally:
        restore()
