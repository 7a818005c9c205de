"""Refuses pages that would cost a parser of HTML more than their size warrants.

Two rules of the HTML standard let a small page cost gigabytes or hours: formatting left open is
opened again in every block that follows, and every block looks through all open elements above it.
The parser has no limits of its own, so they are checked on the markup, before it.
"""

import re
from collections import Counter, defaultdict

PAGE_BYTES = 16 << 20
# Bytes of tags that unclosed formatting may add; in memory a tag takes some twenty times its bytes.
GROWTH_BYTES = 1 << 23
GROWTH_FREE_BYTES = 1 << 12  # smaller pages cannot grow much
# Steps through open elements, about a nanosecond each: the sum of the depths of all tags.
STEPS = 1 << 29

_COUNT_PIECE = 1 << 16

# `a` and `nobr` are formatting too, but opening one closes the one before.
_FORMATTING = re.compile(
    r"<(/?)(b|big|code|em|font|i|s|small|strike|strong|tt|u)(?=[\s/>])[^>]*+", re.IGNORECASE
)
_REPEATS = 3  # a parser keeps no more open elements that are the same to the attribute
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*+)")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Elements that hold nothing, or that the next of their kind closes: unclosed, they do not nest.
_FLAT = _words(
    "a area base body br col colgroup dd dt embed head hr html img input keygen li link meta nobr "
    "optgroup option p param path rp rt source tbody td tfoot th thead tr track use wbr"
)


class PageTooLarge(ValueError):  # noqa: N818
    """A page is too large, or would grow too large, to be taken apart."""


def check(html: str) -> None:
    """Raise PageTooLarge if `html` is beyond `PAGE_BYTES`, `STEPS` or `GROWTH_BYTES`."""
    if len(html) > PAGE_BYTES // 4 and len(html.encode("utf-8", "replace")) > PAGE_BYTES:
        raise PageTooLarge(f"the page has more than {PAGE_BYTES:,} bytes of HTML")
    if _may_be_deep(html):
        _check_depth(html)
    if len(html) > GROWTH_FREE_BYTES:
        _check_growth(html)


def _may_be_deep(html: str) -> bool:
    """Bound the steps from above by counting brackets, much faster than finding tags."""
    depth = steps = 0
    for start in range(0, len(html), _COUNT_PIECE):
        end = start + _COUNT_PIECE
        opening = html.count("<", start, end)
        steps += (depth + opening) * opening
        depth = max(0, depth + opening - 2 * html.count("</", start, end))
    return steps > STEPS


def _check_depth(html: str) -> None:
    depth = steps = 0
    for match in _TAG.finditer(html):
        if match.group(2).lower() not in _FLAT:
            depth = max(0, depth - 1) if match.group(1) else depth + 1
        steps += depth
        if steps > STEPS:
            raise PageTooLarge("elements are nested too deeply for a page of this size")


def _check_growth(html: str) -> None:
    """Add up, over all tags, the formatting that is open there: each may open all of it again."""
    open_tags: dict[str, list[str]] = defaultdict(list)
    repeats: Counter[str] = Counter()
    size = growth = before = 0
    for match in _FORMATTING.finditer(html):
        if size:
            growth += size * html.count("<", before, match.start())
        before = match.end()
        closing, name = match.groups()
        stack = open_tags[name.lower()]
        if not closing:
            tag = match.group()
            if repeats[tag] < _REPEATS:
                repeats[tag] += 1
                stack.append(tag)
                size += len(tag)
        elif stack:
            tag = stack.pop()
            repeats[tag] -= 1
            size -= len(tag)
    growth += size * html.count("<", before)
    if growth > GROWTH_BYTES:
        raise PageTooLarge("unclosed formatting tags would make the page's tree grow out of bounds")
