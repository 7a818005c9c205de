"""Compiled kernels that find public IP addresses, for `pii`, which says what counts."""

import ipaddress

import numba
import numpy as np

from .pii_kernels import DIGIT, FLAGS, HEX, LETTER, larger, next_of

# IANA's special-purpose address registries (RFC 6890), as of 2025: blocks that are not globally
# reachable, and blocks within them that are. Of IPv6, only 2000::/3 is assigned to the public.
_LOCAL_4 = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
    "192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4"
)
_GLOBAL_4 = "192.0.0.9/32 192.0.0.10/32"
_LOCAL_6 = "2001::/23 2001:db8::/32 2002::/16 3fff::/20"
_GLOBAL_6 = (
    "2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:3::/32 2001:4:112::/48 2001:20::/28 "
    "2001:30::/28"
)

_COLON, _DOT, _UNDERSCORE, _ZERO = ord(":"), ord("."), ord("_"), ord("0")


def _ranges(blocks: str) -> np.ndarray:
    """Return the first and last address of each block as two halves: uint64 [n, 4]."""
    rows = []
    for block in blocks.split():
        network = ipaddress.ip_network(block)
        ends = int(network.network_address), int(network.broadcast_address)
        rows.append([half for end in ends for half in (end >> 64, end & (2**64 - 1))])
    return np.array(rows, np.uint64)


_LOCAL_RANGES_4, _GLOBAL_RANGES_4 = _ranges(_LOCAL_4), _ranges(_GLOBAL_4)
_LOCAL_RANGES_6, _GLOBAL_RANGES_6 = _ranges(_LOCAL_6), _ranges(_GLOBAL_6)


@numba.njit(cache=True, nogil=True)
def find_addresses(data, offsets, counts):  # type: ignore[no-untyped-def]
    """Count the public IP addresses of each row; return their ranges, int64 [m, 2], and for each 1
    (IPv4) or 2 (IPv6)."""
    spans = np.empty((64, 2), np.int64)
    kinds = np.empty(64, np.uint8)
    n = 0
    for row in range(len(counts)):
        first = i = offsets[row]
        stop = offsets[row + 1]
        while True:
            i = next_of(data, i, stop, _DOT, _COLON)
            if i == stop:
                break
            kind = 1 if data[i] == _DOT else 2
            if kind == 1:
                start, end = _ipv4(data, first, i, stop)
            else:
                start, end = _ipv6(data, first, i, stop)
            i += 1
            if end > i:
                if n == len(kinds):
                    spans, kinds = larger(spans, kinds)
                spans[n, 0] = start
                spans[n, 1] = end
                kinds[n] = kind
                n += 1
                counts[row] += 1
                i = end
    return spans[:n], kinds[:n]


@numba.njit(cache=True, nogil=True)
def _wordlike(byte):  # type: ignore[no-untyped-def]
    return FLAGS[byte] & (LETTER | DIGIT) != 0 or byte == _UNDERSCORE


@numba.njit(cache=True, nogil=True)
def _ends_inside(data, i, stop):  # type: ignore[no-untyped-def]
    """Whether what ends at `i` is part of a longer word or dotted number."""
    if i == stop:
        return False
    dotted = data[i] == _DOT and i + 1 < stop and FLAGS[data[i + 1]] & DIGIT
    return dotted or _wordlike(data[i])


