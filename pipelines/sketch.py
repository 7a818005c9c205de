"""Stage `sketch`: what deduplication needs to know of every document, in about 300 bytes each.

Output: `sketches/<subset>/part-*.parquet`, a row for every document that has words and passed the
rules. This is the one time that deduplication reads all text.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from massivetext.config import Config
from massivetext.dataset import sha256_json
from massivetext.document import text_buffers
from massivetext.hashing import hash_rows, hash_rows_128
from massivetext.minhash import band_hashes, signatures
from massivetext.shingles import normalise, shingle_normalised
from massivetext.urls import canonical

from .context import Context
from .part import Part, PartOutput, add_counts
from .parts import keep_mask, measured_parts, read_batches
from .stage import materialise, run_parts

VERSION = 1


def schema(bands: int, by_url: bool = False) -> pa.Schema:
    """Columns of a sketch; `bands` holds the band hashes as little-endian uint64. With `by_url`
    there is a hash of subset and canonical URL, null for a document without one."""
    urls = [pa.field("url_hash0", pa.uint64()), pa.field("url_hash1", pa.uint64())]
    return pa.schema(
        [
            pa.field("row", pa.int64(), nullable=False),
            pa.field("id", pa.string(), nullable=False),
            pa.field("priority", pa.uint64(), nullable=False),
            pa.field("hash0", pa.uint64(), nullable=False),
            pa.field("hash1", pa.uint64(), nullable=False),
            pa.field("shingles", pa.int64(), nullable=False),
            pa.field("bands", pa.binary(8 * bands), nullable=False),
            *(urls if by_url else []),
        ]
    )


class Sketch:
    """Hashes the surviving documents of one measured part."""

    def __init__(self, ngram: int, bands: int, rows: int, seed: int, by_url: bool):
        self.ngram, self.bands, self.rows, self.seed = ngram, bands, rows, seed
        self.by_url = by_url
        self.schema = schema(bands, by_url)
        self.columns = ["id", "text", *(["url"] if by_url else [])]

    def setup(self) -> None:
        pass

    def run(self, part: Part, out: PartOutput) -> None:
        keep = keep_mask(out.root, part, ("clean",))
        start = 0
        path = out.root / f"measured/{part.name}.parquet"
        with out.parquet(f"sketches/{part.name}.parquet", self.schema) as file:
            for batch in read_batches(path, self.columns):
                rows = np.flatnonzero(keep[start : start + batch.num_rows])
                kept = batch.take(pa.array(rows))
                sketch = self.sketch(kept, rows + start, part.arguments["subset"])
                file.write(sketch)
                start += batch.num_rows
                out.counts["documents"] += len(rows)
                out.counts["empty"] += len(rows) - sketch.num_rows
                out.counts["shingles"] += int(sketch.column("shingles").to_numpy().sum())
                out.progress(part.bytes * start // max(1, len(keep)))

    def sketch(self, batch: pa.RecordBatch, rows: np.ndarray, subset: str) -> pa.RecordBatch:
        """Return the sketches of a batch of `columns`, without documents that have no words.

        `rows` are the documents' rows in the measured part, int64 [n].
        """
        text = normalise(*text_buffers(batch.column("text")))
        hashes, starts = shingle_normalised(text, self.ngram)
        bands = band_hashes(signatures(hashes, starts, self.bands * self.rows), self.bands)
        exact = hash_rows_128(text.data, text.offsets)
        columns = [
            pa.array(rows, pa.int64()),
            batch.column("id"),
            pa.array(hash_rows(*text_buffers(batch.column("id")), self.seed)),
            pa.array(exact[:, 0].copy()),
            pa.array(exact[:, 1].copy()),
            pa.array(np.diff(starts)),
            pa.Array.from_buffers(
                pa.binary(8 * self.bands), len(bands), [None, pa.py_buffer(bands.tobytes())]
            ),
        ]
        if self.by_url:
            columns += _url_hashes(batch.column("url"), subset)
        all_rows = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        return all_rows.filter(pa.array(text.words > 0))


def _url_hashes(urls: pa.Array, subset: str) -> list[pa.Array]:
    keys = pc.binary_join_element_wise(
        pa.scalar(subset, pa.large_string()), canonical(urls), pa.scalar("\n", pa.large_string())
    )
    hashes = hash_rows_128(*text_buffers(keys.fill_null("")))
    none = keys.is_null().to_numpy(zero_copy_only=False)
    return [pa.array(hashes[:, half].copy(), mask=none) for half in (0, 1)]


def run(
    context: Context, config: Config, measured: dict[str, Any], clean: dict[str, Any]
) -> tuple[list[Part], dict[str, Any]]:
    """Return the parts that take part in deduplication and the manifest of their sketches."""
    rule = config.deduplicate
    subsets = [name for name in config.subsets if name not in rule.except_ and rule.enabled]
    parts = measured_parts(measured, subsets)
    depends = {
        "upstream": [sha256_json(measured), sha256_json(clean)],
        "subsets": sorted(subsets),
        "sketch": [rule.ngram, rule.bands, rule.rows, *(["url"] if rule.by_url else [])],
        "seed": config.seed,
        "version": VERSION,
    }

    def produce(key: str) -> dict[str, Any]:
        work = Sketch(rule.ngram, rule.bands, rule.rows, config.seed, rule.by_url)
        results = run_parts(context, "sketch", key, parts, work)
        by_subset = {
            name: add_counts(
                [r for p, r in zip(parts, results, strict=True) if p.arguments["subset"] == name]
            )
            for name in sorted(subsets)
        }
        files = [file for result in results for file in result.files]
        return {"files": files, "counts": add_counts(results), "subsets": by_subset}

    return parts, materialise(context, "sketch", depends, ("sketches",), produce)
