"""Millions of documents to deduplicate: a tenth with text, made of real passages; noise the rest.

Noise has sketches only: without duplicates near it no document's text is ever read.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import corpora
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from massivetext.config import Config, Subset
from massivetext.dataset import ParquetFile
from massivetext.document import DOCUMENT
from massivetext.dropped import DROPPED
from massivetext.pipelines import sketch
from massivetext.pipelines.context import Context
from massivetext.pipelines.part import Part

REAL, NOISE = "real", "noise"
REAL_SHARE = 10
NOISE_ROWS = 250_000
REAL_ROWS = 20_000
WORDS = 200
PASSAGE = 8
EDITS = 4
BOILERPLATE_WORDS = 150
BOILERPLATES = 20
SEED = 1


class Input(NamedTuple):
    """What deduplication starts from, once there are sketches."""

    config: Config
    parts: list[Part]
    sketches: dict[str, Any]


def config(folder: Path) -> Config:
    """Return the config of a corpus: the papers' parameters, on both of its subsets."""
    return Config(str(folder), {name: Subset(("unused",)) for name in (REAL, NOISE)})


def make(context: Context, documents: int) -> None:
    """Write `documents` documents below `context.root`, their sketches, and what `load` reads."""
    real = documents // REAL_SHARE
    made = config(context.root)
    measured = {"subsets": {REAL: {"parts": _real(context.root, real)}}}
    parts, manifest = sketch.run(context, made, measured, {"files": []})
    counts = manifest["counts"]
    rows = documents - real
    entries = [{"name": part.name, "bytes": part.bytes, **part.arguments} for part in parts]
    for start in range(0, rows, NOISE_ROWS):
        count = min(NOISE_ROWS, rows - start)
        name = f"{NOISE}/part-{start // NOISE_ROWS:05d}"
        _noise(context.root, name, start, count, made.deduplicate.bands)
        entries.append({"name": name, "bytes": count, "subset": NOISE, "rows": count})
    counts["documents"] += rows
    sketches = {"counts": counts, "subsets": {}, "files": []}
    text = json.dumps({"parts": entries, "sketches": sketches})
    (context.root / "input.json").write_text(text)


def load(folder: Path) -> Input:
    """Return what `make` wrote."""
    value = json.loads((folder / "input.json").read_text())
    parts = [
        Part(entry["name"], entry["bytes"], {"subset": entry["subset"], "rows": entry["rows"]})
        for entry in value["parts"]
    ]
    return Input(config(folder), sorted(parts, key=lambda part: part.name), value["sketches"])


def _real(root: Path, count: int) -> list[dict[str, Any]]:
    """Write `count` documents of real passages, in families of up to four with up to four edits;
    one in fifty has the boilerplate of thousands."""
    texts = pa.array([document["text"] for document in corpora.all_texts()])
    stream = pc.utf8_split_whitespace(texts).flatten().dictionary_encode()
    words, passages = stream.dictionary, stream.indices.to_numpy()
    rng = np.random.default_rng(SEED)
    entries = []
    boilerplate = _passages(rng, passages, BOILERPLATES, BOILERPLATE_WORDS)
    for start in range(0, count, REAL_ROWS):
        size = min(REAL_ROWS, count - start)
        text = _passages(rng, passages, size, WORDS)
        # Every document is an edited copy of the one at most three before it that begins a family.
        first = np.maximum.accumulate(np.where(rng.random(size) < 0.4, np.arange(size), 0))
        first = np.where(np.arange(size) - first < 4, first, np.arange(size))
        text = text[first]
        edits = np.where(first == np.arange(size), 0, rng.integers(0, EDITS + 1, size))
        for edit in range(EDITS):
            rows = np.flatnonzero(edits > edit)
            at = rng.integers(0, WORDS, len(rows))
            text[rows, at] = rng.choice(passages, len(rows))
        crowd = np.flatnonzero(rng.random(size) < 0.02)
        text[crowd, :BOILERPLATE_WORDS] = boilerplate[rng.integers(0, BOILERPLATES, len(crowd))]
        name = f"{REAL}/part-{start // REAL_ROWS:05d}"
        _write(root, name, start, words.take(pa.array(text.reshape(-1))), size)
        entries.append({"name": name, "rows": size, "bytes": 6 * WORDS * size})
    return entries


def _passages(rng: np.random.Generator, stream: np.ndarray, count: int, length: int) -> np.ndarray:
    """Return documents of `length` words, int64 [count, length]: passages too short for a 13-gram,
    each from anywhere, so that no two documents are alike by chance."""
    number = -(-length // PASSAGE)
    at = rng.integers(0, len(stream) - PASSAGE, (count, number, 1)) + np.arange(PASSAGE)
    return stream[at].reshape(count, -1)[:, :length]


def _write(root: Path, name: str, start: int, words: pa.Array, size: int) -> None:
    lists = pa.ListArray.from_arrays(pa.array(np.arange(size + 1, dtype=np.int32) * WORDS), words)
    columns = {
        "id": _ids(REAL, start, size),
        "subset": pa.array([REAL] * size),
        "text": pc.binary_join(lists, " "),
        "source": pa.array(["generated"] * size),
    }
    arrays = [
        columns[field.name].cast(field.type)
        if field.name in columns
        else pa.nulls(size, field.type)
        for field in DOCUMENT
    ]
    with ParquetFile(root, f"measured/{name}.parquet", DOCUMENT) as file:
        file.write(pa.RecordBatch.from_arrays(arrays, schema=DOCUMENT))
    with ParquetFile(root, f"dropped/clean/{name}.parquet", DROPPED):
        pass


def _ids(subset: str, start: int, count: int) -> pa.Array:
    numbers = pa.array(np.arange(start, start + count)).cast(pa.string())
    return pc.binary_join_element_wise(f"{subset}/generated#", numbers, "")


def _noise(root: Path, name: str, start: int, count: int, bands: int) -> None:
    """Write sketches: of all, one in twenty is like one before it, and one in a hundred the same
    document."""
    rng = np.random.default_rng([SEED, start])
    own = np.arange(start, start + count)
    like = np.where(rng.random(count) < 0.05, rng.integers(0, own + 1), own)
    like = np.where(rng.random(count) < 0.01, 0, like).astype(np.uint64)
    hashes = _mix(like[:, None] * np.uint64(64) + np.arange(bands + 3, dtype=np.uint64))
    own_bands = np.ascontiguousarray(hashes[:, 3:])
    schema = sketch.schema(bands)
    columns = [
        pa.array(np.arange(count)),
        _ids(NOISE, start, count),
        pa.array(_mix(own.astype(np.uint64) + np.uint64(1 << 48))),
        pa.array(hashes[:, 0].copy()),
        pa.array(hashes[:, 1].copy()),
        pa.array((hashes[:, 2] % np.uint64(1000)).astype(np.int64) + 1),
        pa.Array.from_buffers(pa.binary(8 * bands), count, [None, pa.py_buffer(own_bands)]),
    ]
    with ParquetFile(root, f"sketches/{name}.parquet", schema) as file:
        batch = pa.RecordBatch.from_arrays(columns, schema=schema)
        for at in range(0, count, 1 << 14):
            file.write(batch.slice(at, 1 << 14))


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: different numbers, however alike, become random ones."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
