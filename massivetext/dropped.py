"""The record that every dropped document leaves: which rule, what it measured, the limit."""

import pyarrow as pa

# The stages that drop documents, in their order: the folders below `dropped/`.
DROP_STAGES = ("clean", "exact", "near", "spans", "overlap")

DROPPED = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("subset", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("threshold", pa.float64()),
        # Row of the document in the measured file of the same subset and part name.
        pa.field("row", pa.int64(), nullable=False),
        # The document or test item it duplicates or copies.
        pa.field("partner", pa.string()),
        # Of a duplicate: the folder of the earlier build that the partner is of, if it is.
        pa.field("detail", pa.string()),
    ]
)
