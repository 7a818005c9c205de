"""What a run says while it trains: a line for a person, a JSON line for programs, a plot."""

import json
import math
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from massivetext.dataset import atomic_file
from massivetext.progress import human_seconds

from .plot import loss_svg

MAX_LINES = 200


class Metrics:
    """Writes `train/metrics.jsonl`, lines on stderr and `train/loss.svg`; a context manager.

    Args:
      start: steps already done. Lines of later steps, written after the checkpoint that the run
        continues from, are removed: those steps are done again.
      steps: of the whole run; long runs print every n-th step so that about 200 lines appear.
    """

    def __init__(self, root: Path, start: int, steps: int, batch_tokens: int, quiet: bool):
        self.folder = root / "train"
        self.steps, self.batch_tokens, self.quiet = steps, batch_tokens, quiet
        self.every = max(1, steps // MAX_LINES)
        self.records = [r for r in read_metrics(root) if r["step"] <= start] if start else []
        with atomic_file(self.folder / "metrics.jsonl") as out:
            for record in self.records:
                out.write(_line(record))
        self._start = start
        self._began = self._last = time.monotonic()

    def __enter__(self) -> "Metrics":
        self._file = open(self.folder / "metrics.jsonl", "ab", buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def start_clock(self) -> None:
        """Forget the time since the last step: it was spent on something else."""
        self._last = time.monotonic()

    def step(self, done: int, rate: float, loss: float, norm: float, skipped: int) -> None:
        """Record that update number `done`, counted from 1, gave these values."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        if done == self._start + 1:
            self._began = now
        record = {
            "step": done,
            "tokens": done * self.batch_tokens,
            "loss": loss if math.isfinite(loss) else None,
            "learning_rate": rate,
            "gradient_norm": norm if math.isfinite(norm) else None,
            "skipped": skipped,
            "milliseconds": round(seconds * 1000, 1),
        }
        self._write(record)
        if not self.quiet and (done % self.every == 0 or done in (self._start + 1, self.steps)):
            # The first step is mostly compilation and tells nothing about the others.
            since = done - self._start - 1
            left = (now - self._began) / since * (self.steps - done) if since else None
            eta = f"  {human_seconds(left)} left" if left is not None else "  compiled"
            note = "" if math.isfinite(loss) and math.isfinite(norm) else "  SKIPPED: not finite"
            say(
                f"step {done:>{len(str(self.steps))}}/{self.steps}"
                f"  {done * self.batch_tokens / 1e6:8.2f} M tokens  loss {loss:7.4f}"
                f"  lr {rate:.2e}  |g| {norm:6.2f}  {seconds * 1000:6.0f} ms"
                f"  {self.batch_tokens / seconds:8,.0f} tokens/s{eta}{note}"
            )

    def evaluation(self, done: int, bits_per_byte: dict[str, float]) -> None:
        """Record the held-out bits per byte after `done` steps."""
        self._write({"step": done, "bits_per_byte": bits_per_byte})
        if not self.quiet and bits_per_byte:
            values = "  ".join(f"{name} {value:.3f}" for name, value in bits_per_byte.items())
            say(f"held out, step {done}: bits per byte  {values}")
        self.start_clock()

    def plot(self, title: str) -> None:
        """Write the loss curve."""
        rows = [r for r in self.records if r.get("loss") is not None]
        svg = loss_svg([r["tokens"] for r in rows], [r["loss"] for r in rows], title)
        with atomic_file(self.folder / "loss.svg") as out:
            out.write(svg.encode())

    def losses(self) -> list[float]:
        """Return the finite losses of all steps, in order."""
        return [r["loss"] for r in self.records if r.get("loss") is not None]

    def _write(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        self._file.write(_line(record))


def read_metrics(root: Path) -> list[dict[str, Any]]:
    """Return the lines of `train/metrics.jsonl`; one cut short by a kill ends the list."""
    path = root / "train" / "metrics.jsonl"
    records: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return records


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"
