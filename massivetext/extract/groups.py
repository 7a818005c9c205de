"""Which groups of blocks are the page's text, and how they are laid out.

The thresholds are ours (the paper prints none). A group is all blocks of one level of the tree,
where an element around a single block is no level of its own.
"""

from typing import Any

import numba
import numpy as np

from .blocks import Blocks
from .elements import (
    BULLET,
    INDENT,
    KIND,
    LEVEL,
    LINK_SIZE,
    OUTERMOST,
    SIZE,
    START,
    STOP,
)
from .tags import ROW, SEMANTIC, TIGHT

# A block longer than this, without links, is prose rather than a label.
SALIENT_CHARACTERS = 60
# A group counts that scores this many tenths of the best group, has this many characters, and is
# salient to this extent. It takes a tenth more for every level that the two are further apart than
# siblings, up to a half: far from the best group there rather stands another text.
SIBLING_TENTHS = 2
FAR_TENTHS = 5
GROUP_CHARACTERS = 140
SALIENT_SHARE = 0.5
# The main element holds this share of the salient text; smaller groups inside it are kept too.
MAIN_SHARE = 0.95
# A list or table with more link text than this is navigation.
LINK_SHARE = 0.6

_LINE_FEED, _BLANK, _DASH, _DOT, _ZERO = map(ord, "\n -.0")


def select(blocks: Blocks) -> Blocks:
    """Return the blocks of the salient groups, in document order.

    If no group is salient, it is the one with most text outside links, unless it is mostly links.
    """
    keep = _select(blocks.table, blocks.parents, blocks.levels, blocks.paths)
    return blocks._replace(table=blocks.table[keep])


def layout(blocks: Blocks) -> bytes:
    """Return the text: items and rows on lines of their own, paragraphs a blank line apart."""
    return _layout(blocks.text, blocks.table).tobytes()


@numba.njit(cache=True, nogil=True)
def _select(table, parents, levels, paths) -> Any:  # type: ignore[no-untyped-def]
    n, elements = len(table), len(parents)
    keep = _outside_navigation(table, elements)
    group = _groups(table, parents, levels, keep)
    characters = np.zeros(elements, np.int64)
    links = np.zeros(elements, np.int64)
    score = np.zeros(elements, np.int64)
    for b in range(n):
        if not keep[b]:
            continue
        own = table[b, SIZE] - table[b, LINK_SIZE]
        salient = own > SALIENT_CHARACTERS
        if table[b, KIND] & ROW and not salient:
            continue  # rows of numbers say nothing for or against the prose around their table
        characters[group[b]] += table[b, SIZE]
        links[group[b]] += table[b, LINK_SIZE]
        if salient:
            score[group[b]] += own
    linked = links > SALIENT_SHARE * characters
    strong = _strong(characters, score, parents, paths)
    if not strong.any():
        own = np.where(linked, 0, characters - links)
        top = own.argmax()
        strong[top] = own[top] > 0
        score[top] = own[top]
    main = _main(strong, score, parents)
    inside = _inside(main, parents)
    while main >= 0:  # what is around the main element and salient leads up to it
        strong[main] |= _is_salient(characters[main], score[main])
        main = parents[main]
    for b in range(n):
        g = group[b]
        keep[b] &= strong[g] or (inside[g] and (table[b, KIND] & SEMANTIC) != 0 and not linked[g])
    return keep


@numba.njit(cache=True, nogil=True)
def _groups(table, parents, levels, keep) -> Any:  # type: ignore[no-untyped-def]
    """Return for every block its group: the innermost level that holds another block as well."""
    counts = np.zeros(len(parents), np.int64)
    for b in range(len(table)):
        counts[table[b, LEVEL]] += keep[b]
    for index in range(len(parents) - 1, 0, -1):
        counts[parents[index]] += counts[index]
    group = table[:, LEVEL].copy()
    for b in range(len(table)):
        while group[b] > 0 and counts[group[b]] == 1:
            group[b] = levels[parents[group[b]]]
    return group


@numba.njit(cache=True, nogil=True)
def _strong(characters, score, parents, paths) -> Any:  # type: ignore[no-untyped-def]
    """Return for every group whether it is salient.

    Groups at the same path of tags as the best one are at the same level as it, and may be short.
    """
    best = score.argmax()
    apart = _levels_apart(best, parents)
    strong = np.zeros(len(score), np.bool_)
    for g in range(len(score)):
        strong[g] = _is_salient(characters[g], score[g]) and (
            paths[g] == paths[best] or 10 * score[g] >= _tenths(apart[g]) * score[best]
        )
    return strong


@numba.njit(cache=True, nogil=True)
def _tenths(apart) -> Any:  # type: ignore[no-untyped-def]
    """Return how many tenths of the best group's score a group so many levels apart needs."""
    return min(SIBLING_TENTHS + max(apart - 1, 0), FAR_TENTHS)


