"""Progress for people: one moving line on a terminal, plain lines in a log."""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

LOG_SECONDS = 30.0
TERMINAL_SECONDS = 0.2


def human_bytes(count: float) -> str:
    """Return `count` bytes in a unit that reads well, such as 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000 or unit == "TB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def human_seconds(seconds: float) -> str:
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class Progress:
    """Shows `done()` of `total` with rate and ETA, from a thread, until the block ends.

    `note()`, asked after `done()`, is what else to say of what is done.

    On a terminal the line is redrawn; otherwise a plain line is written every 30 seconds.
    """

    def __init__(
        self,
        title: str,
        total: int,
        done: Callable[[], int],
        *,
        unit: Callable[[float], str] = human_bytes,
        note: Callable[[], str] = lambda: "",
        quiet: bool = False,
    ):
        self.title, self.total, self.done = title, total, done
        self.unit, self.note, self.quiet = unit, note, quiet
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        self._started = time.monotonic()
        self._first = self.done()
        if not self.quiet:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            if self._terminal:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()

    def _watch(self) -> None:
        while not self._stop.wait(TERMINAL_SECONDS if self._terminal else LOG_SECONDS):
            text = self.text()
            if self._terminal:
                sys.stderr.write(f"\r\x1b[K{text}")
            else:
                sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def text(self) -> str:
        done = self.done()
        elapsed = time.monotonic() - self._started
        rate = (done - self._first) / elapsed if elapsed > 0 else 0.0
        share = done / self.total if self.total else 1.0
        eta = f", {human_seconds((self.total - done) / rate)} left" if rate > 0 else ""
        return (
            f"{self.title:<16} {share:5.1%}  {self.unit(done)} of {self.unit(self.total)}"
            f"{self.note()}  {self.unit(rate)}/s{eta}"
        )

    @staticmethod
    def line(title: str, text: str) -> None:
        """Write one lasting line about `title`."""
        sys.stderr.write(f"{title:<16} {text}\n")
        sys.stderr.flush()
