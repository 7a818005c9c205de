"""WARC and WET archives (ISO 28500), read with exact bounds.

Own framing, because a record cut short must be told from a whole one: FastWARC hands out the cut
record as if it were whole, and ends quietly when the cut is inside a header.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from . import sink as limits
from .sink import Sink
from .stream import DamagedError, Stream

HEADER_BYTES = 1 << 20
_HTML_TYPES = ("text/html", "application/xhtml+xml")


class _UndecodableError(ValueError):
    """The body of a response cannot be decoded."""


class _Bytes:
    """Takes exact numbers of bytes from a stream of chunks."""

    def __init__(self, stream: Stream):
        self._chunks = stream.chunks()
        self._buffer = bytearray()

    def _fill(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._buffer += chunk
        return True

    def line(self) -> bytes | None:
        """Return the next line without its end; None when the stream ends before one."""
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if start > HEADER_BYTES:
                raise DamagedError(f"a header line exceeds {HEADER_BYTES:,} bytes")
            if not self._fill():
                if self._buffer.strip():
                    raise DamagedError("the file ends inside a record header")
                return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.rstrip(b"\r")

    def take(self, size: int, *, keep: bool) -> bytes:
        """Return the next `size` bytes, or b"" having passed over them when not `keep`."""
        parts: list[bytes] = []
        left = size
        while left:
            if not self._buffer and not self._fill():
                raise DamagedError(f"the file ends {left:,} bytes before the end of a record")
            part = bytes(self._buffer[:left])
            del self._buffer[:left]
            left -= len(part)
            if keep:
                parts.append(part)
        return b"".join(parts)


@dataclass(frozen=True)
class _Header:
    fields: dict[str, str]
    length: int

    def get(self, name: str) -> str | None:
        return self.fields.get(name)


def _fields(lines: Iterator[bytes]) -> dict[str, str]:
    """Return header fields by lower-case name; the first of a repeated field counts."""
    fields: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[:1] in (b" ", b"\t") and name:  # a folded line continues the field before it
            fields[name] += " " + line.decode("utf-8", "replace").strip()
            continue
        key, colon, value = line.decode("utf-8", "replace").partition(":")
        if colon:
            name = key.strip().lower()
            fields.setdefault(name, value.strip())
    return fields


def _next_header(source: _Bytes) -> _Header | None:
    """Return the header of the next record, None at the end of the archive."""
    while (version := source.line()) is not None and not version.strip():
        pass
    if version is None:
        return None
    if not version.startswith(b"WARC/"):
        raise DamagedError(f"expected a record that starts with WARC/, found {version[:40]!r}")

    def header_lines() -> Iterator[bytes]:
        size = 0
        while line := source.line():
            size += len(line)
            if size > HEADER_BYTES:
                raise DamagedError(f"a record header exceeds {HEADER_BYTES:,} bytes")
            yield line
        if line is None:
            raise DamagedError("the file ends inside a record header")

    fields = _fields(header_lines())
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise DamagedError(f"a record has Content-Length {length!r}, not a number")
    return _Header(fields, int(length))


_Add = Callable[[Sink, _Header, bytes], pa.RecordBatch | None]


def read_warc(stream: Stream, sink: Sink) -> Iterator[pa.RecordBatch]:
    """Yield `PAGE` batches: HTTP responses with status 200 and an HTML content type."""
    yield from _read(stream, sink, "response", _page)


def read_wet(stream: Stream, sink: Sink) -> Iterator[pa.RecordBatch]:
    """Yield `DOCUMENT` batches: the conversion records, which hold extracted text."""
    yield from _read(stream, sink, "conversion", _conversion)


def _read(stream: Stream, sink: Sink, kind: str, add: _Add) -> Iterator[pa.RecordBatch]:
    source = _Bytes(stream)
    while (header := _next_header(source)) is not None:
        wanted = (header.get("warc-type") or "").lower() == kind
        keep = wanted and header.length <= limits.RECORD_BYTES
        body = source.take(header.length, keep=keep)
        number = sink.record
        batch = None
        if keep:
            try:
                batch = add(sink, header, body)
            except (_UndecodableError, UnicodeError) as error:
                sink.reject(f"{sink.name}: record {number}: {error}", body[:4096])
        elif wanted:
            sink.reject(f"{sink.name}: record {number}: {limits.too_large(header.length)}")
        sink.record = number + 1
        if batch is not None:
            yield batch


def _conversion(sink: Sink, header: _Header, body: bytes) -> pa.RecordBatch | None:
    return sink.document(body.decode(), url=_url(header), timestamp=header.get("warc-date"))


def _page(sink: Sink, header: _Header, body: bytes) -> pa.RecordBatch | None:
    head, separator, content = body.partition(b"\r\n\r\n")
    if not separator:
        head, _, content = body.partition(b"\n\n")
    status, *lines = head.split(b"\n")
    words = status.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or words[1] != b"200":
        return None
    fields = _fields(line.rstrip(b"\r") for line in lines)
    media, _, parameters = fields.get("content-type", "").partition(";")
    if media.strip().lower() not in _HTML_TYPES:
        return None
    if "chunked" in fields.get("transfer-encoding", "").lower():
        content = _unchunk(content)
    content = _decode_content(content, fields.get("content-encoding", "").strip().lower())
    return sink.page(
        content, charset=_charset(parameters), url=_url(header), timestamp=header.get("warc-date")
    )


def _url(header: _Header) -> str | None:
    url = header.get("warc-target-uri")
    return url.strip("<>") if url else None  # WARC/1.0 as written by some wraps it in <>


def _charset(parameters: str) -> str | None:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'") or None
    return None


def _unchunk(content: bytes) -> bytes:
    """Undo chunked transfer; crawlers that store the decoded body keep the header, so tolerate."""
    parts: list[bytes] = []
    position = 0
    while (end := content.find(b"\r\n", position)) >= 0 and end - position < 64:
        try:
            size = int(content[position:end].split(b";")[0], 16)
        except ValueError:
            break
        if size < 0:
            break
        if size == 0:
            return b"".join(parts)
        parts.append(content[end + 2 : end + 2 + size])
        position = end + 2 + size + 2
    return content if position == 0 else b"".join(parts)


def _decode_content(content: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return content
    if encoding in ("gzip", "x-gzip"):
        if content[:2] != b"\x1f\x8b":  # stored decoded, header kept
            return content
        window = 31
    elif encoding == "deflate":
        window = 15 if content[:1] == b"\x78" else -15
    else:
        raise _UndecodableError(f"content encoding {encoding!r} is not supported; store it decoded")
    codec = zlib.decompressobj(wbits=window)
    try:
        decoded = codec.decompress(content, limits.RECORD_BYTES)
    except zlib.error as error:
        raise _UndecodableError(f"corrupt {encoding} body ({error})") from error
    if codec.unconsumed_tail:
        raise _UndecodableError(limits.too_large())
    return decoded