@numba.njit(cache=True, nogil=True)
def _ipv4(data, first, dot, stop):  # type: ignore[no-untyped-def]
    """Return the range of a public IPv4 address whose first dot is `data[dot]`, or (-1, -1)."""
    start = dot
    while start > first and dot - start < 3 and FLAGS[data[start - 1]] & DIGIT:
        start -= 1
    if start == dot or (start > first and _wordlike(data[start - 1])):
        return -1, -1
    if start - 1 > first and data[start - 1] == _DOT and FLAGS[data[start - 2]] & DIGIT:
        return -1, -1
    address = np.uint64(0)
    i = start
    for group in range(4):
        begin = i
        value = np.uint64(0)
        while i < stop and i - begin < 3 and FLAGS[data[i]] & DIGIT:
            value = value * np.uint64(10) + np.uint64(data[i] - _ZERO)
            i += 1
        if i == begin or value > np.uint64(255) or (data[begin] == _ZERO and i - begin > 1):
            return -1, -1
        address = address << np.uint64(8) | value
        if group < 3:
            if i == stop or data[i] != _DOT:
                return -1, -1
            i += 1
    if _ends_inside(data, i, stop):
        return -1, -1
    high = np.uint64(0)
    if _within(high, address, _LOCAL_RANGES_4) and not _within(high, address, _GLOBAL_RANGES_4):
        return -1, -1
    return start, i


@numba.njit(cache=True, nogil=True)
def _within(high, low, ranges):  # type: ignore[no-untyped-def]
    found = False
    for k in range(len(ranges)):
        after = high > ranges[k, 0] or (high == ranges[k, 0] and low >= ranges[k, 1])
        before = high < ranges[k, 2] or (high == ranges[k, 2] and low <= ranges[k, 3])
        found |= after and before
    return found


@numba.njit(cache=True, nogil=True)
def _ipv6(data, first, colon, stop):  # type: ignore[no-untyped-def]
    """Return the range of a public IPv6 address whose first colon is `data[colon]`, or (-1, -1)."""
    start = colon - 4
    if start < first or data[start] not in (50, 51):  # 2000::/3: the first digit is 2 or 3
        return -1, -1
    for k in range(start, colon):
        if not FLAGS[data[k]] & HEX:
            return -1, -1
    if start > first:
        before = data[start - 1]
        if _wordlike(before):
            return -1, -1
        if before == _COLON and start - 1 > first:
            # `IP:2001:...` has a colon before the address, `1:2001:...` an address that is longer.
            further = data[start - 2]
            if further == _COLON or FLAGS[further] & HEX:
                return -1, -1
    end = colon
    while end < stop and end - start < 41 and (data[end] == _COLON or FLAGS[data[end]] & HEX):
        end += 1
    if data[end - 1] == _COLON and data[end - 2] != _COLON:
        end -= 1  # of the sentence
    if end - start > 39 or _ends_inside(data, end, stop):
        return -1, -1
    words = np.zeros(8, np.uint64)
    groups = 0
    gap = -1
    i = start
    while i < end:
        begin = i
        value = np.uint64(0)
        while i < end and i - begin < 5 and data[i] != _COLON:
            value = value << np.uint64(4) | _hex_value(data[i])
            i += 1
        if i == begin or i - begin > 4 or groups == 8:
            return -1, -1
        words[groups] = value
        groups += 1
        i += 1
        if i < end and data[i] == _COLON:
            if gap >= 0:
                return -1, -1
            gap = groups
            i += 1
    if groups != 8 if gap < 0 else groups > 7:
        return -1, -1
    if gap >= 0:
        after = groups - gap
        words[8 - after :] = words[gap:groups].copy()
        words[gap : 8 - after] = 0
    high = _half(words[:4])
    low = _half(words[4:])
    if _within(high, low, _LOCAL_RANGES_6) and not _within(high, low, _GLOBAL_RANGES_6):
        return -1, -1
    return start, end


@numba.njit(cache=True, nogil=True)
def _hex_value(byte):  # type: ignore[no-untyped-def]
    value = np.uint64(byte)
    if value <= np.uint64(57):
        return value - np.uint64(48)
    return (value & np.uint64(0x1F)) + np.uint64(9)


@numba.njit(cache=True, nogil=True)
def _half(words):  # type: ignore[no-untyped-def]
    value = np.uint64(0)
    for word in words:
        value = value << np.uint64(16) | word
    return value
