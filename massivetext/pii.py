"""Masks personal data in texts: e-mail addresses and public IP addresses.

Each is replaced by one that is reserved for documentation (RFC 2606, 5737, 3849), always the same,
so that a text does not depend on the texts before it. Kernels look only around `@`, `.` and `:`:
time is linear in the bytes, however a text is made.

An e-mail address is `name@domain`, all ASCII. The name has letters, digits and `._%+-`, starts with
a letter or digit, and has no two dots in a row and none before `@`. The domain has labels of
letters, digits and inner hyphens, separated by dots, and ends with a label of two letters or more
that no letter or digit follows; it is as long as it can be.

An IPv4 address is four numbers up to 255, without leading zeros, that are not part of a longer
dotted number or of a word. An IPv6 address is a valid one (RFC 4291, section 2.2) that starts with
four hexadecimal digits, as public ones do. Only those that IANA's special-purpose registries leave
globally reachable are masked: private, loopback, link-local and documentation addresses name
nobody. The number of a version or a section in four parts cannot be told from an IPv4 address.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .config import Mask
from .document import text_buffers
from .pii_addresses import find_addresses
from .pii_kernels import find_emails, splice
from .quality import readonly

EMAIL = b"email@example.com"
IPV4 = b"192.0.2.1"
IPV6 = b"2001:db8::1"


def mask(column: pa.Array, kinds: Sequence[Mask]) -> tuple[pa.Array, dict[str, np.ndarray]]:
    """Replace personal data of `kinds` in n texts, e-mail addresses first.

    Masking again changes nothing, unless two addresses stood with nothing but a dot between. A
    column without a match is returned as it is.

    Args:
      column: a `string` or `large_string` array without nulls.

    Returns:
      `(texts, counts)`: an array of the same type; for each of `kinds` how many were replaced in
      each text, int64 [n], as `emails` and `ips`.
    """
    counts = {}
    if Mask.EMAIL in kinds:
        column, counts["emails"] = _replace(column, find_emails)
    if Mask.IP in kinds:
        column, counts["ips"] = _replace(column, find_addresses)
    return column, counts


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    mask(pa.array(["a@b.cc 8.8.8.8"], pa.large_string()), tuple(Mask))


def _replace(column: pa.Array, find: Any) -> tuple[pa.Array, np.ndarray]:
    data, offsets = text_buffers(column)
    data, offsets = readonly(data), readonly(offsets)
    counts = np.zeros(len(column), np.int64)
    spans, kinds = find(data, offsets, counts)
    if len(kinds) == 0:
        return column, counts
    masks = (EMAIL, IPV4, IPV6)
    lengths = np.array([len(text) for text in masks])
    grown = int(lengths[kinds].sum() - (spans[:, 1] - spans[:, 0]).sum())
    out = np.empty(int(offsets[-1] - offsets[0]) + grown, np.uint8)
    out_offsets = np.empty_like(offsets)
    texts = np.frombuffer(b"".join(masks), np.uint8)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    splice(data, offsets, counts, spans, kinds, texts, starts, out, out_offsets)
    buffers = [None, pa.py_buffer(out_offsets), pa.py_buffer(out)]
    masked = pa.Array.from_buffers(pa.large_string(), len(column), buffers)
    return masked.cast(column.type), counts
