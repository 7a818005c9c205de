"""A file as a stream of decompressed bytes that tells damage from the end of the file.

The standard library's and pyarrow's readers end quietly, or lose what they had already decoded,
when a compressed file is cut or corrupt. This one hands out every byte that can be decoded before
the damage and then raises `DamagedError`.
"""

import bz2
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import InputError
from ..storage import location, open_binary

PLAIN_PIECE = 1 << 20
BZ2_OUTPUT = 1 << 20


class DamagedError(Exception):
    """The container of the records is broken from here on; the message is the cause."""


class _Codec:
    """A decompressor of one member, stream or frame, whichever library it is from."""

    errors: tuple[type[Exception], ...]
    piece: int  # compressed bytes fed at once: bounds what one call can decompress to
    _codec: Any

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield self._codec.decompress(data)

    @property
    def eof(self) -> bool:
        return bool(self._codec.eof)

    @property
    def unused(self) -> bytes:
        return bytes(self._codec.unused_data)


class _Gzip(_Codec):
    """One gzip member. Deflate expands at most 1,032 times, so a piece gives at most 66 MB.

    By ISA-L, which decompresses 2.7 times as fast as zlib.
    """

    piece = 1 << 16

    def __init__(self) -> None:
        from isal import isal_zlib

        # Its stubs take the class for an exception.
        self.errors = (cast(type[Exception], isal_zlib.error),)
        self._codec = isal_zlib.decompressobj(wbits=31)


class _Bz2(_Codec):
    """One bzip2 stream, output bounded: 40 bytes of it can stand for 45 MB."""

    errors = (OSError,)
    piece = 1 << 16

    def __init__(self) -> None:
        self._codec = bz2.BZ2Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield self._codec.decompress(data, BZ2_OUTPUT)
        while not self._codec.eof and not self._codec.needs_input:
            yield self._codec.decompress(b"", BZ2_OUTPUT)


class _Zstd(_Codec):
    """One Zstandard frame. A block of 4 bytes can give 128 KiB, hence the small pieces."""

    piece = 1 << 12

    def __init__(self) -> None:
        import zstandard

        self.errors = (zstandard.ZstdError,)
        self._codec = zstandard.ZstdDecompressor().decompressobj()


_CODECS: dict[str, tuple[str, Callable[[], _Codec]]] = {
    ".gz": ("gzip", _Gzip),
    ".bz2": ("bzip2", _Bz2),
    ".zst": ("Zstandard", _Zstd),
}


def uncompressed_name(name: str) -> str:
    """Return `name` without the suffix of a compression that `Stream` reads."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in _CODECS else name


class Stream:
    """Reads `path`, decompressing by its suffix (.gz, .bz2, .zst; several members or frames).

    Args:
      path: the file.
      on_bytes: is told how many bytes of the file have been read so far.

    Raises (from `chunks` and `read`):
      DamagedError: compressed data is cut or corrupt; everything before it has been handed out.
      InputError: the disk or the permissions failed.
    """

    def __init__(self, path: str, on_bytes: Callable[[int], None]):
        self.path = path
        self._on_bytes = on_bytes
        self._source = self.chunks()
        self._buffer = b""
        self._position = 0

    def chunks(self) -> Iterator[bytes]:
        """Yield the decompressed bytes, in pieces of bounded size."""
        try:
            file = open_binary(location(self.path))
        except OSError as error:
            raise InputError(f"cannot open {self.path}: {error.strerror}") from error
        with file:
            kind = _CODECS.get(Path(self.path).suffix.lower())
            if kind is None:
                yield from self._pieces(file, PLAIN_PIECE)
            else:
                yield from self._decompress(file, *kind)

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, b"" at the end; the file interface that parsers expect."""
        while self._position >= len(self._buffer):
            chunk = next(self._source, None)
            if chunk is None:
                return b""
            self._buffer, self._position = chunk, 0
        end = len(self._buffer) if size < 0 else self._position + size
        data = self._buffer[self._position : end]
        self._position += len(data)
        return data

    def _pieces(self, file: BinaryIO, size: int) -> Iterator[bytes]:
        done = 0
        while True:
            try:
                data = file.read(size)
            except OSError as error:
                raise InputError(f"cannot read {self.path}: {error.strerror}") from error
            if not data:
                return
            done += len(data)
            self._on_bytes(done)
            yield data

    def _decompress(
        self, file: BinaryIO, title: str, create: Callable[[], _Codec]
    ) -> Iterator[bytes]:
        codec: _Codec | None = None
        offset = start = given = 0  # of: the piece, the member, the member's output so far
        for piece in self._pieces(file, create().piece):
            data = piece
            while data:
                if codec is None:
                    data = data.lstrip(b"\0")  # tapes and some tools pad with zeros
                    if not data:
                        break
                    codec = create()
                    start, given = offset + len(piece) - len(data), 0
                try:
                    for out in codec.feed(data):
                        if out:
                            given += len(out)
                            yield out
                except codec.errors as error:
                    end = offset + len(piece)
                    yield from self._salvage(create(), start, end - len(data), end, given)
                    raise DamagedError(f"corrupt {title} data ({error})") from error
                if not codec.eof:
                    break
                data, codec = codec.unused, None
            offset += len(piece)
        if codec is not None:
            raise DamagedError(f"{title} data is cut short; the file is incomplete")
        if offset == 0:
            raise DamagedError(f"the file is empty, not {title} data")

    def _salvage(
        self, codec: _Codec, start: int, bad: int, end: int, given: int
    ) -> Iterator[bytes]:
        """Decode the member again and yield what lies between `given` bytes and the damage.

        A decompressor that raises drops what it had decoded in that call, so the piece that failed
        is fed byte by byte: the cost is one more pass over the member, paid only for damage.
        """
        with open_binary(location(self.path)) as file:
            file.seek(start)
            while (position := file.tell()) < end:
                size = min(codec.piece, bad - position) if position < bad else 1
                try:
                    for out in codec.feed(file.read(size)):
                        if len(out) > given:
                            yield out[given:]
                        given = max(0, given - len(out))
                except codec.errors:
                    return
