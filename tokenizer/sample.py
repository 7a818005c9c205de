"""Draw the text that a tokenizer is trained on: seeded, by subset weight, in bounded memory.

Documents are ordered by a seeded hash of their id and the first ones are taken until the subset's
share of bytes is full, so the sample depends on ids and seed alone: not on the order of files,
their number or the workers. Only documents whose hash is below a cutoff, estimated from the totals
with a wide margin, are ever read in whole.
"""

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from massivetext.dataset import open_parquet, read_table
from massivetext.document import text_buffers
from massivetext.errors import InputError
from massivetext.hashing import hash_rows
from massivetext.storage import Location

SAMPLE = pa.schema(
    [
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
    ]
)

# Keeps this choice apart from others that hash ids under the same seed.
SAMPLE_SALT = 0x544F4B4E
LARGEST_HASH = 2**64 - 1


def budgets(available: Mapping[str, int], weights: Mapping[str, float], total: int) -> dict:
    """Return how many bytes of each subset make a sample of `total` bytes, by weight.

    A subset with less than its share is taken whole, and what it leaves free goes to the others by
    weight. Subsets without weight get 0. The sum is at most `total`, short of it by rounding only
    (less than one byte a subset) unless everything is taken.

    Args:
      available: bytes of text by subset.
      weights: sampling weight by subset; need not sum to one.
    """
    result = dict.fromkeys(sorted(available), 0)
    open_ = [name for name in result if weights.get(name, 0) > 0 and available[name] > 0]
    left = total
    while open_:
        weight = math.fsum(weights[name] for name in open_)
        share = {name: int(left * (weights[name] / weight)) for name in open_}
        whole = [name for name in open_ if available[name] <= share[name]]
        if not whole:
            return result | share
        for name in whole:
            result[name] = available[name]
            left -= available[name]
            open_.remove(name)
    return result


def cutoff(documents: int, size: int, budget: int) -> int:
    """Return the largest hash of an id that may be needed to fill `budget` of `size` bytes.

    A uniform hash below it is expected for a fifth more documents than fill the budget, plus six
    standard deviations and twenty: too few are drawn only where few documents hold most bytes.
    """
    if budget >= size or documents == 0:
        return LARGEST_HASH
    expected = documents * budget / size
    wanted = 1.2 * expected + 6 * math.sqrt(expected) + 20
    if wanted >= documents:
        return LARGEST_HASH
    return int(wanted / documents * 2**64)


def candidates(path: Location, largest: int, budget: int, seed: int) -> Iterator[pa.RecordBatch]:
    """Yield the documents of a Parquet file whose hash is at most `largest`, as `SAMPLE` batches.

    Texts are cut to `budget` bytes: no more of one can be used. Ids are read first and row groups
    without a candidate are not decoded.

    Raises:
      InputError: the file is not Parquet with the columns `id` and `text`.
    """
    try:
        with open_parquet(path) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["id"]).column("id").combine_chunks()
                hashes = hash_rows(*text_buffers(ids), seed ^ SAMPLE_SALT)
                rows = np.flatnonzero(hashes <= np.uint64(largest))
                if len(rows) == 0:
                    continue
                texts = file.read_row_group(group, columns=["text"]).column("text").take(rows)
                yield pa.RecordBatch.from_arrays(
                    [
                        pa.array(hashes[rows]),
                        ids.take(pa.array(rows)).cast(pa.string()),
                        _truncate(texts.combine_chunks().cast(pa.large_string()), budget),
                    ],
                    schema=SAMPLE,
                )
    except (pa.ArrowInvalid, KeyError) as error:
        raise InputError(f"{path} is not a documents file: {error}; build it again") from error


def _truncate(texts: pa.Array, limit: int) -> pa.Array:
    if (pc.max(pc.binary_length(texts)).as_py() or 0) <= limit:
        return texts
    return pa.array([truncate(text, limit) for text in texts.to_pylist()], pa.large_string())


def truncate(text: str, limit: int) -> str:
    """Return the longest start of `text` that has at most `limit` UTF-8 bytes."""
    return text.encode()[:limit].decode(errors="ignore")


def fill(files: Iterable[Location], budget: int) -> Iterator[str]:
    """Yield texts of `SAMPLE` files in the order of their hashes until `budget` bytes are full.

    The last text is cut to fit. Holds the candidates of one subset in memory: some 1.2 times the
    budget.
    """
    tables = [read_table(file).cast(SAMPLE) for file in files]
    if not tables:
        return
    table = pa.concat_tables(tables)
    order = pc.sort_indices(table, sort_keys=[("hash", "ascending"), ("id", "ascending")])
    texts = table.column("text")
    left = budget
    for row in order.to_numpy():
        if left <= 0:
            return
        text = truncate(texts[row].as_py(), left)
        left -= len(text.encode())
        yield text
