"""Where readers put records: numbers them, builds batches, and sets bad ones aside."""

from typing import Any

import pyarrow as pa

from ..document import DOCUMENT, PAGE, BatchBuilder, DeadLetter, DeadLetters, metadata_json

STAGE = "read"
RECORD_BYTES = 1 << 30


def too_large(size: int | None = None) -> str:
    """Return the error of a record beyond `RECORD_BYTES`."""
    found = "the record" if size is None else f"the record has {size:,} bytes and"
    return f"{found} exceeds the limit of {RECORD_BYTES:,} bytes; split it"


class Sink:
    """Turns the records of one split into `DOCUMENT` or `PAGE` batches and dead letters.

    `record` is the number of the current record in the current file, counting from 0 every record
    of the file, also those set aside, so that an id does not depend on what else is readable.
    """

    def __init__(self, subset: str, dead: DeadLetters, *, pages: bool):
        self.subset = subset
        self.dead = dead
        self.pages = pages
        self.name = ""
        self.record = 0
        self._builder = BatchBuilder(PAGE if pages else DOCUMENT)

    def open(self, name: str, record: int = 0) -> None:
        """Start on the file `name`, whose first record to come has number `record`."""
        self.name = name
        self.record = record

    def document(
        self,
        text: str,
        *,
        url: str | None = None,
        timestamp: str | None = None,
        metadata: dict[str, Any] | None = None,
        whole_file: bool = False,
    ) -> pa.RecordBatch | None:
        """Add the current record as a document and go on to the next.

        Raises:
          UnicodeEncodeError: a string holds a lone surrogate, which UTF-8 cannot carry.
        """
        content = text.encode()  # Arrow takes it as it is, and would encode the string again
        return self._add(len(content), url, timestamp, metadata, whole_file, text=content)

    def page(
        self,
        content: bytes,
        *,
        charset: str | None,
        url: str | None = None,
        timestamp: str | None = None,
        metadata: dict[str, Any] | None = None,
        whole_file: bool = False,
    ) -> pa.RecordBatch | None:
        """Add the current record as a page of markup and go on to the next."""
        return self._add(
            len(content), url, timestamp, metadata, whole_file, content=content, charset=charset
        )

    def _add(
        self,
        size: int,
        url: str | None,
        timestamp: str | None,
        metadata: dict[str, Any] | None,
        whole_file: bool,
        **content: Any,
    ) -> pa.RecordBatch | None:
        encoded = metadata_json(metadata) if metadata else None
        for value in (encoded, url, timestamp):
            if value is not None:
                size += len(value.encode())
        batch = self._builder.add(
            size,
            id=self._id(whole_file),
            source=self.name,
            url=url,
            timestamp=timestamp,
            metadata=encoded,
            **content,
        )
        self.record += 1
        return batch

    def reject(self, error: str, payload: bytes = b"", *, whole_file: bool = False) -> None:
        """Set the current record aside and go on to the next."""
        self.dead.add(DeadLetter(self._id(whole_file), STAGE, self.name, error, payload))
        self.record += 1

    def damage(self, cause: str) -> None:
        """Set aside the rest of the file, from the current record on."""
        error = f"{self.name}: damaged at record {self.record}: {cause}; later records are lost"
        self.dead.add(DeadLetter(self._id(False), STAGE, self.name, error))

    def flush(self) -> pa.RecordBatch | None:
        return self._builder.flush()

    def _id(self, whole_file: bool) -> str:
        return f"{self.subset}/{self.name}" + ("" if whole_file else f"#{self.record}")
