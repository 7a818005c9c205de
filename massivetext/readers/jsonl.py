"""JSON Lines: a JSON object a line, plain or compressed."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from ..config import FieldNames
from . import sink as limits
from .sink import Sink
from .stream import Stream

_BOM = b"\xef\xbb\xbf"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# The standard decoder would accept NaN and Infinity, which no other JSON reader takes.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


class NotTextError(ValueError):
    """A record has no text where text should be."""


def lines(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """Yield lines without their end, in bounded memory; None for one beyond `RECORD_BYTES`."""
    pending: list[bytes] = []
    size = 0
    skipping = False
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        if not skipping:
            size += len(first)
            if size > limits.RECORD_BYTES:
                skipping = True
                pending.clear()
            else:
                pending.append(first)
        if rest:
            yield None if skipping else b"".join(pending)
            yield from (None if len(line) > limits.RECORD_BYTES else line for line in rest[:-1])
            pending, size, skipping = [rest[-1]], len(rest[-1]), False
    if skipping or size:
        yield None if skipping else b"".join(pending)


def read_jsonl(stream: Stream, fields: FieldNames, sink: Sink) -> Iterator[pa.RecordBatch]:
    """Yield batches of the records of one file; bad lines become dead letters."""
    for number, raw in enumerate(lines(stream.chunks()), start=1):
        line = raw.removeprefix(_BOM) if raw is not None and number == 1 else raw
        if line is not None and not line.strip():
            continue
        try:
            if line is None:
                raise NotTextError(limits.too_large())
            batch = _add(line, fields, sink)
        except (ValueError, RecursionError) as error:
            sink.reject(f"{sink.name}:{number}: {explain(error)}", (line or b"")[:4096])
            continue
        if batch is not None:
            yield batch


def explain(error: Exception) -> str:
    """Return what is wrong with a record, for its dead letter."""
    if isinstance(error, NotTextError):
        return str(error)
    if isinstance(error, UnicodeDecodeError):
        return f"invalid UTF-8 at byte {error.start}"
    if isinstance(error, UnicodeEncodeError):
        return "a string holds a lone surrogate, which is not text"
    if isinstance(error, RecursionError):
        return "invalid JSON (nested too deeply)"
    return f"invalid JSON ({error})"


def _add(line: bytes, fields: FieldNames, sink: Sink) -> pa.RecordBatch | None:
    record = _DECODER.decode(line.decode())
    if not isinstance(record, dict):
        raise NotTextError(f"expected a JSON object, found {type(record).__name__}")
    name = fields.html or fields.text
    text = record.pop(name, None)
    if not isinstance(text, str):
        found = "missing" if text is None else f"a {type(text).__name__}, not a string"
        has = ", ".join(sorted(map(str, record))[:20])
        raise NotTextError(f"field {name!r} is {found}; the record has {has or 'no other field'}")
    url = _take(record, fields.url)
    timestamp = _take(record, fields.timestamp)
    if sink.pages:
        return sink.page(
            text.encode(), charset="utf-8", url=url, timestamp=timestamp, metadata=record
        )
    return sink.document(text, url=url, timestamp=timestamp, metadata=record)


def _take(record: dict[str, Any], name: str) -> str | None:
    """Remove and return the string `name`; anything but a string stays in the metadata."""
    return record.pop(name) if isinstance(record.get(name), str) else None