@numba.njit(cache=True, nogil=True)
def _levels_apart(best, parents) -> Any:  # type: ignore[no-untyped-def]
    """Return for every element how far it is from `best`: siblings are 1 apart, cousins 2.

    It is how far the first element that holds both is above the nearer of the two.
    """
    above = np.full(len(parents), -1, np.int64)
    index, levels = best, 0
    while index >= 0:
        above[index] = levels
        index, levels = parents[index], levels + 1
    below = np.zeros(len(parents), np.int64)
    for index in range(len(parents)):
        if above[index] < 0:
            above[index] = above[parents[index]]
            below[index] = below[parents[index]] + 1
    return np.minimum(above, below)


@numba.njit(cache=True, nogil=True)
def _is_salient(characters, score) -> Any:  # type: ignore[no-untyped-def]
    return characters >= GROUP_CHARACTERS and score >= SALIENT_SHARE * characters


@numba.njit(cache=True, nogil=True)
def _outside_navigation(table, elements) -> Any:  # type: ignore[no-untyped-def]
    """Return for every block whether it is in no list or table that is mostly links."""
    sizes = np.zeros(elements, np.int64)
    links = np.zeros(elements, np.int64)
    for b in range(len(table)):
        if table[b, OUTERMOST] >= 0:
            sizes[table[b, OUTERMOST]] += table[b, SIZE]
            links[table[b, OUTERMOST]] += table[b, LINK_SIZE]
    keep = np.ones(len(table), np.bool_)
    for b in range(len(table)):
        root = table[b, OUTERMOST]
        keep[b] = root < 0 or links[root] <= LINK_SHARE * sizes[root]
    return keep


@numba.njit(cache=True, nogil=True)
def _main(strong, score, parents) -> Any:  # type: ignore[no-untyped-def]
    """Return the deepest element with most of the salient text, -1 if there is no text."""
    totals = np.where(strong, score, 0)
    for index in range(len(parents) - 1, 0, -1):
        totals[parents[index]] += totals[index]
    if totals[0] == 0:
        return -1
    # Totals only shrink downwards, so the last element above the bar is the deepest of one chain.
    main = len(parents) - 1
    while totals[main] < MAIN_SHARE * totals[0]:
        main -= 1
    return main


@numba.njit(cache=True, nogil=True)
def _inside(main, parents) -> Any:  # type: ignore[no-untyped-def]
    """Return for every element whether it is `main` or inside it."""
    inside = np.zeros(len(parents), np.bool_)
    if main >= 0:
        inside[main] = True
        for index in range(main + 1, len(parents)):
            inside[index] = inside[parents[index]]
    return inside


@numba.njit(cache=True, nogil=True)
def _layout(text, table) -> Any:  # type: ignore[no-untyped-def]
    out = np.empty(_layout_bytes(text, table), np.uint8)
    end = 0
    tight_before = False
    for b in range(len(table)):
        tight = (table[b, KIND] & TIGHT) != 0
        if b:
            out[end] = _LINE_FEED
            end += 1
            if not (tight and tight_before and table[b, OUTERMOST] == table[b - 1, OUTERMOST]):
                out[end] = _LINE_FEED
                end += 1
        tight_before = tight
        indent = table[b, INDENT]
        out[end : end + indent] = _BLANK
        end += indent
        bullet = table[b, BULLET]
        width = _bullet_width(bullet)
        if bullet < 0:
            out[end] = _DASH
        for place in range(width - 3, -1, -1):
            out[end + place] = _ZERO + bullet % 10
            bullet //= 10
        if width > 2:
            out[end + width - 2] = _DOT
        if width:
            out[end + width - 1] = _BLANK
        end += width
        hang = indent + width
        stop = table[b, STOP]
        for k in range(table[b, START], stop):
            out[end] = text[k]
            end += 1
            if text[k] == _LINE_FEED and k + 1 < stop and text[k + 1] != _LINE_FEED:
                out[end : end + hang] = _BLANK
                end += hang
    return out[:end]


@numba.njit(cache=True, nogil=True)
def _bullet_width(bullet) -> Any:  # type: ignore[no-untyped-def]
    """Return the bytes of "- " or "17. ", 0 without a bullet."""
    if bullet <= 0:
        return 2 if bullet else 0
    width = 2
    while bullet:
        width += 1
        bullet //= 10
    return width


@numba.njit(cache=True, nogil=True)
def _layout_bytes(text, table) -> Any:  # type: ignore[no-untyped-def]
    """Return a bound on the bytes of the laid out text."""
    size = 0
    for b in range(len(table)):
        hang = table[b, INDENT] + _bullet_width(table[b, BULLET])
        size += 2 + hang + table[b, STOP] - table[b, START]
        if hang:
            for k in range(table[b, START], table[b, STOP]):
                size += hang * (text[k] == _LINE_FEED)
    return size
