"""Open elements of a page, and the blocks of text that they give when they open and close.

Kernels over a stack of elements, which `blocks` drives tag by tag.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from .tags import CELL, INDENTED, LIFTED, LIST, PLAIN, ROOT, ROW, SPREAD, code, push
from .text import BEGIN, END, IN_PRE, start_block, take

MAX_INDENT = 40  # spaces; hostile pages nest lists ten thousand deep

# Columns of `Blocks.table`: a run of text in one element. Text is `text[start:stop]`.
START, STOP, SIZE, LINK_SIZE = 0, 1, 2, 3  # sizes are characters, all and those inside links
KIND = 4  # flags of the element, as `tags` has them
LEVEL = 5  # the element whose group the block belongs to
INDENT = 6  # spaces before the text
BULLET = 7  # number of an item, -1 for a dash, 0 for none
OUTERMOST = 8  # the outermost list or table around it, or -1
BLOCK_COLUMNS = 9

# Columns of the stack of open elements.
_INDEX, TAG, _KIND, _LEVEL, ROOT_OF, _INDENT, _LISTS, _COUNT, _BULLET, _HAS_BLOCKS = range(10)
_FIRST_BLOCK, _FIRST_CELL = 10, 11
STACK_COLUMNS = 12

# Places in `State.counts`.
DEPTH, BLOCKS, ELEMENTS, CELLS, LINKS_OPEN = range(5)

_LI, _OL, _PRE, _BODY = code("li"), code("ol"), code("pre"), code("body")
_BLANK, _TAB, _LINE_FEED = map(ord, " \t\n")


class State(NamedTuple):
    """What the kernel's parts share.

    A cell is a row (start, stop, size, link size). `links` says of every open `a` whether it is a
    link.
    """

    out: np.ndarray
    cursor: np.ndarray
    stack: np.ndarray
    counts: np.ndarray
    links: np.ndarray
    table: np.ndarray
    parents: np.ndarray
    levels: np.ndarray
    paths: np.ndarray
    cells: np.ndarray


@numba.njit(cache=True, nogil=True)
def open_element(state, name, flag) -> Any:  # type: ignore[no-untyped-def]
    flush(state)
    counts = state.counts
    depth = counts[DEPTH]
    outer = state.stack[depth]
    outer[_HAS_BLOCKS] = 1
    index = counts[ELEMENTS]
    state.parents[index] = outer[_INDEX]
    counts[ELEMENTS] += 1
    inner = state.stack[depth + 1]
    counts[DEPTH] = depth + 1
    inner[:] = 0
    state.paths[index] = push(state.paths[outer[_INDEX]] * np.uint64(SPREAD), name)
    inner[_INDEX] = index
    inner[TAG] = np.int64(name)
    inner[_KIND] = flag
    inner[_LEVEL] = state.levels[index] = outer[_LEVEL] if flag & LIFTED else index
    inner[ROOT_OF] = index if outer[ROOT_OF] < 0 and flag & ROOT else outer[ROOT_OF]
    inner[_INDENT] = outer[_INDENT]
    inner[_LISTS] = outer[_LISTS]
    inner[_FIRST_BLOCK] = counts[BLOCKS]
    inner[_FIRST_CELL] = counts[CELLS]
    if flag & LIST:
        inner[_LISTS] += 1
        inner[_INDENT] = min(outer[_INDENT] + (2 if outer[_LISTS] else 0), MAX_INDENT)
    elif flag & INDENTED:
        inner[_INDENT] = min(outer[_INDENT] + 2, MAX_INDENT)
    elif name == _LI:
        outer[_COUNT] += 1
        inner[_BULLET] = outer[_COUNT] if outer[TAG] == _OL else -1
    elif flag & CELL:
        inner[ROOT_OF] = -1  # blocks inside a cell stand for themselves
    state.cursor[IN_PRE] = name == _PRE
    start_block(state.cursor, state.cursor[END])


@numba.njit(cache=True, nogil=True)
def close_element(state) -> Any:  # type: ignore[no-untyped-def]
    counts, stack, table, cells = state.counts, state.stack, state.table, state.cells
    element = stack[counts[DEPTH]]
    if element[_KIND] & CELL:
        # A cell of one plain block is a cell of its row; one with more structure is not.
        if element[_HAS_BLOCKS] == 0:
            cell = take(state.out, state.cursor)
            keep = True
        else:
            flush(state)
            first, last = element[_FIRST_BLOCK], counts[BLOCKS]
            cell = (0, 0, 0, 0)
            keep = first == last
            if last - first == 1:
                block = table[first]
                if block[KIND] & PLAIN:
                    cell = (block[START], block[STOP], block[SIZE], block[LINK_SIZE])
                    counts[BLOCKS] = first
                    keep = True
        if keep:
            row = cells[counts[CELLS]]
            row[0], row[1], row[2], row[3] = cell
            counts[CELLS] += 1
    elif element[_KIND] & ROW:
        flush(state)
        counts[DEPTH] -= 1
        _add_row(state, element)
        counts[CELLS] = element[_FIRST_CELL]
        counts[DEPTH] += 1
    flush(state)
    counts[DEPTH] -= 1
    state.cursor[IN_PRE] = stack[counts[DEPTH], TAG] == _PRE
    start_block(state.cursor, state.cursor[END])


@numba.njit(cache=True, nogil=True)
def _add_row(state, element) -> Any:  # type: ignore[no-untyped-def]
    """Write the cells of a row that is closing one after another, with tabs between."""
    out, cursor, cells = state.out, state.cursor, state.cells
    first, last = element[_FIRST_CELL], state.counts[CELLS]
    while last > first and cells[last - 1, 2] == 0:
        last -= 1
    if last == first:
        return
    begin = end = cursor[END]
    characters = last - first - 1
    links = 0
    for c in range(first, last):
        if c > first:
            out[end] = _TAB
            end += 1
        for k in range(cells[c, 0], cells[c, 1]):
            out[end] = _BLANK if out[k] == _LINE_FEED else out[k]
            end += 1
        characters += cells[c, 2]
        links += cells[c, 3]
    start_block(cursor, end)
    _add(state, begin, end, characters, links, element, element[_LEVEL])


@numba.njit(cache=True, nogil=True)
def flush(state) -> Any:  # type: ignore[no-untyped-def]
    """Make a block of the text gathered since the last one, if there is any."""
    cursor = state.cursor
    if cursor[END] == cursor[BEGIN]:
        start_block(cursor, cursor[BEGIN])
        return
    begin, end, characters, links = take(state.out, cursor)
    if begin == end:
        return
    depth = state.counts[DEPTH]
    element = state.stack[depth]
    # Loose text of a leaf belongs to the level around it; of a container, to the container.
    level = element[_LEVEL]
    container = element[TAG] == _BODY or element[_KIND] & CELL
    if level == element[_INDEX] and depth and not container:
        level = state.stack[depth - 1, _LEVEL]
    _add(state, begin, end, characters, links, element, level)


@numba.njit(cache=True, nogil=True)
def _add(state, begin, end, characters, links, element, level) -> Any:  # type: ignore[no-untyped-def]
    """Append a block; the first one in an item takes the item's bullet."""
    counts, stack = state.counts, state.stack
    bullet = 0
    depth = counts[DEPTH]
    if element[TAG] == _LI:
        bullet = element[_BULLET]
        element[_BULLET] = 0
    else:
        for outer in (depth, depth - 1):
            if outer >= 0 and stack[outer, TAG] == _LI:
                bullet = stack[outer, _BULLET]
                stack[outer, _BULLET] = 0
                break
    inner = 2 if bullet == 0 and element[_LISTS] and element[TAG] != _LI else 0
    block = state.table[counts[BLOCKS]]
    counts[BLOCKS] += 1
    block[START], block[STOP], block[SIZE], block[LINK_SIZE] = begin, end, characters, links
    block[KIND] = element[_KIND]
    block[LEVEL], block[INDENT], block[BULLET] = level, element[_INDENT] + inner, bullet
    block[OUTERMOST] = element[ROOT_OF]
