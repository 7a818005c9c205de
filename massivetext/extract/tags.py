"""What the extractor knows of HTML's elements, as a table that kernels look names up in.

A name is known to kernels by its code: its bytes packed into an integer, which for names of up to
eight bytes is exact. The table gives the flags of a code, 0 for names that mean nothing special.
"""

from typing import Any

import numba
import numpy as np

# Flags of elements.
BLOCK = 1  # breaks text into blocks
LIFTED = 2  # part of the level in which it stands: its blocks belong to that level
LIST = 4
PLAIN = 8  # one of these in a cell is only how the cell is written
ROOT = 16  # outermost lists and tables are judged as a whole
CELL = 32
PHRASING = 64  # neither breaks text nor hides it
VOID = 128  # has no end tag
REMOVED = 256  # without readable text
RAW = 512  # what it holds is not escaped when a tree is written out
NEVER_BOILERPLATE = 1024
SEMANTIC = 2048  # says what its text is
TIGHT = 4096  # stands on a line of its own, without a blank line around it
FLAT = 8192  # unclosed, it does not nest
FORMATTING = 16384  # left open, it is opened again in every block that follows
ROW = 32768
INDENTED = 65536
BOILERPLATE_WORD = 131072  # not an element: a word of class, id or role

_FLAGS = {
    BLOCK: "body main article section header hgroup div p h1 h2 h3 h4 h5 h6 ul ol menu li dl dt dd "
    "blockquote pre table caption thead tbody tfoot tr td th figure figcaption address form "
    "fieldset legend details summary center hr nav footer aside dialog",
    LIFTED: "ul ol menu li dl dt dd blockquote pre table caption thead tbody tfoot tr figure "
    "figcaption details summary hgroup center address",
    LIST: "ul ol menu",
    PLAIN: "p div td th",
    ROOT: "ul ol menu dl table",
    CELL: "td th",
    ROW: "tr",
    INDENTED: "dd blockquote",
    PHRASING: "abbr b big cite code data dfn em font i kbd mark q s samp small strong sub sup time "
    "tt u var wbr",
    VOID: "area base br col embed hr img input link meta source track wbr param frame keygen",
    REMOVED: "head script style noscript template iframe noembed noframes xmp plaintext svg canvas "
    "object audio video select textarea button nav footer aside datalist dialog annotation",
    RAW: "script style iframe noembed noframes xmp plaintext",
    NEVER_BOILERPLATE: "html body main article",
    SEMANTIC: "p h1 h2 h3 h4 h5 h6 li pre blockquote tr dd dt figcaption caption summary",
    TIGHT: "li tr dt dd",
    # These hold nothing, or the next of their kind closes them.
    FLAT: "a area base body br col colgroup dd dt embed head hr html img input keygen li link meta "
    "nobr optgroup option p param path rp rt source tbody td tfoot th thead tr track use wbr",
    # `a` and `nobr` are formatting too, but opening one closes the one before.
    FORMATTING: "b big code em font i s small strike strong tt u",
    # Words of class, id or role, alone or with one other ("site-footer"), that mark what is on
    # every page of a site. Narrow on purpose: "share", "related" or "sidebar" also stand on
    # wrappers of the main text, and so does any word in a long name ("nav-drawer-slide-panel").
    BOILERPLATE_WORD: "nav navbar navigation navheader navfooter menu menubar breadcrumb "
    "breadcrumbs toc cookie cookies footer contentinfo copyright search disqus comment comments "
    "pagination headerlink dialog alertdialog modal",
}

_SLOT_BITS = 9
SPREAD = 0x9E3779B97F4A7C15  # the golden ratio: spreads codes over the slots


def code(name: str) -> int:
    """Return the code of `name`, as `push` builds it byte by byte."""
    value = 0
    for byte in name.encode():
        value = ((value << 8 | value >> 56) ^ byte) & 0xFFFFFFFFFFFFFFFF
    return value


def _table() -> tuple[np.ndarray, np.ndarray]:
    flags: dict[str, int] = {}
    for flag, names in _FLAGS.items():
        for name in names.split():
            flags[name] = flags.get(name, 0) | flag
    codes = np.zeros(1 << _SLOT_BITS, np.uint64)
    values = np.zeros(1 << _SLOT_BITS, np.int64)
    for name, value in flags.items():
        slot = (code(name) * SPREAD & 0xFFFFFFFFFFFFFFFF) >> (64 - _SLOT_BITS)
        while codes[slot]:
            slot = (slot + 1) % len(codes)
        codes[slot], values[slot] = code(name), value
    codes.flags.writeable = values.flags.writeable = False
    return codes, values


# Open addressing: uint64 codes (0 where a slot is free) and their int64 flags, 512 slots each.
CODES, FLAGS = _table()


@numba.njit(cache=True, nogil=True, inline="always")
def push(value, byte):  # type: ignore[no-untyped-def]
    """Return the code of a name followed by `byte`; `value` is the name's, 0 to begin with."""
    return ((value << np.uint64(8)) | (value >> np.uint64(56))) ^ np.uint64(byte)


@numba.njit(cache=True, nogil=True)
def flags_of(name, codes, flags) -> Any:  # type: ignore[no-untyped-def]
    """Return the flags of the element whose code is `name`, from the table `codes`, `flags`."""
    slot = np.int64((name * np.uint64(SPREAD)) >> np.uint64(64 - _SLOT_BITS))
    while codes[slot] != 0:
        if codes[slot] == name:
            return flags[slot]
        slot = (slot + 1) & (len(codes) - 1)
    return np.int64(0)
