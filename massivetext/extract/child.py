"""The process in which a library extracts text, so that a hang or a crash costs one page.

`python -m massivetext.extract.child FD MODULE:FUNCTION SECONDS` reads pages from the socket FD and
answers each with its text or an error. FUNCTION is called once and returns the extractor. Messages
are bytes with a length before them; nothing is pickled.
"""

import importlib
import logging
import math
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

READY, TEXT, FAILED = b"r", b"t", b"e"  # first byte of a message from the child

MEMORY_BYTES = 8 << 30
# An extractor that nobody waits for any more, because the parent was killed, ends by itself.
_GRACE_SECONDS = 5


def trafilatura() -> Callable[[str], str]:
    """Return trafilatura as it is run over web corpora: without the fallbacks, or metadata.

    Its own removal of duplicates stays off: what it gives depends on the pages before.
    """
    from trafilatura import extract

    return lambda html: extract(html, fast=True, deduplicate=False, with_metadata=False) or ""


def resiliparse() -> Callable[[str], str]:
    """Return resiliparse's extraction of the main content, with lines, lists and paragraphs."""
    from resiliparse.extract.html2text import extract_plain_text

    return lambda html: str(extract_plain_text(html, preserve_formatting=True, main_content=True))


def main(descriptor: str, function: str, seconds: str) -> None:
    """Answer pages until the other end is closed."""
    logging.disable()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    alarm = math.ceil(float(seconds)) + _GRACE_SECONDS
    with Connection(int(descriptor)) as parent:
        module, _, name = function.partition(":")
        try:
            extract = getattr(importlib.import_module(module), name)()
        except ImportError as error:
            parent.send_bytes(FAILED + str(error).encode("utf-8", "replace"))
            return
        parent.send_bytes(READY)
        while True:
            try:
                page = parent.recv_bytes()
            except EOFError:
                return
            signal.alarm(alarm)
            try:
                answer = TEXT + extract(page.decode()).encode("utf-8", "replace")
            except Exception as error:  # a library may raise anything; the page is set aside
                answer = FAILED + f"{type(error).__name__}: {error}".encode("utf-8", "replace")
            signal.alarm(0)
            try:
                parent.send_bytes(answer)
            except BrokenPipeError:
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
