"""TensorBoard's event files, written as they are defined: TFRecords of `Event` messages.

The messages are three and small, so they are encoded here (tensorboard/compat/proto/event.proto,
summary.proto). Every event is on its way to the disk when `add` returns, whatever happens to the
run after; nothing is queued.
"""

import struct
import time
from collections.abc import Mapping
from pathlib import Path

from massivetext.tfrecord import masked_crc

PREFIX = "events.out.tfevents"
VERSION = b"brain.Event:2"
SESSION_START = 1


class Events:
    """The events of one process, in a new file of `folder`; a context manager.

    Args:
      start: steps already done: TensorBoard forgets what earlier files say of later ones.
    """

    def __init__(self, folder: Path, start: int):
        number = sum(1 for _ in folder.glob(f"{PREFIX}.*"))
        path = folder / f"{PREFIX}.{number:06d}"
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115 - until the block ends
        self._write(0, _field(3, VERSION))
        self.restart(start)

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def restart(self, done: int) -> None:
        """Say that the run is at `done` steps again: what was said of later ones is void."""
        self._write(done + 1, _field(7, _key(1, 0) + _varint(SESSION_START)))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write `scalars` by name, as they are after `step` steps."""
        values = (
            _field(1, _field(1, name.encode()) + _key(2, 5) + struct.pack("<f", value))
            for name, value in scalars.items()
        )
        self._write(step, _field(5, b"".join(values)))

    def _write(self, step: int, what: bytes) -> None:
        event = _key(1, 1) + struct.pack("<d", time.time()) + _key(2, 0) + _varint(step) + what
        length = struct.pack("<Q", len(event))
        crcs = (struct.pack("<I", masked_crc(part)) for part in (length, event))
        self._file.write(length + next(crcs) + event + next(crcs))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _field(number: int, payload: bytes) -> bytes:
    return _key(number, 2) + _varint(len(payload)) + payload
