"""Blocks of text of an HTML page, with the level of the tree on which each one stands.

The DOM is lexbor's, which repairs markup as browsers do. It is written out again as well-formed
HTML, which a compiled kernel reads once, from left to right: no recursion, however deep the tree,
and time and memory linear in the bytes.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from ..unicode import classes
from .attributes import read_attributes
from .elements import (
    BLOCK_COLUMNS,
    BLOCKS,
    DEPTH,
    ELEMENTS,
    LINKS_OPEN,
    ROOT_OF,
    STACK_COLUMNS,
    TAG,
    State,
    close_element,
    flush,
    open_element,
)
from .tags import (
    BLOCK,
    CODES,
    FLAGS,
    NEVER_BOILERPLATE,
    PHRASING,
    RAW,
    REMOVED,
    VOID,
    code,
    flags_of,
    push,
)
from .text import ANCHORS, line_break, read_text

_HTML, _A, _BR, _HR = code("html"), code("a"), code("br"), code("hr")
_SCRIPT, _PLAINTEXT = code("script"), code("plaintext")

_LESS, _GREATER, _SLASH, _BANG, _QUESTION, _DASH, _BLANK = map(ord, "<>/!?- ")


class Blocks(NamedTuple):
    """All blocks of a page, in document order.

    `text` is UTF-8, `table` int64 of shape (blocks, BLOCK_COLUMNS). `parents` gives the parent of
    every block-level element: they are numbered in document order, parents before children; the
    root's parent is -1. `levels` gives the element to whose group the blocks of each belong: itself
    or, for lists, tables and the like, the one around them. `paths` has a hash of the names of the
    elements around and including each.
    """

    text: np.ndarray
    table: np.ndarray
    parents: np.ndarray
    levels: np.ndarray
    paths: np.ndarray


def read_blocks(tree: Any) -> Blocks:
    """Return the blocks of a lexbor `tree`, which it may change.

    Raises:
      ValueError: the page cannot be read; no page is known.
    """
    blocks = _read(_written(tree))
    if blocks is None:
        # What these hold can look like their end tag, which only the parser tells apart.
        tree.strip_tags(["template", "svg", "math", "plaintext", "script"])
        blocks = _read(_written(tree))
    if blocks is None:
        raise ValueError("the page's scripts cannot be told from its text")
    return blocks


def _written(tree: Any) -> np.ndarray:
    return np.frombuffer((tree.html or "").encode(), np.uint8)


def _read(data: np.ndarray) -> Blocks | None:
    tags = int(np.count_nonzero(data == _LESS))
    state = State(
        out=np.empty(2 * len(data) + 1, np.uint8),  # a cell is copied into its row
        cursor=np.zeros(8, np.int64),
        stack=np.zeros((tags + 2, STACK_COLUMNS), np.int64),
        counts=np.zeros(5, np.int64),
        links=np.empty(tags + 2, np.bool_),
        table=np.empty((tags + 2, BLOCK_COLUMNS), np.int64),
        parents=np.empty(tags + 2, np.int64),
        levels=np.empty(tags + 2, np.int64),
        paths=np.empty(tags + 2, np.uint64),
        cells=np.empty((tags + 2, 4), np.int64),
    )
    if not _walk(data, state, CODES, FLAGS, classes()):
        return None
    elements = state.counts[ELEMENTS]
    return Blocks(
        state.out,
        state.table[: state.counts[BLOCKS]],
        state.parents[:elements],
        state.levels[:elements],
        state.paths[:elements],
    )


@numba.njit(cache=True, nogil=True)
def _walk(data, state, codes, flags, classes) -> Any:  # type: ignore[no-untyped-def]
    """Read `data` tag by tag into `state`; False if raw text makes its structure ambiguous."""
    n = len(data)
    stack, counts, cursor = state.stack, state.counts, state.cursor
    stack[0, TAG] = np.int64(_HTML)
    stack[0, ROOT_OF] = -1
    state.parents[0] = -1
    state.levels[0] = state.paths[0] = 0
    counts[ELEMENTS] = 1
    skipped = np.uint64(0)  # the element being skipped, and how many of its kind are open
    nested = 0
    i = 0
    while i < n:
        if data[i] != _LESS:
            if nested == 0:
                i = read_text(data, i, state.out, cursor, classes)
            else:
                i += 1
            continue
        i += 1
        if i < n and (data[i] == _BANG or data[i] == _QUESTION):
            i = _after_declaration(data, i)
            continue
        closing = i < n and data[i] == _SLASH
        i += closing
        name = np.uint64(0)
        while i < n and data[i] != _GREATER and data[i] != _BLANK and data[i] != _SLASH:
            name = push(name, data[i])
            i += 1
        flag = flags_of(name, codes, flags)
        boilerplate = scripted = False
        if i < n and data[i] != _GREATER:
            judged = nested == 0 and not flag & (REMOVED | VOID | NEVER_BOILERPLATE)
            named = judged and not flag & PHRASING
            i, boilerplate, scripted = read_attributes(data, i, judged, named, codes, flags)
        i += 1
        if flag & RAW and not closing:
            end, ambiguous = _after_raw(data, i, name)
            if ambiguous:
                return False
            i = end
            continue
        if nested:
            if name == skipped:
                nested += -1 if closing else 1
            continue
        if flag & PHRASING and not boilerplate:
            continue
        if closing:
            if name == _A:
                if counts[LINKS_OPEN]:
                    counts[LINKS_OPEN] -= 1
                    cursor[ANCHORS] -= state.links[counts[LINKS_OPEN]]
            elif flag & BLOCK and counts[DEPTH] and stack[counts[DEPTH], TAG] == np.int64(name):
                close_element(state)
        elif flag & REMOVED or boilerplate:
            skipped = name
            nested = 1
            if flag & BLOCK:
                flush(state)
        elif name == _A:
            # What runs a script is a button, and its text is text of the page.
            state.links[counts[LINKS_OPEN]] = not scripted
            counts[LINKS_OPEN] += 1
            cursor[ANCHORS] += not scripted
        elif name == _BR:
            line_break(state.out, cursor)
        elif name == _HR:
            flush(state)
        elif flag & BLOCK:
            open_element(state, name, flag)
    flush(state)
    return True


@numba.njit(cache=True, nogil=True)
def _after_declaration(data, i) -> Any:  # type: ignore[no-untyped-def]
    """Return the index after a comment, a doctype or a processing instruction."""
    n = len(data)
    if i + 2 < n and data[i + 1] == _DASH and data[i + 2] == _DASH:
        i += 3
        while i + 2 < n and not (
            data[i + 2] == _GREATER and data[i + 1] == _DASH and data[i] == _DASH
        ):
            i += 1
        return i + 3
    while i < n and data[i] != _GREATER:
        i += 1
    return i + 1


@numba.njit(cache=True, nogil=True)
def _after_raw(data, i, name) -> Any:  # type: ignore[no-untyped-def]
    """Return the index after the end tag of a raw text element, and whether there is doubt.

    A script that opens a comment and then a script may hold end tags of scripts.
    """
    n = len(data)
    if name == _PLAINTEXT:
        return n, True
    comment = False
    while i < n:
        if data[i] != _LESS or i + 1 >= n:
            i += 1
            continue
        i += 1
        if data[i] == _BANG:
            comment = True
            continue
        closing = data[i] == _SLASH
        i += closing
        other = np.uint64(0)
        while i < n and 97 <= (data[i] | 0x20) <= 122:
            other = push(other, data[i] | 0x20)
            i += 1
        if other == name:
            if not closing:
                if comment and name == _SCRIPT:
                    return n, True
            elif i < n and data[i] == _GREATER:
                return i + 1, False
    return n, False
