"""Documents as the batches in which pipelines measure them."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from contender import Document

from massivetext.document import DOCUMENT, BatchBuilder


def batches(documents: Iterable[Document]) -> Iterator[pa.RecordBatch]:
    """Yield the documents `{id, text}` as `DOCUMENT` batches of about `BATCH_BYTES`."""
    builder = BatchBuilder(DOCUMENT)
    for document in documents:
        size = len(document["text"].encode())
        batch = builder.add(size, id=document["id"], text=document["text"], source="benchmark")
        if batch is not None:
            yield batch
    rest = builder.flush()
    if rest is not None:
        yield rest
