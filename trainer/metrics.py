"""What a run says while it trains: a line for a person, a JSON line and an event for programs."""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from typing import Any

from massivetext.dataset import atomic_file
from massivetext.errors import StageError
from massivetext.progress import human_seconds
from massivetext.published import Published
from massivetext.storage import Location

from .events import Events
from .plot import run_svg

FILE = "metrics.jsonl"
MAX_LINES = 200
MAX_EVENTS = 10_000


class Metrics:
    """Writes `train/metrics.jsonl`, events for TensorBoard, lines on stderr and `train/loss.svg`.

    A context manager. The files are those of one process: with `writes` false, nothing is written.
    On an object store they appear, as far as they are, with every evaluation and checkpoint.

    Args:
      steps, tokens: of the whole run; long runs print every n-th step so that about 200 lines
        appear, and write some 10,000 events.
      done: steps already done.
      size: bytes of `metrics.jsonl` at the checkpoint that the run continues from: lines after
        these are removed, for their steps are done again.
      text_bytes: bytes of text per target of the training mixture; None when it is not known.
      mfu: the share of the devices' peak at a number of tokens per second; None when that is
        not known.
    """

    def __init__(
        self,
        root: Location,
        steps: int,
        tokens: int,
        *,
        done: int = 0,
        size: int = 0,
        text_bytes: float | None = None,
        mfu: Callable[[float], float | None] | None = None,
        quiet: bool = False,
        writes: bool = True,
    ):
        self._published = Published(root / "train")
        self.folder = self._published.folder
        self.steps, self.tokens = steps, tokens
        self.text_bytes, self.mfu = text_bytes, mfu
        self.quiet, self.writes = quiet or not writes, writes
        self.every = max(1, steps // MAX_LINES)
        self.event_every = max(1, steps // MAX_EVENTS)
        self._done, self._size = done, size
        self._last = time.monotonic()
        # When the first step of an unbroken stretch ended, and the tokens then: it was mostly
        # compilation and tells nothing about the others.
        self._base: tuple[float, int] | None = None

    def __enter__(self) -> "Metrics":
        self._open = ExitStack()
        if self.writes:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._published.fetch(lambda name: "/" not in name)
            path = self.folder / FILE
            file = self._open.enter_context(open(path, "ab", buffering=0))
            os.truncate(path, min(self._size, path.stat().st_size))
            self._file = file
            self._events = self._open.enter_context(Events(self.folder, self._done))
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._open.close()
        # What a run that failed has said is worth having, and why it failed worth more.
        with suppress(StageError) if kind else nullcontext():
            self._published.publish()
        self._published.close()

    def size(self) -> int:
        """Publish `metrics.jsonl`; return its bytes so far, which a checkpoint keeps."""
        self._published.publish()
        return os.fstat(self._file.fileno()).st_size if self.writes else 0

    def start_clock(self) -> None:
        """Forget the time since the last step: it was spent on something else."""
        self._last = time.monotonic()

    def step(
        self, done: int, tokens: int, batch_tokens: int, values: dict[str, float], skipped: int
    ) -> None:
        """Record update number `done`, counted from 1.

        Args:
          tokens: trained up to and with this update; `batch_tokens` by this one.
          values: `loss` (nats per target), `learning_rate`, `gradient_norm`, and what else there is
            to say. What is not finite is recorded as null.
          skipped: updates skipped so far because they were not finite.
        """
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        compiled, base = self._base is None, self._base or (now, tokens)
        self._base = base
        speed = batch_tokens / max(seconds, 1e-9)
        mfu = self.mfu(speed) if self.mfu and not compiled else None
        loss = values["loss"]
        bits = loss / (math.log(2) * self.text_bytes) if self.text_bytes else None
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        record: dict[str, Any] = {"step": done, "tokens": tokens}
        record |= {name: finite.get(name) for name in values}
        if bits is not None:
            record["bits_per_byte_training"] = bits if math.isfinite(bits) else None
        record |= {"skipped": skipped, "milliseconds": round(seconds * 1000, 1)}
        if mfu is not None:
            record["mfu"] = round(mfu, 4)
        self.write(record)
        if self.writes and done % self.event_every == 0:
            self._events.add(done, {**finite, "tokens_per_second": speed})
        if not self.quiet and (done % self.every == 0 or compiled or done == self.steps):
            rate = (tokens - base[1]) / max(now - base[0], 1e-9)
            eta = human_seconds((self.tokens - tokens) / rate) + " left" if rate else "compiled"
            say(
                f"step {done:>{len(str(self.steps))}}/{self.steps}"
                f"  {tokens / 1e6:8.2f} M tokens  loss {loss:7.4f}"
                + (f"  bpb {bits:6.4f}" if bits is not None else "")
                + f"  lr {values['learning_rate']:.2e}  |g| {values['gradient_norm']:6.2f}"
                f"  {seconds * 1000:6.0f} ms  {speed:8,.0f} tokens/s"
                + (f"  MFU {mfu:5.1%}" if mfu is not None else "")
                + f"  {eta}"
                + ("" if len(finite) == len(values) else "  SKIPPED: not finite")
            )

    def evaluation(self, done: int, tokens: int, bits_per_byte: dict[str, float]) -> None:
        """Record the held-out bits per byte after `done` steps."""
        self.write({"step": done, "tokens": tokens, "bits_per_byte": bits_per_byte})
        if self.writes and bits_per_byte:
            self._events.add(done, {f"bpb/{name}": bpb for name, bpb in bits_per_byte.items()})
        self._published.publish()
        if not self.quiet and bits_per_byte:
            values = "  ".join(f"{name} {value:.3f}" for name, value in bits_per_byte.items())
            say(f"held out, step {done}: bits per byte  {values}")
        self.start_clock()

    def rewind(
        self, step: int, loss: float, to: int, tokens: int, records: tuple[int, int]
    ) -> None:
        """Record that the run went back from a spike at `step` to step `to`, without `records`.

        `tokens` had been trained at step `to`. Lines of the steps between stay in the file; those
        after this one take their place.
        """
        self.write({"step": step, "rewind": {"to": to, "loss": loss, "records": list(records)}})
        if self.writes:
            self._events.restart(to)
        if not self.quiet:
            say(
                f"step {step}: loss {loss:.4f} is a spike: back to step {to}, leaving out records "
                f"{records[0]:,} to {records[1] - 1:,}"
            )
        self._base = time.monotonic(), tokens
        self.start_clock()

    def plot(self, title: str) -> None:
        """Write the loss and the evaluations of the run as it went, without what was undone."""
        if not self.writes:
            return
        losses: list[tuple[int, float]] = []
        held_out: dict[str, list[tuple[int, float]]] = {}
        for record in kept(read_metrics(self.folder.parent)):
            if record.get("loss") is not None:
                losses.append((record["tokens"], record["loss"]))
            for name, bits in record.get("bits_per_byte", {}).items():
                held_out.setdefault(name, []).append((record["tokens"], bits))
        with atomic_file(self.folder / "loss.svg") as out:
            out.write(run_svg(losses, held_out, title).encode())

    def write(self, record: dict[str, Any]) -> None:
        """Add a line to `metrics.jsonl`."""
        if not self.writes:
            return
        try:
            self._file.write(json.dumps(record).encode() + b"\n")
        except OSError as error:
            raise StageError(
                f"{self.folder / FILE} cannot be written ({error.strerror}); free some space and "
                "run again"
            ) from error


def read_metrics(root: Location) -> list[dict[str, Any]]:
    """Return the lines of `train/metrics.jsonl`; one cut short by a kill ends the list."""
    path = root / "train" / FILE
    records: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return records


def kept(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the records of the run as it went in the end: without steps that a rewind undid."""
    # Backwards, a rewind to step n undoes what was recorded before it of later steps.
    limit = math.inf
    wanted = []
    for record in reversed(records):
        if "rewind" in record:
            limit = min(limit, record["rewind"]["to"])
        elif record["step"] <= limit:
            wanted.append(record)
    yield from reversed(wanted)


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
