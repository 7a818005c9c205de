"""The real texts and pages that benchmarks run on, from the folder `$MASSIVETEXT_DATA`."""

import functools
import gzip
import json
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from massivetext.config import Format, Subset
from massivetext.document import DeadLetters
from massivetext.encoding import decode
from massivetext.errors import ConfigError
from massivetext.readers import plan, read

# English text of three kinds: short web pages, technical prose, whole novels.
TEXTS = {
    "c4": "web/c4_en_1000.jsonl.gz",
    "peps": "prose/python_peps.jsonl.gz",
    "novels": "books/eltec_english_novels.jsonl.gz",
}
ENGLISH_WARCS = (
    "web/python3.11-doc.warc.gz",
    "web/postgresql-doc-15.warc.gz",
    "web/libreoffice-help-en-us.warc.gz",
)
ARTICLES = "html/readability_130_pages.jsonl.gz"
SENTENCES = "languages/lingua_75_languages.jsonl.gz"
WORD_LIST = "languages/ldnoobw_en.txt"
LANGUAGE_MODEL = "models/lid.176.ftz"

MEMBER_BYTES = 1_000_000
CHUNK_BYTES = 20_000

Document = dict[str, Any]


def locate(relative: str) -> Path:
    """Return the path of a file of the data folder.

    Raises:
      ConfigError: `MASSIVETEXT_DATA` is unset, or the file is not in that folder.
    """
    folder = os.environ.get("MASSIVETEXT_DATA")
    if not folder:
        raise ConfigError(
            "MASSIVETEXT_DATA is not set; set it to the folder of the data "
            "(what it holds: benchmarks/README.md)"
        )
    path = Path(folder) / relative
    if not path.is_file():
        raise ConfigError(f"there is no {path}; MASSIVETEXT_DATA must be a folder with {relative}")
    return path.absolute()


def records(relative: str) -> list[Document]:
    """Return the records of a jsonl.gz file of the data folder."""
    with gzip.open(locate(relative), "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def texts(name: str) -> list[Document]:
    """Return the documents `{id, text}` of a corpus of `TEXTS`."""
    return [
        {"id": f"{name}/{number}", "text": record["text"]}
        for number, record in enumerate(records(TEXTS[name]))
    ]


def all_texts() -> list[Document]:
    """Return the documents of every corpus of `TEXTS`."""
    return [document for name in TEXTS for document in texts(name)]


def text_bytes(documents: Iterable[Document]) -> int:
    """Return the UTF-8 bytes of the texts."""
    return sum(len(document["text"].encode()) for document in documents)


def spread(items: Sequence[Document], count: int) -> list[Document]:
    """Return `count` items at even distances, or all if there are fewer."""
    count = min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]


def sample(corpora: Iterable[Sequence[Document]], size: int) -> list[Document]:
    """Return about `size` bytes of text, equally much of each corpus, at even distances."""
    parts = list(corpora)
    chosen = []
    for documents in parts:
        mean = text_bytes(documents) / len(documents)
        chosen += spread(documents, max(1, round(size / len(parts) / mean)))
    return chosen


def chunks(documents: Iterable[Document], size: int, seed: int = 1) -> list[str]:
    """Return `size` bytes of the documents' text in shuffled pieces of about `CHUNK_BYTES`.

    Any prefix is a fair sample of the whole, which a prefix of the documents would not be.

    Raises:
      ConfigError: there is less text than that.
    """
    pieces: list[str] = []
    for document in documents:
        text = document["text"]
        pieces += [text[at : at + CHUNK_BYTES] for at in range(0, len(text), CHUNK_BYTES)]
    random.Random(seed).shuffle(pieces)
    total = 0
    for count, piece in enumerate(pieces, start=1):
        total += len(piece.encode())
        if total >= size:
            return pieces[:count]
    raise ConfigError(f"the corpora have {total} bytes of text, {size} are needed")


def write_jsonl(path: Path, documents: Iterable[Document]) -> Path:
    """Write documents as JSON Lines; return the path."""
    with open(path, "w", encoding="utf-8") as file:
        for document in documents:
            file.write(json.dumps(document, ensure_ascii=False) + "\n")
    return path


class Repeated:
    """A corpus compressed once, written again and again until an input has the size wanted.

    A document's id is its file and number in the file, so every copy is a document of its own.
    """

    def __init__(self, documents: Sequence[Document]):
        shuffled = list(documents)
        random.Random(1).shuffle(shuffled)
        self._members = list(_members(shuffled))

    def write(self, folder: Path, size: int, files: int) -> tuple[str, int]:
        """Write `files` jsonl.gz files of at least `size` bytes of text together.

        Returns:
          The glob that matches them, and the bytes of their text.
        """
        folder.mkdir()
        total = 0
        at = 0
        for number in range(files):
            with open(folder / f"part-{number:03d}.jsonl.gz", "wb") as out:
                while not out.tell() or total < size * (number + 1) / files:
                    text, compressed = self._members[at % len(self._members)]
                    out.write(compressed)
                    total += text
                    at += 1
        return str(folder / "*.jsonl.gz"), total


@functools.cache
def repeated() -> Repeated:
    """Return every corpus of `TEXTS`, to be written as often as wanted."""
    return Repeated(all_texts())


def _members(documents: Iterable[Document]) -> Iterator[tuple[int, bytes]]:
    """Yield gzip members with the bytes of text in each."""
    lines: list[str] = []
    total = 0
    for document in documents:
        lines.append(json.dumps(document, ensure_ascii=False) + "\n")
        total += text_bytes([document])
        if total >= MEMBER_BYTES:
            yield total, gzip.compress("".join(lines).encode(), 6, mtime=0)
            lines, total = [], 0
    if lines:
        yield total, gzip.compress("".join(lines).encode(), 6, mtime=0)


def warc_pages(relative: str) -> list[Document]:
    """Return the pages `{id, html}` of a WARC file of the data folder, decoded."""
    subset = Subset(input=(str(locate(relative)),), format=Format.WARC)
    dead = DeadLetters()
    return [
        {"id": page["id"], "html": decode(page["content"], page["charset"])}
        for split in plan(subset, "massiveweb")
        for batch in read(split, subset, "massiveweb", dead, lambda _: None)
        for page in batch.to_pylist()
    ]
