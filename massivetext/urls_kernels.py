"""Compiled kernels that read addresses, for `urls`.

An address is read as browsers read it (the WHATWG URL standard): after the scheme, what stands
before the last `@` is user information, the host ends at `:` or in `]`, and the authority at `/`,
`\\`, `?` or `#`. An address without a scheme starts with its host. Time is linear in the bytes.
"""

import numba
import numpy as np

from .blocklist import MAX_HOST
from .unicode import REPLACEMENT, decode
from .words import combine, mix

_AT, _BACKSLASH, _COLON, _DOT, _HASH = ord("@"), ord("\\"), ord(":"), ord("."), ord("#")
_OPEN, _CLOSE, _PERCENT, _QUERY, _SLASH = ord("["), ord("]"), ord("%"), ord("?"), ord("/")
_SEED = np.uint64(0x6A09E667F3BCC909)
_HTTP = np.frombuffer(b"http://", np.uint8)
_HTTPS = np.frombuffer(b"https", np.uint8)
_HTTP_PORT = np.frombuffer(b":80", np.uint8)
_HTTPS_PORT = np.frombuffer(b":443", np.uint8)


@numba.njit(cache=True, nogil=True)
def _trim(data, start, stop):  # type: ignore[no-untyped-def]
    """Return the range without white space and control characters at its ends."""
    while start < stop and data[start] <= 0x20:
        start += 1
    while start < stop and data[stop - 1] <= 0x20:
        stop -= 1
    return start, stop


@numba.njit(cache=True, nogil=True)
def _letter_or_digit(byte):  # type: ignore[no-untyped-def]
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122


@numba.njit(cache=True, nogil=True)
def _parts(data, start, stop):  # type: ignore[no-untyped-def]
    """Return where an address has `(the end of its scheme, authority, host, the end of its host,
    the end of its authority)`; the scheme is empty when there is none."""
    scheme = start
    while scheme < stop and (_letter_or_digit(data[scheme]) or data[scheme] in (43, 45, 46)):
        scheme += 1
    if scheme in (start, stop) or data[scheme] != _COLON:
        scheme = start
    authority = scheme + 1 if scheme > start else start
    if authority + 1 < stop and data[authority] == _SLASH and data[authority + 1] == _SLASH:
        authority += 2
    else:
        scheme = authority = start
    end = host = authority
    while end < stop and data[end] not in (_SLASH, _BACKSLASH, _QUERY, _HASH):
        if data[end] == _AT:
            host = end + 1
        end += 1
    host_stop = host
    if host < end and data[host] == _OPEN:
        while host_stop < end and data[host_stop] != _CLOSE:
            host_stop += 1
    while host_stop < end and data[host_stop] != _COLON:
        host_stop += 1
    return scheme, authority, host, host_stop, end


@numba.njit(cache=True, nogil=True)
def _hex(byte):  # type: ignore[no-untyped-def]
    """Return the value of a hexadecimal digit, or -1."""
    if 48 <= byte <= 57:
        return byte - 48
    low = byte | 0x20
    return low - 87 if 97 <= low <= 102 else -1


@numba.njit(cache=True, nogil=True)
def _unescape(data, i, stop, out):  # type: ignore[no-untyped-def]
    """Write `data[i:stop]` to `out` with `%` escapes undone; return how many bytes it has."""
    n = 0
    while i < stop:
        out[n] = data[i]
        if data[i] == _PERCENT and i + 2 < stop:
            high, low = _hex(np.int64(data[i + 1])), _hex(np.int64(data[i + 2]))
            if high >= 0 and low >= 0:
                out[n] = high << 4 | low
                i += 2
        i += 1
        n += 1
    return n


@numba.njit(cache=True, nogil=True)
def _character(text, i, n):  # type: ignore[no-untyped-def]
    """Return `(code point, width)` as `decode` does; a byte of another encoding, which an escape
    may have brought in, is U+FFFD and takes no other bytes with it."""
    point, width = decode(text, i, n)
    for k in range(i + 1, i + width):
        if text[k] & 0xC0 != 0x80:
            return REPLACEMENT, 1
    return point, width


@numba.njit(cache=True, nogil=True)
def _search(keys, key):  # type: ignore[no-untyped-def]
    """Return the index of `key` in sorted `keys`, or -1."""
    k = np.searchsorted(keys, key)
    return k if k < len(keys) and keys[k] == key else -1


@numba.njit(cache=True, nogil=True)
def _host_points(text, n, lower, points):  # type: ignore[no-untyped-def]
    """Write the characters of a host to `points`, lowered, without closing dots; return their
    number, or 0 when there are more than a name can have."""
    count = 0
    i = 0
    while i < n:
        if count == len(points):
            return 0
        point, width = _character(text, i, n)
        points[count] = lower[point]
        count += 1
        i += width
    while count and points[count - 1] == _DOT:
        count -= 1
    return count


