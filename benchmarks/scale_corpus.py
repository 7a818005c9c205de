"""A corpus of any size: documents made of real paragraphs, with duplicates planted among them.

What a document holds is a function of its number, so files are made in parallel and in bounded
memory. Paragraphs recur (there are 80 MB of real ones), but two documents that are not planted
duplicates of each other share next to nothing: each draws its own paragraphs.
"""

import functools
import gzip
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import corpora
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

VERSION = 1
PARAGRAPH_BYTES = (150, 1500)
# Of log-normal lengths.
SPREAD = 0.7
# Shares of the documents of a subset: copies; copies with a line more; copies with another start.
EXACT, LONGER, EDITED = 0.05, 0.05, 0.03
CHUNK_BYTES = 4_000_000
COMPRESSION = 1


@dataclass(frozen=True)
class Kind:
    """A subset: which texts its documents are made of, and of how many paragraphs, on average."""

    sources: tuple[str, ...]
    paragraphs: float
    share: float


KINDS = {
    "massiveweb": Kind(tuple(corpora.TEXTS), 7.0, 0.7),
    "books": Kind(("novels",), 300.0, 0.3),
}


@dataclass(frozen=True)
class Paragraphs:
    """Real paragraphs, as they stand between the quotes of a JSON string."""

    text: pa.Array
    mean_bytes: float


@functools.cache
def paragraphs(sources: tuple[str, ...]) -> Paragraphs:
    """Return the distinct paragraphs of some corpora, sorted."""
    low, high = PARAGRAPH_BYTES
    found = {
        " ".join(piece.split())
        for name in sources
        for document in corpora.texts(name)
        for piece in document["text"].split("\n\n" if name != "c4" else "\n")
        if low <= len(piece) <= high
    }
    kept = sorted(found)
    escaped = [json.dumps(piece, ensure_ascii=False)[1:-1] for piece in kept]
    size = sum(len(piece.encode()) for piece in kept) / len(kept)
    return Paragraphs(pa.array(escaped, pa.string()), size)


@dataclass(frozen=True)
class File:
    """A file to make: documents `first` to `stop` of a subset."""

    path: Path
    kind: str
    first: int
    stop: int


def make(folder: Path, size: int, file_bytes: int, processes: int) -> dict[str, list[str]]:
    """Make a corpus of about `size` bytes of text in jsonl.gz files of about `file_bytes`.

    Files that are there already are taken as they are.

    Returns:
      The files of each subset.
    """
    files = []
    for name, kind in KINDS.items():
        count = max(1, round(size * kind.share / file_bytes))
        documents = round(
            size * kind.share / count / kind.paragraphs / paragraphs(kind.sources).mean_bytes
        )
        for number in range(count):
            place = folder / f"{name}-{VERSION}-{documents}"
            place.mkdir(parents=True, exist_ok=True)
            files.append(
                File(
                    place / f"part-{number:04d}.jsonl.gz",
                    name,
                    number * documents,
                    (number + 1) * documents,
                )
            )
    missing = [file for file in files if not file.path.exists()]
    if missing:
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(_write, missing))
    return {name: [str(file.path) for file in files if file.kind == name] for name in KINDS}


def sample(name: str, size: int) -> list[corpora.Document]:
    """Return the first documents of a subset, about `size` bytes of text."""
    kind = KINDS[name]
    count = max(1, round(size / kind.paragraphs / paragraphs(kind.sources).mean_bytes))
    records = [json.loads(line) for line in _lines(name, 0, count).splitlines()]
    return [{"id": record["url"], "text": record["text"]} for record in records]


def _write(file: File) -> None:
    kind = KINDS[file.kind]
    mean = kind.paragraphs * paragraphs(kind.sources).mean_bytes
    step = max(1, round(CHUNK_BYTES / mean))
    temporary = file.path.with_suffix(".tmp")
    with open(temporary, "wb") as out:
        for first in range(file.first, file.stop, step):
            lines = _lines(file.kind, first, min(file.stop, first + step))
            out.write(gzip.compress(lines, COMPRESSION, mtime=0))
    temporary.replace(file.path)


def _lines(name: str, first: int, stop: int) -> bytes:
    """Return documents `first` to `stop` of a subset as JSON Lines."""
    kind = KINDS[name]
    text = paragraphs(kind.sources).text
    number = np.arange(first, stop, dtype=np.uint64)
    root, longer, edited = _roots(number)
    normal = np.sqrt(-2 * np.log(1 - _uniform(root, 1))) * np.cos(2 * np.pi * _uniform(root, 2))
    count = np.exp(SPREAD * normal - SPREAD**2 / 2) * kind.paragraphs
    count = np.maximum(1, np.round(count)).astype(np.int64) + longer
    ends = np.cumsum(count)
    place = np.arange(ends[-1]) - np.repeat(ends - count, count)
    # A paragraph belongs to the document that a copy is of; what is edited, to the copy itself.
    own = (np.repeat(longer, count) & (place == np.repeat(count, count) - 1)) | (
        np.repeat(edited, count) & (place == 0)
    )
    source = np.where(own, np.repeat(number, count), np.repeat(root, count))
    drawn = _mix(source * np.uint64(1 << 20) + place.astype(np.uint64)) % np.uint64(len(text))
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    bodies = pc.binary_join(pa.ListArray.from_arrays(offsets, text.take(pa.array(drawn))), "\\n\\n")
    head, end = pa.scalar('{"text": "', pa.string()), pa.scalar('"}\n', pa.string())
    url = pa.array(number).cast(pa.string())
    middle = pa.scalar(f'", "url": "https://{name}.example/', pa.string())
    nothing = pa.scalar("", pa.string())
    lines = pc.binary_join_element_wise(head, bodies, middle, url, end, nothing)
    return memoryview(lines.buffers()[2]).tobytes()


def _roots(number: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the document that each is a copy of, itself if of none, and how the copy differs."""
    luck = _uniform(number, 3)
    longer = (luck >= EXACT) & (luck < EXACT + LONGER)
    edited = (luck >= EXACT + LONGER) & (luck < EXACT + LONGER + EDITED)
    root = number
    while True:
        copies = (_uniform(root, 3) < EXACT + LONGER + EDITED) & (root > 0)
        if not copies.any():
            return root, longer, edited
        # Early documents have more copies than late ones.
        root = np.where(copies, (root * _uniform(root, 4) ** 2).astype(np.uint64), root)


def _uniform(number: np.ndarray, purpose: int) -> np.ndarray:
    """Return a random number in [0, 1) that belongs to each document and purpose."""
    return (_mix(number * np.uint64(8) + np.uint64(purpose)) >> np.uint64(11)) / 2.0**53


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
