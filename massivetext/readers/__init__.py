"""Readers: files of many formats in, RecordBatches out, in bounded memory.

`plan` expands a subset's inputs into splits, `fingerprint` identifies their contents, `read` yields
the records of one split as `DOCUMENT` or `PAGE` batches.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa

from ..config import Format, Subset
from ..document import DeadLetters
from .files import read_file
from .fingerprint import fingerprint
from .jsonl import read_jsonl
from .mediawiki import read_mediawiki
from .parquet import read_parquet
from .sink import Sink
from .split import Split, is_markup, plan
from .stream import DamagedError, Stream
from .warc import read_warc, read_wet

__all__ = ["Split", "fingerprint", "plan", "read", "yields_pages"]


def yields_pages(subset: Subset) -> bool:
    """Return whether `read` gives `PAGE` batches, which need extraction, rather than `DOCUMENT`."""
    return subset.format in (Format.WARC, Format.HTML) or (
        subset.format in (Format.JSONL, Format.PARQUET) and bool(subset.fields.html)
    )


def read(
    split: Split,
    subset: Subset,
    name: str,
    dead: DeadLetters,
    on_bytes: Callable[[int], None],
) -> Iterator[pa.RecordBatch]:
    """Yield the records of `split`, a split of the subset called `name`, in the order of the files.

    An id is `name/file#record`, or `name/file` where a file is a document. Records that cannot be
    read go to `dead`; a damaged file gives every whole record before the damage and one dead letter
    for the rest.

    Args:
      on_bytes: is told how many (compressed) bytes of the split have been read so far.

    Raises:
      InputError: a file cannot be read at all (disk, permissions), or lacks the text column.
    """
    sink = Sink(name, dead, pages=yields_pages(subset))
    before = 0
    last = 0

    def advance(count: int) -> None:
        nonlocal last
        last = before + count
        on_bytes(last)

    for path, file in zip(split.paths, split.names, strict=True):
        before = last
        sink.open(file)
        try:
            if subset.format is Format.PARQUET:
                yield from read_parquet(path, split.start, split.stop, subset.fields, sink, advance)
            else:
                yield from _records(Stream(path, advance), file, subset, sink)
        except DamagedError as damage:
            sink.damage(str(damage))
    batch = sink.flush()
    if batch is not None:
        yield batch


def _records(stream: Stream, file: str, subset: Subset, sink: Sink) -> Iterator[pa.RecordBatch]:
    match subset.format:
        case Format.WARC:
            return read_warc(stream, sink)
        case Format.WET:
            return read_wet(stream, sink)
        case Format.MEDIAWIKI:
            return read_mediawiki(stream, sink)
        case Format.FILES:
            return read_file(stream, sink)
        case Format.HTML if is_markup(file):
            return read_file(stream, sink)
        case Format.HTML:
            fields = replace(subset.fields, html=subset.fields.html or "html")
            return read_jsonl(stream, fields, sink)
        case _:
            return read_jsonl(stream, subset.fields, sink)
