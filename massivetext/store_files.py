"""Objects of a store as files: read in blocks, and written so that no half of one is ever seen."""

import contextlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from .store_errors import naming

# Of an object that is read here and there, the last few blocks stay in memory.
BLOCKS = 8
# What is sent at once of a large object, and kept in memory of every object being written. A store
# takes 10,000 pieces: 160 GB.
UPLOAD_BYTES = 16 << 20


def on_hdfs(fs: Any) -> bool:
    """Return whether a filesystem of fsspec is HDFS: its files grow in sight, and it can rename."""
    return "hdfs" in fs.protocol


class StoreReader(io.RawIOBase):
    """An object opened for reading, seekable, whose errors name its address.

    Args:
      fs, name: filesystem of fsspec, and the object's name in it.
      block: bytes that one request asks for.
    """

    def __init__(self, fs: Any, name: str, address: str, block: int):
        super().__init__()
        self.address = address
        options: dict[str, Any] = {}
        if not on_hdfs(fs):
            options = {
                "block_size": block,
                "cache_type": "blockcache",
                "cache_options": {"maxblocks": BLOCKS},
            }
        with naming(address):
            self._file = fs.open(name, "rb", **options)

    def read(self, size: int | None = -1) -> bytes:
        with naming(self.address):
            return bytes(self._file.read(-1 if size is None else size))

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _Writer(io.RawIOBase):
    """An object being written, whose errors name its address."""

    def __init__(self, file: Any, address: str):
        super().__init__()
        self.address, self._file = address, file

    def write(self, data: Any) -> int:
        with naming(self.address):
            return int(self._file.write(data))

    def writable(self) -> bool:
        return True


@contextmanager
def upload(fs: Any, name: str, address: str) -> Iterator[BinaryIO]:
    """Write an object, which appears when the block ends without an error, and otherwise never.

    Raises:
      OSError: it cannot be written; names the address.
    """
    hdfs = on_hdfs(fs)
    target = f"{name}.tmp-{os.getpid()}" if hdfs else name
    with naming(address):
        if hdfs:
            fs.makedirs(str(PurePosixPath(name).parent), exist_ok=True)
        file = fs.open(target, "wb", block_size=UPLOAD_BYTES)
    try:
        yield cast(BinaryIO, _Writer(file, address))
        with naming(address):
            file.close()
    except BaseException:
        _abandon(fs, file, target)
        raise
    if hdfs:
        with naming(address):
            if fs.exists(name):
                fs.rm_file(name)
            fs.mv(target, name)


def _abandon(fs: Any, file: Any, target: str) -> None:
    """Drop what has been sent of an object."""
    with contextlib.suppress(Exception):  # what fails here must not hide why it was dropped
        if on_hdfs(fs):
            file.close()
            fs.rm_file(target)
        else:
            file.discard()
    # Else it would be sent, as far as it has come, when Python frees it.
    file.closed = True
