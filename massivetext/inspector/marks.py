"""Where in a text the evidence is: repeated n-grams, duplicate lines, the matched test item.

One piece of one document at a time, and only what stands in that piece: what repeats elsewhere in
a longer document is not seen. The definitions are those of `repetition`, in plain Python.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..rules import Rule

# More would be neither drawn nor read.
MOST = 2000
LABEL_CHARACTERS = 60
_WORD = re.compile(r"\S+")
_LINES = (
    Rule.MAX_DUPLICATE_LINES,
    Rule.MAX_DUPLICATE_LINE_CHARACTERS,
    Rule.MAX_REPEATED_LINE_CHARACTERS,
)
_PARAGRAPHS = (Rule.MAX_DUPLICATE_PARAGRAPHS, Rule.MAX_DUPLICATE_PARAGRAPH_CHARACTERS)
_SYMBOLS = {
    Rule.MAX_HASH_RATIO: (re.compile("#"), "hash"),
    Rule.MAX_ELLIPSIS_RATIO: (re.compile(r"\.\.\.|…"), "ellipsis"),
    Rule.MAX_CURLY_BRACKETS: (re.compile("[{}]"), "curly bracket"),
    Rule.MAX_LOREM_IPSUM: (re.compile("lorem ipsum", re.IGNORECASE), "lorem ipsum"),
}


@dataclass(frozen=True)
class Mark:
    """Characters `start` up to `stop` of a piece, what they are, and a label to read."""

    start: int
    stop: int
    kind: str
    label: str


def repeats(text: str, failed: Iterable[str]) -> list[Mark]:
    """Return the marks of what the rules that a document failed count in it."""
    names = set(failed)
    found: list[Mark] = []
    if names & set(_LINES):
        found += _duplicates(_line_spans(text), text, "line")
    if names & set(_PARAGRAPHS):
        found += _duplicates(_paragraph_spans(text), text, "paragraph")
    tops = [n for n in (2, 3, 4) if f"max_top_{n}gram" in names]
    found += [mark for n in tops for mark in _grams(text, n, top=True)]
    # What repeats as a longer n-gram does so as a shorter one: the shortest that failed has all.
    lengths = [n for n in range(5, 11) if f"max_duplicate_{n}gram" in names]
    if lengths:
        found += _grams(text, lengths[0], top=False)
    for rule, (pattern, label) in _SYMBOLS.items():
        if rule in names:
            found += [Mark(*match.span(), "symbol", label) for match in pattern.finditer(text)]
    return found


def as_json(marks: list[Mark]) -> list[dict[str, Any]]:
    """Return marks in order of place, at most `MOST` of them."""
    order = sorted(marks, key=lambda mark: (mark.start, -mark.stop, mark.kind, mark.label))
    return [asdict(mark) for mark in order[:MOST]]


def _label(text: str) -> str:
    label = " ".join(text[: 4 * LABEL_CHARACTERS].split())
    return label if len(label) <= LABEL_CHARACTERS else label[: LABEL_CHARACTERS - 1] + "…"


def _line_spans(text: str) -> list[tuple[int, int]]:
    """Return the lines that are not empty, without the white space around them."""
    spans, start = [], 0
    for line in text.split("\n"):
        if line.strip():
            first = start + len(line) - len(line.lstrip())
            spans.append((first, first + len(line.strip())))
        start += len(line) + 1
    return spans


def _paragraph_spans(text: str) -> list[tuple[int, int]]:
    """Return the runs of lines between lines of white space."""
    spans: list[tuple[int, int]] = []
    start, joined = 0, False
    for line in text.split("\n"):
        if line.strip():
            first = start + len(line) - len(line.lstrip())
            stop = first + len(line.strip())
            if joined:
                spans[-1] = (spans[-1][0], stop)
            else:
                spans.append((first, stop))
        joined = bool(line.strip())
        start += len(line) + 1
    return spans


def _duplicates(spans: list[tuple[int, int]], text: str, kind: str) -> list[Mark]:
    counts = Counter(text[start:stop] for start, stop in spans)
    return [
        Mark(start, stop, kind, f"{counts[text[start:stop]]} times: {_label(text[start:stop])}")
        for start, stop in spans
        if counts[text[start:stop]] > 1
    ]


def _grams(text: str, n: int, top: bool) -> list[Mark]:
    """Mark the most frequent n-gram, or runs of words that repeated n-grams cover."""
    places = [match.span() for match in _WORD.finditer(text)]
    words = [text[start:stop] for start, stop in places]
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(grams)
    if not counts or max(counts.values()) < 2:
        return []
    if top:
        # Most frequent, then longest, then first in the text: `max` keeps the first.
        most = max(counts, key=lambda gram: (counts[gram], sum(map(len, gram))))
        starts = [i for i, gram in enumerate(grams) if gram == most]
        label = f"top {n}-gram, {counts[most]} times: {_label(' '.join(most))}"
    else:
        starts = [i for i, gram in enumerate(grams) if counts[gram] > 1]
        label = f"repeated {n}-grams"
    runs: list[tuple[int, int]] = []
    for i in starts:
        if runs and i < runs[-1][1]:
            runs[-1] = (runs[-1][0], i + n)
        else:
            runs.append((i, i + n))
    return [Mark(places[a][0], places[b - 1][1], "ngram", label) for a, b in runs]
