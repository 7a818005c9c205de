"""Removal of repeated spans in plain Python: obviously right, and slow."""

import re
from typing import NamedTuple

from massivetext.config import Spans

from .reference_c4 import ends_sentence


class Segment(NamedTuple):
    words: tuple[str, ...]
    start: int  # characters
    stop: int
    line: int


def segments(text: str, spans: Spans) -> list[Segment]:
    groups: list[list[tuple[str, int, int, int]]] = [[]]
    at = 0
    for number, line in enumerate(text.split("\n")):
        words = [(m[0], at + m.start(), at + m.end(), number) for m in re.finditer(r"\S+", line)]
        if spans is not Spans.PARAGRAPHS or not words:
            groups.append([])
        for word in words:
            groups[-1].append(word)
            if spans is Spans.SENTENCES and ends_sentence(word[0]):
                groups.append([])
        at += len(line) + 1
    return [
        Segment(tuple(word for word, *_ in group), group[0][1], group[-1][2], group[0][3])
        for group in groups
        if group
    ]


def units(found: list[Segment], spans: Spans, min_words: int) -> dict[int, tuple]:
    """Return what identifies the unit that begins with each segment, where one counts."""
    width = 3 if spans is Spans.SENTENCES else 1
    windows = {
        k: tuple(segment.words for segment in found[k : k + width])
        for k in range(len(found) - width + 1)
    }
    return {k: w for k, w in windows.items() if sum(map(len, w)) >= min_words}


def removed(
    texts: list[str], priority: list[int], spans: Spans, min_words: int
) -> tuple[list[set[int]], int]:
    """Return the segments that go of each text, and how many units go."""
    width = 3 if spans is Spans.SENTENCES else 1
    seen = set()
    gone: list[set[int]] = [set() for _ in texts]
    count = 0
    for i in sorted(range(len(texts)), key=lambda i: (priority[i], i)):
        for k, unit in units(segments(texts[i], spans), spans, min_words).items():
            if unit in seen:
                gone[i].update(range(k, k + width))
                count += 1
            seen.add(unit)
    return gone, count


def cut(text: str, found: list[Segment], gone: set[int]) -> str:
    """Return the text without segments, line by line."""
    if not gone:
        return text
    kept = [segment for k, segment in enumerate(found) if k not in gone]
    if not kept:
        return ""
    out: list[str] = []
    skip_blank = False
    at = 0
    for number, line in enumerate(text.split("\n")):
        here = [
            (k, s) for k, s in enumerate(found) if s.line <= number <= text[: s.stop].count("\n")
        ]
        stay = [(k, s) for k, s in here if k not in gone]
        if not here:
            if not skip_blank:
                out.append(line)
        elif not stay:
            skip_blank = not out or not out[-1].strip()
        elif len(stay) == len(here):
            out.append(line)
            skip_blank = False
        else:
            piece = line[: here[0][1].start - at]
            for k, segment in stay[:-1]:
                piece += text[segment.start : found[k + 1].start]
            piece += text[stay[-1][1].start : stay[-1][1].stop] + line[here[-1][1].stop - at :]
            out.append(piece)
            skip_blank = False
        at += len(line) + 1
    result = "\n".join(out)
    if len(found) - 1 in gone:
        last = text[kept[-1].start : kept[-1].stop]
        result = result[: result.rindex(last) + len(last)]
    return result


def deduplicate(
    texts: list[str], priority: list[int], spans: Spans, min_words: int
) -> tuple[list[str], int]:
    gone, count = removed(texts, priority, spans, min_words)
    cuts = [cut(t, segments(t, spans), g) for t, g in zip(texts, gone, strict=True)]
    return cuts, count
