"""Training shards as a person or a trainer reads them: record k of the training order, at once.

    from massivetext import shards

    shards.open("out/shards/manifest.json")[k]  # tokens of record k

`manifest.json` says everything about a folder of shards; `docs/shards.md` gives the format to the
byte. Files are memory-mapped, so opening costs nothing and any number of processes may read; of an
object store, `shards.open("s3://bucket/out/shards")`, only the records that are read are fetched.
"""

from typing import Any

import numpy as np

from .errors import InputError, nearest
from .record_files import RecordFiles as RecordFiles
from .record_files import Records as Records
from .shard_manifest import FORMAT as FORMAT
from .shard_manifest import VERSION as VERSION
from .shard_manifest import read_manifest
from .storage import Location, is_remote, location
from .tfrecord import layout

MANIFEST = "manifest.json"


class HeldOut(RecordFiles):
    """The held-out documents of one subset, packed like training sequences, in their order.

    Attributes:
      targets: real targets in all records: every token of the documents, ends included, once.
      text_bytes: UTF-8 bytes of the documents' text, for bits per byte.
      documents: number of documents.
    """

    def __init__(self, shards: "Shards", entry: dict[str, Any]):
        self.targets: int = entry["targets"]
        self.text_bytes: int = entry["text_bytes"]
        self.documents: int = entry["documents"]
        manifest = shards.manifest
        tokens = np.full(len(manifest["subsets"]), self.targets, np.int64)
        files = [(shards.folder / entry["path"], entry["sequences"])]
        super().__init__(files, shards.record, tokens, manifest["vocab_size"], shards._check)


class Shards(RecordFiles):
    """A folder of shards: `len(shards)` records in training order.

    Attributes:
      folder: where the shards are.
      manifest: the contents of `manifest.json` (docs/shards.md).
      heldout_names: subsets that have held-out records.
    """

    def __init__(self, manifest: Location | str, check: bool = True):
        path = location(manifest)
        # What an object store calls a file, and what a folder, is told by names alone.
        if not (path.suffix == ".json" if is_remote(path) else path.is_file()):
            path = path if path.name == MANIFEST else path / MANIFEST
        self.folder = path.parent
        self.manifest = read_manifest(path)
        self.sequence_length: int = self.manifest["sequence_length"]
        record = layout(self.sequence_length + 1, self.manifest["dtype"])
        files = [
            (self.folder / entry["path"], entry["records"]) for entry in self.manifest["files"]
        ]
        tokens = [entry["available_tokens"] for entry in self.manifest["subsets"]]
        vocab_size = self.manifest["vocab_size"]
        super().__init__(files, record, np.array(tokens, np.int64), vocab_size, check)

    @classmethod
    def open(cls, manifest: Location | str, check: bool = True) -> "Shards":
        """Open shards; see `open`."""
        return cls(manifest, check)

    @property
    def heldout_names(self) -> tuple[str, ...]:
        return tuple(self.manifest["heldout"])

    def heldout(self, subset: str) -> HeldOut:
        """Return the held-out records of `subset`.

        Raises:
          InputError: the subset has none, or its file is missing or of the wrong size.
        """
        entries = self.manifest["heldout"]
        if subset not in entries:
            raise InputError(
                f"{self.folder} has no held-out set of {subset!r}{nearest(subset, entries)}"
            )
        return HeldOut(self, entries[subset])


def open(manifest: Location | str, check: bool = True) -> Shards:
    """Open the shards of a `manifest.json`, or of the folder that it lies in.

    Args:
      check: judge every record that is read: CRC-32C, and tokens within the vocabulary.

    Raises:
      InputError: no manifest, one that this version cannot read or that contradicts itself, a
        missing file, or a file whose size is wrong.
    """
    return Shards(manifest, check)
