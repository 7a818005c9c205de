"""A document a file: plain text, source code, saved HTML pages."""

from collections.abc import Iterator

import pyarrow as pa

from .. import storage
from ..errors import InputError
from . import sink as limits
from .sink import Sink
from .stream import Stream

_BOM = b"\xef\xbb\xbf"


def read_file(stream: Stream, sink: Sink) -> Iterator[pa.RecordBatch]:
    """Yield the batch, if any, that the one document of this file completes."""
    try:
        size = storage.size(storage.location(stream.path))
    except OSError as error:
        raise InputError(f"cannot read {stream.path}: {error.strerror}") from error
    if size > limits.RECORD_BYTES:
        sink.reject(f"{sink.name}: {limits.too_large(size)}", whole_file=True)
        return
    content = b"".join(stream.chunks())
    if sink.pages:
        batch = sink.page(content, charset=None, whole_file=True)
    else:
        try:
            text = content.removeprefix(_BOM).decode()
        except UnicodeDecodeError as error:
            reason = f"{sink.name}: invalid UTF-8 at byte {error.start}; convert it or exclude it"
            sink.reject(reason, content[:4096], whole_file=True)
            return
        batch = sink.document(text, whole_file=True)
    if batch is not None:
        yield batch
