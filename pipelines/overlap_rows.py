"""Evidence of the overlap stage: for every document it drops, a drop and a row of `overlaps/`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from massivetext.dropped import DROPPED

# Kind of an overlap, and the rule that a drop names.
JACCARD, CONTAINMENT, TITLE = "test_set", "test_set_containment", "title"
_RULES = {
    JACCARD: "test_set_overlap",
    CONTAINMENT: "test_set_containment",
    TITLE: "wikipedia_title",
}
OVERLAP = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("test_set", pa.string()),
        pa.field("test_id", pa.string()),
        pa.field("jaccard", pa.float64()),
        pa.field("kind", pa.string(), nullable=False),
        # What the containment rule measured; a row has the value of the rule that dropped it.
        pa.field("containment", pa.float64()),
        # Bytes of the document's text that the item shares: the longest run of its n-grams.
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
        # How many test items are above the threshold of the rule in this document.
        pa.field("items", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Found:
    """Documents of a batch that one rule drops: where they are, and the evidence for each."""

    kind: str
    at: np.ndarray
    test_set: pa.Array
    test_id: pa.Array
    value: pa.Array
    threshold: float | None
    spans: np.ndarray | None = None
    items: np.ndarray | None = None

    def batches(
        self, documents: pa.RecordBatch, rows: np.ndarray, subset: str
    ) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Return the rows of `DROPPED` and of `OVERLAP`."""
        count = len(self.at)
        ids = documents.column("id").take(pa.array(self.at))
        nothing, none = pa.nulls(count, pa.float64()), pa.nulls(count, pa.int64())

        def same(value: Any, kind: pa.DataType) -> pa.Array:
            return pa.repeat(pa.scalar(value, kind), count)

        drop = [
            ids,
            same(subset, pa.string()),
            same("overlap", pa.string()),
            same(_RULES[self.kind], pa.string()),
            self.value,
            same(self.threshold, pa.float64()),
            pa.array(rows[self.at], pa.int64()),
            self.test_id,
            self.test_set,
        ]
        overlap = [
            ids,
            self.test_set,
            self.test_id,
            self.value if self.kind == JACCARD else nothing,
            same(self.kind, pa.string()),
            self.value if self.kind == CONTAINMENT else nothing,
            none if self.spans is None else pa.array(self.spans[:, 0]),
            none if self.spans is None else pa.array(self.spans[:, 1]),
            none if self.items is None else pa.array(self.items),
        ]
        return (
            pa.RecordBatch.from_arrays(drop, schema=DROPPED),
            pa.RecordBatch.from_arrays(overlap, schema=OVERLAP),
        )
