"""Documents whose near-duplicates are known: real families of texts, and edits of real texts."""

import itertools
import random
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import corpora
from corpora import Document

FAMILIES = {
    "git revisions": "duplicates/git_revisions.jsonl.gz",
    "spdx licences": "duplicates/spdx_licences.jsonl.gz",
    "scancode licences": "duplicates/scancode_licences.jsonl.gz",
}
PLANTED = "planted edits"
BOILERPLATE = "boilerplate"
NGRAM = 13

_IGNORED = {
    point: None
    for point in range(sys.maxunicode + 1)
    if unicodedata.category(chr(point))[0] in "PS"
}
# A word with the white space before it, so that edited texts keep their layout.
_TOKEN = re.compile(r"\s*\S+")
_MIN_WORDS, _MAX_WORDS = 100, 700


def words(text: str) -> list[str]:
    """Return what is compared of `text`: its words without punctuation and symbols."""
    return text.translate(_IGNORED).split()


def distinct(texts: Iterable[str]) -> list[Document]:
    """Return the texts with words as documents, without exact duplicates (equal words).

    Exact duplicates are all too easy: they would flatter everybody's recall.
    """
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(" ".join(words(text)), text)
    found.pop("", None)
    return [{"id": str(number), "text": text} for number, text in enumerate(found.values())]


def family(name: str, limit: int | None) -> list[Document]:
    """Return a corpus of `FAMILIES`, or about every n-th of its documents to have `limit`."""
    documents = distinct(record["text"] for record in corpora.records(FAMILIES[name]))
    if limit is None:
        return documents
    chosen = corpora.spread(documents, limit)
    return [{"id": str(number), "text": document["text"]} for number, document in enumerate(chosen)]


def planted(bases: int, copies: int, seed: int = 1) -> list[Document]:
    """Return real texts, each with edited copies whose similarities fill every decile.

    A copy is made by substituting words, by inserting words, by cutting its end off, or by
    reordering passages, as often as gives a similarity drawn evenly from 0 to 1.
    """
    rng = random.Random(seed)
    texts = [d["text"] for name in ("c4", "peps") for d in corpora.texts(name)]
    rng.shuffle(texts)
    tokens = [found for text in texts if len(found := _TOKEN.findall(text)) >= _MIN_WORDS][:bases]
    vocabulary = [word for found in tokens for word in found]
    edits: list[Callable[[list[str], float], list[str]]] = [
        lambda text, wanted: _substitute(text, wanted, vocabulary, rng),
        lambda text, wanted: _insert(text, wanted, vocabulary, rng),
        _truncate,
        lambda text, wanted: _reorder(text, wanted, rng),
    ]
    result = []
    for whole in tokens:
        base = whole[:_MAX_WORDS]
        result.append("".join(base))
        for copy in range(copies):
            result.append("".join(edits[copy % len(edits)](base, rng.random())))
    return distinct(result)


def _kept_share(similarity: float) -> float:
    """Share of the shingles of both texts (of equal length) that are common at a similarity."""
    return 2 * similarity / (1 + similarity)


def _substitute(text: list[str], wanted: float, vocabulary: list[str], rng: random.Random) -> Any:
    # A shingle survives when none of its words is hit.
    rate = 1 - _kept_share(wanted) ** (1 / NGRAM)
    return [rng.choice(vocabulary) if rng.random() < rate else word for word in text]


def _insert(text: list[str], wanted: float, vocabulary: list[str], rng: random.Random) -> Any:
    rate = 1 - _kept_share(wanted) ** (1 / (NGRAM - 1))
    return [
        piece
        for word in text
        for piece in ([rng.choice(vocabulary), word] if rng.random() < rate else [word])
    ]


def _truncate(text: list[str], wanted: float) -> list[str]:
    return text[: max(1, round(len(text) * wanted))]


def _reorder(text: list[str], wanted: float, rng: random.Random) -> list[str]:
    # Every new neighbourhood of two passages breaks the shingles across it.
    broken = (1 - _kept_share(wanted)) * len(text)
    cuts = min(len(text) - 1, max(1, round(broken / (NGRAM - 1))))
    at = [0, *sorted(rng.sample(range(1, len(text)), cuts)), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(at)]
    rng.shuffle(pieces)
    return [word for piece in pieces for word in piece]


def boilerplate(pages: int, seed: int = 1) -> list[Document]:
    """Return pages of their own text, each with the same licence below it.

    The licence is up to two thirds of a page, so that pages look alike to a sketch and no two are
    near-duplicates by it; every twentieth page is there a second time, with one word less.
    """
    rng = random.Random(seed)
    [licence] = [r["text"] for r in corpora.records(FAMILIES["spdx licences"]) if r["id"] == "MIT"]
    pages_own = list(passages([*corpora.texts("c4"), *corpora.texts("peps")], 60, 240, rng))
    rng.shuffle(pages_own)
    result = []
    for number, passage in enumerate(pages_own[:pages]):
        result.append(f"{passage}\n\n{licence}")
        if number % 20 == 0:
            result.append(f"{passage.split(maxsplit=1)[1]}\n\n{licence}")
    return distinct(result)


def passages(
    documents: Iterable[Document], low: int, high: int, rng: random.Random
) -> Iterator[str]:
    """Cut documents into passages of `low` to `high` words; their last words may be left over."""
    for document in documents:
        tokens = _TOKEN.findall(document["text"])
        at = 0
        while at + low <= len(tokens):
            size = rng.randint(low, high)
            yield "".join(tokens[at : at + size]).strip()
            at += size
