"""What attributes say of an element: that it is hidden, boilerplate, or runs a script."""

from typing import Any

import numba
import numpy as np

from .tags import BOILERPLATE_WORD, code, flags_of, push

_CLASS, _ID, _ROLE, _STYLE = code("class"), code("id"), code("role"), code("style")
_HREF, _SCRIPT = code("href"), code("javascript")
_HIDDEN, _ARIA_HIDDEN = code("hidden"), code("aria-hidden")
_TRUE, _DISPLAY, _NONE = code("true"), code("display"), code("none")
_VISIBILITY = code("visibility")

_GREATER, _BLANK, _EQUALS, _QUOTE, _UNDERSCORE, _COLON = map(ord, '> ="_:')


@numba.njit(cache=True, nogil=True)
def read_attributes(data, i, judged, named, codes, flags) -> Any:  # type: ignore[no-untyped-def]
    """Read the attributes of a tag as a tree is written out: ` name="value"`.

    Args:
      judged: whether the element may be skipped.
      named: whether it may be skipped for its class, id or role, too.

    Returns:
      `(i, boilerplate, scripted)`: the index of the tag's `>`, whether its element should be
      skipped, and whether its `href` is a script to run rather than a place to go to.
    """
    n = len(data)
    boilerplate = scripted = False
    while i < n and data[i] != _GREATER:
        if data[i] == _BLANK:
            i += 1
        name = np.uint64(0)
        part = np.uint64(0)  # of the name, after its last character that is in no word
        first = i
        while i < n and data[i] != _GREATER and data[i] != _BLANK:
            byte = data[i]
            if byte == _EQUALS and i > first:
                break
            name = push(name, byte)
            part = push(part, byte) if _in_word(byte) or byte == _UNDERSCORE else np.uint64(0)
            i += 1
        if i + 1 >= n or data[i] != _EQUALS or data[i + 1] != _QUOTE:
            continue  # not as trees are written
        i += 2
        start = i
        while i < n and data[i] != _QUOTE:
            i += 1
        if judged and not boilerplate:
            if part in (_CLASS, _ID, _ROLE):
                boilerplate = named and _names_boilerplate(data, start, i, codes, flags)
            elif name == _HREF:
                scripted = _is_script(data, start, i)
            elif name == _STYLE:
                boilerplate = _not_displayed(data, start, i)
            elif name == _HIDDEN:
                boilerplate = True
            elif name == _ARIA_HIDDEN:
                boilerplate = i - start == 4 and _word(data, start, i)[0] == _TRUE
        i += i < n
    return i, boilerplate, scripted


@numba.njit(cache=True, nogil=True, inline="always")
def _in_word(byte):  # type: ignore[no-untyped-def]
    return 97 <= (byte | 0x20) <= 122 or 48 <= byte <= 57 or byte >= 0x80


@numba.njit(cache=True, nogil=True)
def _word(data, i, stop) -> Any:  # type: ignore[no-untyped-def]
    """Return the code of the word at `data[i]`, in lower case, and where it ends."""
    name = np.uint64(0)
    while i < stop and _in_word(data[i]):
        byte = data[i]
        name = push(name, byte | 0x20 if 65 <= byte <= 90 else byte)
        i += 1
    return name, i


@numba.njit(cache=True, nogil=True)
def _names_boilerplate(data, i, stop, codes, flags) -> Any:  # type: ignore[no-untyped-def]
    """Whether a name of at most two words in a list of names has a word that says boilerplate."""
    while i < stop:
        words = 0
        found = False
        while i < stop and data[i] > _BLANK:
            if _in_word(data[i]):
                name, i = _word(data, i, stop)
                words += 1
                found |= (flags_of(name, codes, flags) & BOILERPLATE_WORD) != 0
            else:
                i += 1
        if found and words <= 2:
            return True
        i += 1
    return False


@numba.njit(cache=True, nogil=True)
def _is_script(data, i, stop) -> Any:  # type: ignore[no-untyped-def]
    """Whether an address has the scheme `javascript`."""
    while i < stop and data[i] <= _BLANK:
        i += 1
    scheme, end = _word(data, i, stop)
    return scheme == _SCRIPT and end < stop and data[end] == _COLON


@numba.njit(cache=True, nogil=True)
def _not_displayed(data, i, stop) -> Any:  # type: ignore[no-untyped-def]
    """Whether a style says `display: none` or `visibility: hidden`."""
    before = np.uint64(0)  # the property whose value comes next
    while i < stop:
        if _in_word(data[i]):
            name, i = _word(data, i, stop)
            if (before == _DISPLAY and name == _NONE) or (
                before == _VISIBILITY and name == _HIDDEN
            ):
                return True
            before = name
        else:
            if data[i] > _BLANK and data[i] != _COLON:
                before = np.uint64(0)
            i += 1
    return False
