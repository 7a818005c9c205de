"""Refuses pages that would cost a parser of HTML more than their size warrants.

Two rules of the HTML standard let a small page cost gigabytes or hours: formatting left open is
opened again in every block that follows, and every block looks through all open elements above it.
The parser has no limits of its own, so they are checked on the markup, before it.
"""

from typing import Any

import numba
import numpy as np

from .tags import CODES, FLAGS, FLAT, FORMATTING, SPREAD, flags_of, push

PAGE_BYTES = 16 << 20
# Bytes of tags that unclosed formatting may add; in memory a tag takes some twenty times its bytes.
GROWTH_BYTES = 1 << 23
GROWTH_FREE_BYTES = 1 << 12  # smaller pages cannot grow much
# Steps through open elements, about a nanosecond each: the sum of the depths of all tags.
STEPS = 1 << 29

_REPEATS = 3  # a parser keeps no more open elements that are the same to the attribute
_FINE, _DEEP, _GROWS = 0, 1, 2

_LESS, _GREATER, _SLASH, _BLANK = ord("<"), ord(">"), ord("/"), ord(" ")


class PageTooLarge(ValueError):  # noqa: N818
    """A page is too large, or would grow too large, to be taken apart."""


def check(html: bytes) -> None:
    """Raise PageTooLarge if `html` is beyond `PAGE_BYTES`, `STEPS` or `GROWTH_BYTES`.

    Time is linear in the bytes plus at most `STEPS`; memory is a quarter of the bytes at worst.
    """
    if len(html) > PAGE_BYTES:
        raise PageTooLarge(f"the page has more than {PAGE_BYTES:,} bytes of HTML")
    verdict = _check(np.frombuffer(html, np.uint8), CODES, FLAGS)
    if verdict == _DEEP:
        raise PageTooLarge("elements are nested too deeply for a page of this size")
    if verdict == _GROWS:
        raise PageTooLarge("unclosed formatting tags would make the page's tree grow out of bounds")


@numba.njit(cache=True, nogil=True, inline="always")
def _ends_name(byte):  # type: ignore[no-untyped-def]
    return byte <= _BLANK or byte in (_SLASH, _GREATER)


@numba.njit(cache=True, nogil=True)
def _check(data, codes, flags) -> Any:  # type: ignore[no-untyped-def]
    """Walk over the tags as they are written, without a tree.

    Formatting that is open at a tag may be opened again there, all of it: `growth` adds that up.
    Open formatting tags are kept as a stack: their names, bytes and hashes.
    """
    n = len(data)
    names = np.empty(64, np.uint64)
    sizes = np.empty(64, np.int64)
    hashes = np.empty(64, np.uint64)
    top = 0
    size = growth = depth = steps = 0
    i = 0
    while i < n:
        if data[i] != _LESS:
            i += 1
            continue
        i += 1
        closing = i < n and data[i] == _SLASH
        first = i + 1 if closing else i
        if first >= n or not 97 <= (data[first] | 0x20) <= 122:
            growth += size
            continue
        i = first
        name = np.uint64(0)
        while i < n and not _ends_name(data[i]):
            byte = data[i]
            name = push(name, byte | 0x20 if 65 <= byte <= 90 else byte)
            i += 1
        flag = flags_of(name, codes, flags)
        if not flag & FLAT:
            depth = max(0, depth - 1) if closing else depth + 1
        steps += depth
        if steps > STEPS:
            return _DEEP
        if not flag & FORMATTING or i >= n:
            growth += size
            continue
        begin = first - 1
        identity = np.uint64(0)
        while i < n and data[i] != _GREATER:
            identity = (identity ^ np.uint64(data[i])) * np.uint64(SPREAD)
            identity ^= identity >> np.uint64(29)
            i += 1
        at = top - 1
        if closing:
            while at >= 0 and names[at] != name:
                at -= 1
            steps += top - at
            if at >= 0:
                size -= sizes[at]
                for k in range(at, top - 1):
                    names[k], sizes[k], hashes[k] = names[k + 1], sizes[k + 1], hashes[k + 1]
                top -= 1
            continue
        repeats = 0
        while at >= 0 and repeats < _REPEATS:
            repeats += names[at] == name and hashes[at] == identity
            at -= 1
        steps += top - at
        if repeats < _REPEATS:
            if top == len(names):
                names = np.concatenate((names, np.empty_like(names)))
                sizes = np.concatenate((sizes, np.empty_like(sizes)))
                hashes = np.concatenate((hashes, np.empty_like(hashes)))
            names[top], sizes[top], hashes[top] = name, i - begin, identity
            top += 1
            size += i - begin
    return _GROWS if growth > GROWTH_BYTES and n > GROWTH_FREE_BYTES else _FINE
