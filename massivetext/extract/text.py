"""Text of a block as a reader of the page sees it: white space collapsed, entities undone.

Kernels that write to `out`, the UTF-8 of all blocks so far, at the places kept in `cursor`.

Sizes are characters. One from U+3000 on (Chinese, Japanese, Korean) counts as three: it says as
much as about three letters, and what tells prose from labels should tell it in all scripts.
"""

from typing import Any

import numba

from ..unicode import SPACE, decode

# Places in the cursor (int64): where the block begins and ends in `out`; the line breaks seen
# since the last character; characters of the block, and those in links; open links; whether the
# block is preformatted; whether the last character was in a link; whether white space is due.
BEGIN, END, BREAKS, CHARACTERS, LINKS, ANCHORS, IN_PRE, STATE = range(8)

_SPACE_DUE, _LINKED = 1, 2  # bits of STATE; in preformatted text it is where the line's text ends

_BLANK, _LINE_FEED, _LESS, _AMPERSAND = map(ord, " \n<&")
_NBSP = 0xA0
_WIDE = 0xE3  # first byte of U+3000


@numba.njit(cache=True, nogil=True, inline="always")
def _weight(byte):  # type: ignore[no-untyped-def]
    """Return what the character that begins with `byte` adds to a size."""
    if byte >= _WIDE:
        return 3
    return 0 if 0x80 <= byte < 0xC0 else 1


@numba.njit(cache=True, nogil=True)
def read_text(data, i, out, cursor, classes) -> Any:  # type: ignore[no-untyped-def]
    """Append the text at `data[i:]` up to the next tag; return where that is."""
    if cursor[IN_PRE]:
        return _read_preformatted(data, i, out, cursor, classes)
    n = len(data)
    begin, end, breaks = cursor[BEGIN], cursor[END], cursor[BREAKS]
    characters, links = cursor[CHARACTERS], cursor[LINKS]
    anchored = cursor[ANCHORS] > 0
    space = cursor[STATE] & _SPACE_DUE
    linked = (cursor[STATE] & _LINKED) and anchored
    while i < n:
        byte = data[i]
        if byte == _LESS:
            break
        width = 1
        if byte >= 0xC0:
            point, width = decode(data, i, n)
            if byte < 0xE4 and classes[point] == SPACE:
                i += width
                space = 1
                continue
        elif byte <= _BLANK:
            if classes[byte] == SPACE:
                i += 1
                space = 1
                continue
        elif byte == _AMPERSAND:
            byte, i = _entity(data, i)
            if byte == _NBSP:
                space = 1
                i += 1
                continue
        if end > begin:
            if breaks:
                for _ in range(breaks):
                    out[end] = _LINE_FEED
                    end += 1
                characters += breaks
            elif space:
                out[end] = _BLANK
                end += 1
                characters += 1
                links += linked
        breaks = space = 0
        out[end] = byte
        end += 1
        for k in range(1, width):
            out[end] = data[i + k]
            end += 1
        i += width
        weight = _weight(byte)
        characters += weight
        links += weight * anchored
        linked = anchored
    cursor[END], cursor[BREAKS], cursor[CHARACTERS], cursor[LINKS] = end, breaks, characters, links
    cursor[STATE] = space | (_LINKED if linked else 0)
    return i


@numba.njit(cache=True, nogil=True)
def _read_preformatted(data, i, out, cursor, classes) -> Any:  # type: ignore[no-untyped-def]
    n = len(data)
    end, links, line = cursor[END], cursor[LINKS], cursor[STATE]
    anchored = cursor[ANCHORS] > 0
    while i < n:
        byte = data[i]
        if byte == _LESS:
            break
        if byte == _LINE_FEED:
            end = line
            if end > cursor[BEGIN]:
                out[end] = _LINE_FEED
                end += 1
            line = end
            i += 1
            continue
        width = 1
        blank = False
        if byte >= 0xC0:
            point, width = decode(data, i, n)
            blank = byte < 0xE4 and classes[point] == SPACE
        elif byte <= _BLANK:
            blank = classes[byte] == SPACE
        elif byte == _AMPERSAND:
            byte, i = _entity(data, i)
            if byte == _NBSP:
                blank = True
                links += anchored
                out[end] = 0xC2
                end += 1
        out[end] = byte
        end += 1
        for k in range(1, width):
            out[end] = data[i + k]
            end += 1
        i += width
        if not blank:
            line = end
        links += _weight(byte) * anchored
    cursor[END], cursor[LINKS], cursor[STATE] = end, links, line
    return i


@numba.njit(cache=True, nogil=True)
def _entity(data, i) -> Any:  # type: ignore[no-untyped-def]
    """Return the character at `&` (0xA0: a no-break space) and the index of its last byte."""
    left = len(data) - i
    if left >= 4 and data[i + 2] == 116 and data[i + 3] == 59:  # "t;"
        if data[i + 1] == 108:  # "l"
            return 60, i + 3
        if data[i + 1] == 103:  # "g"
            return 62, i + 3
    if left >= 5 and data[i + 1] == 97 and data[i + 4] == 59:  # "a", ";"
        return 38, i + 4
    if left >= 6 and data[i + 1] == 110 and data[i + 5] == 59:  # "n", ";"
        return _NBSP, i + 5
    return 38, i


@numba.njit(cache=True, nogil=True)
def line_break(out, cursor) -> Any:  # type: ignore[no-untyped-def]
    """Take a `<br>`."""
    if not cursor[IN_PRE]:
        cursor[BREAKS] += 1
        return
    end = cursor[STATE]
    if end > cursor[BEGIN]:
        out[end] = _LINE_FEED
        end += 1
    cursor[END] = cursor[STATE] = end


@numba.njit(cache=True, nogil=True)
def take(out, cursor) -> Any:  # type: ignore[no-untyped-def]
    """End the block. Return `(start, stop, characters, characters in links)`; begin the next."""
    begin, end = cursor[BEGIN], cursor[END]
    characters = cursor[CHARACTERS]
    if cursor[IN_PRE]:
        end = cursor[STATE]
        while end > begin and out[end - 1] == _LINE_FEED:
            end -= 1
        characters = 0
        for k in range(begin, end):
            characters += _weight(out[k])
    links = min(cursor[LINKS], characters)
    start_block(cursor, end)
    return begin, end, characters, links


@numba.njit(cache=True, nogil=True)
def start_block(cursor, at) -> Any:  # type: ignore[no-untyped-def]
    """Begin a block at `at`."""
    cursor[BEGIN] = cursor[END] = at
    cursor[BREAKS] = cursor[CHARACTERS] = cursor[LINKS] = 0
    cursor[STATE] = at if cursor[IN_PRE] else 0