@numba.njit(cache=True, nogil=True)
def _find_host(points, count, keys):  # type: ignore[no-untyped-def]
    """Return the index of the longest suffix of a host that is listed, or -1."""
    found = -1
    state = _SEED
    # What ends in a number is an IPv4 address, and no part of it is a host.
    number = True
    whole = False
    for i in range(count - 1, -1, -1):
        if points[i] == _DOT:
            whole |= number
        elif not 48 <= points[i] <= 57:
            number = False
        state = combine(state, np.uint64(points[i]))
        if i == 0 or (points[i - 1] == _DOT and not whole):
            k = _search(keys, mix(state))
            if k >= 0:
                found = k
    return found


@numba.njit(cache=True, nogil=True)
def _find_word(text, n, letters, keys):  # type: ignore[no-untyped-def]
    """Return the index of the first word of `text[:n]` that is listed, or -1."""
    state = _SEED
    inside = False
    i = 0
    while i <= n:
        letter = 0
        width = 1
        if i < n:
            point, width = _character(text, i, n)
            letter = letters[point]
        if letter:
            state = combine(state, np.uint64(letter))
            inside = True
        elif inside:
            k = _search(keys, mix(state))
            if k >= 0:
                return k
            state = _SEED
            inside = False
        i += width
    return -1


@numba.njit(cache=True, nogil=True)
def match_rows(  # type: ignore[no-untyped-def]
    data, offsets, lower, letters, domain_keys, word_keys, domain, word
):
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    text = np.empty(longest, np.uint8)
    points = np.empty(MAX_HOST + 1, np.int32)
    for row in range(len(offsets) - 1):
        start, stop = _trim(data, offsets[row], offsets[row + 1])
        _, _, host, host_stop, end = _parts(data, start, stop)
        if len(domain_keys):
            n = _unescape(data, host, host_stop, text)
            domain[row] = _find_host(points, _host_points(text, n, lower, points), domain_keys)
        if len(word_keys):
            while end < stop and data[end] != _HASH:
                end += 1
            word[row] = _find_word(text, _unescape(data, host, end, text), letters, word_keys)


@numba.njit(cache=True, nogil=True)
def hash_hosts(data, offsets, lower, letters, out):  # type: ignore[no-untyped-def]
    points = np.empty(MAX_HOST + 1, np.int32)
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        count = _host_points(text, len(text), lower, points)
        state = _SEED
        for i in range(count - 1, -1, -1):
            state = combine(state, np.uint64(points[i]))
        out[row] = mix(state)


@numba.njit(cache=True, nogil=True)
def hash_words(data, offsets, lower, letters, out):  # type: ignore[no-untyped-def]
    for row in range(len(offsets) - 1):
        i, stop = offsets[row], offsets[row + 1]
        state = _SEED
        while i < stop:
            point, width = decode(data, i, stop)
            state = combine(state, np.uint64(letters[point]))
            i += width
        out[row] = mix(state)


@numba.njit(cache=True, nogil=True)
def _equal(data, start, stop, text):  # type: ignore[no-untyped-def]
    """Whether `data[start:stop]` is `text`, which is in lower case, in any case."""
    if stop - start != len(text):
        return False
    same = True
    for i in range(len(text)):
        same &= _low(data[start + i]) == text[i]
    return same


@numba.njit(cache=True, nogil=True)
def _low(byte):  # type: ignore[no-untyped-def]
    return byte | 0x20 if 65 <= byte <= 90 else byte


@numba.njit(cache=True, nogil=True)
def canonical_rows(data, offsets, out, out_offsets, named):  # type: ignore[no-untyped-def]
    o = 0
    for row in range(len(offsets) - 1):
        out_offsets[row] = o
        i, stop = _trim(data, offsets[row], offsets[row + 1])
        named[row] = i < stop
        scheme, _, host, host_stop, end = _parts(data, i, stop)
        port = _HTTPS_PORT
        if _equal(data, i, scheme, _HTTPS[:4]):
            port = _HTTP_PORT
        elif not _equal(data, i, scheme, _HTTPS):
            out[o : o + stop - i] = data[i:stop]
            o += stop - i
            continue
        named[row] = host < host_stop
        for byte in _HTTP:
            out[o] = byte
            o += 1
        for k in range(scheme + 3, end):
            if k == host_stop and (k + 1 == end or _equal(data, k, end, port)):
                break
            out[o] = _low(data[k]) if host <= k < host_stop else data[k]
            o += 1
        if end == stop or data[end] in (_QUERY, _HASH):
            out[o] = _SLASH
            o += 1
        while end < stop and data[end] != _HASH:
            out[o] = data[end]
            o += 1
            end += 1
    out_offsets[len(offsets) - 1] = o
