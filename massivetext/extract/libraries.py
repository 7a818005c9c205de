"""The extractors of text that a config can name: Gopher's, and libraries of the extra `html`.

Gopher's runs in process, in linear time. The libraries have pages on which they hang, crash or
take gigabytes, so each worker runs its own in a process beside it, which is killed when a page
takes too long, and started again.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ..config import Extractor
from ..errors import ConfigError, StageError
from . import Extract, extract_with_title, title_of
from .child import FAILED, READY

START_SECONDS = 120.0  # importing a library from a slow disk

_FUNCTIONS = {
    Extractor.TRAFILATURA: "massivetext.extract.child:trafilatura",
    Extractor.RESILIPARSE: "massivetext.extract.child:resiliparse",
}


class ExtractionError(ValueError):
    """A library could not extract the text of a page; says which page and why."""


class Sandbox:
    """An extractor of text that runs in a process of its own, started when first needed.

    One page at a time: it is for one worker, and does not pickle.

    Args:
      name: what messages call the extractor.
      function: `module:function`; called once in the process, it returns a function from HTML to
        text, whose result must not depend on the pages before.
      seconds: after this time on one page the process is killed.
    """

    def __init__(self, name: str, function: str, seconds: float):
        self.name = name
        self.function = function
        self.seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __call__(self, html: bytes, address: str) -> tuple[bytes, str]:
        """Return the text, as UTF-8, and the title of a page.

        Raises:
          ExtractionError: the library raised an error, died, or took too long on `address`.
          PageTooLarge: the page is refused before the library sees it.
          ConfigError: the library cannot be imported.
        """
        html = html.replace(b"\0", b"")  # no character of HTML, and libraries stumble over it
        title = title_of(html)
        connection = self._connect()
        try:
            connection.send_bytes(html)
            if not connection.poll(self.seconds):
                self.close()
                raise ExtractionError(f"{self.name} took over {self.seconds:g} s on {address}")
            answer = connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise ExtractionError(f"{self.name} {self._death()} on {address}") from error
        if answer.startswith(FAILED):
            reason = answer[len(FAILED) :].decode()
            raise ExtractionError(f"{self.name} failed on {address}: {reason}")
        return answer[1:], title

    def _connect(self) -> Connection:
        if self._connection is not None:
            return self._connection
        ours, theirs = Pipe()
        command = [sys.executable, "-P", "-m", "massivetext.extract.child"]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), self.function, str(self.seconds)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    "PYTHONHASHSEED": "0",
                },
            )
        self._connection = ours
        try:
            answer = ours.recv_bytes() if ours.poll(START_SECONDS) else b""
        except (EOFError, OSError) as error:
            raise StageError(f"the extractor {self.name} {self._death()} when started") from error
        if answer != READY:
            self.close()
            reason = answer[1:].decode() or f"no answer in {START_SECONDS:g} s"
            raise ConfigError(
                f"the extractor {self.name} cannot be loaded ({reason}); "
                f'pip install --upgrade "massivetext[html]"'
            )
        return ours

    def _death(self) -> str:
        """Return how the process died, having closed the rest of it."""
        assert self._process is not None
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            code = 0
        self.close()
        return f"died ({signal.Signals(-code).name})" if code < 0 else f"ended (exit code {code})"

    def close(self) -> None:
        """Kill the process; the next page starts another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def extractor(name: str, seconds: float = 10.0) -> Extract:
    """Return the extractor called `name`, one of `config.Extractor`, for one worker.

    Args:
      seconds: how long a library may take for one page; Gopher's needs no limit.

    Raises:
      ConfigError: the library is not installed.
    """
    chosen = Extractor(name)
    if chosen is Extractor.GOPHER:
        return extract_with_title
    if importlib.util.find_spec(chosen) is None:
        raise ConfigError(
            f'the extractor {chosen} is not installed; pip install "massivetext[html]"'
        )
    return Sandbox(chosen, _FUNCTIONS[chosen], seconds)
