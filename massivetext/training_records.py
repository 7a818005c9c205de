"""What a trainer needs of its data: fixed-width records in training order, and held-out sets.

`Shards` reads them from files; `MixtureRecords` computes them from token stores.
"""

from typing import Any, Protocol

from .record_files import Records
from .storage import Location


class RecordReader(Protocol):
    """`len(reader)` records; record k is the k-th of the order."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Records:
        """Return the records [start, stop)."""
        ...


class HeldOutRecords(RecordReader, Protocol):
    """The held-out documents of one subset; see `shards.HeldOut`."""

    targets: int
    text_bytes: int
    documents: int


class TrainingRecords(RecordReader, Protocol):
    """The records of a run.

    Attributes:
      folder: what messages call them.
      manifest: what `shards.manifest.json` says of subsets, held-out sets and tokenizer. Its sha256
        is the identity of the records: a run continues only on the same.
    """

    folder: Location
    manifest: dict[str, Any]
    sequence_length: int

    @property
    def heldout_names(self) -> tuple[str, ...]: ...

    def heldout(self, subset: str) -> HeldOutRecords: ...
