"""One long training in a process of its own, so that its devices and memory are free after it.

JAX takes hold of a GPU for as long as its process lives, and the workers that train proxies need
it next.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from massivetext.errors import MassivetextError, StageError

# To save a checkpoint and end, before it is killed.
STOP_SECONDS = 30.0


def run_apart(function: Callable[..., Any], *arguments: Any, threads: int) -> Any:
    """Return what `function`, one of a module, returns of `arguments`; both must be sendable.

    When this process is told to stop, so is that one, which may save what it has done. Nothing is
    left running, not even when this process is killed.

    Args:
      threads: of computation that it may have, at least 1.

    Raises:
      MassivetextError: as `function` does.
      StageError: the process died.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    # The child watches its end of this one: it closes when this process ends, however it does.
    watched, held = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, watched, threads, function, arguments))
    process.start()
    sender.close()
    watched.close()
    outcome, received = None, False
    try:
        outcome, received = _received(receiver), True
    finally:
        if not received and process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGTERM)
        process.join(None if received else STOP_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        held.close()
        receiver.close()
    if outcome is None:
        raise StageError(
            f"the process that trained died (exit code {process.exitcode}), perhaps for want of "
            "memory; run the same command again to continue"
        )
    if isinstance(outcome, MassivetextError):
        raise outcome
    return outcome[0]


def _received(receiver: Connection) -> Any:
    """Return what the child sent, or None if it died before."""
    try:
        return receiver.recv()
    except EOFError:
        return None


def _child(
    sender: Connection,
    watched: Connection,
    threads: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    # Ctrl-C then reaches the parent alone, and this process once.
    os.setsid()
    # XLA's own name for the cores it may take; read when JAX first asks for a device.
    os.environ["NPROC"] = str(max(1, threads))
    # As proxies do (`pool`), unless told otherwise.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    threading.Thread(target=_stop_with_parent, args=(watched,), daemon=True).start()
    try:
        outcome: Any = (function(*arguments),)
    except MassivetextError as error:
        # As what the driver knows: it has not imported what a kind of its own would need.
        kind = next(k for k in type(error).__mro__ if k.__module__ == MassivetextError.__module__)
        outcome = kind(str(error))
    with contextlib.suppress(BrokenPipeError):  # there is nobody left to tell
        sender.send(outcome)


def _stop_with_parent(watched: Connection) -> None:
    try:
        watched.recv()
    except EOFError:
        os.kill(os.getpid(), signal.SIGTERM)
