"""Compiled loops of `tfrecord`: whole records to columns and back, while they are in the cache."""

import numpy as np
from numba import njit

from .crc32c import crc_of_three

VARINT_BYTES = 6
# Before the Example stand its length and that length's CRC, after it its own CRC.
_BEFORE, _AFTER = 12, 4
_AT_ONCE = 3

_FRAME, _CRC = 1, 2
PROBLEMS = {_FRAME: "its frame or its keys are damaged", _CRC: "its CRC-32C is wrong"}


@njit(cache=True, nogil=True)
def decode_records(  # type: ignore[no-untyped-def]
    data, fields, head, fixed, check, vocab_size, tokens, epoch, sequence, subset
):
    """Fill tokens, [n, width], and integers, int64 [n], with those of n records.

    Args:
      data: uint8, the records.
      fields: int64 [5]: bytes of a record; where in it epoch, sequence, subset and tokens lie.
      head: uint8, how every record begins, but for the bits that are not `fixed` (uint8).
      check: compare CRCs, and tokens with `vocab_size`.

    Returns:
      `(problem, row, beyond)`: what is wrong (`PROBLEMS`) with the first row that cannot be read, 0
      if nothing is; the first row with a token of `vocab_size` or more, -1 if there is none.
    """
    size, at = fields[0], fields[4]
    last = len(epoch) - 1
    filled = tokens.reshape(-1).view(np.uint8)
    width = tokens.shape[1] * tokens.itemsize
    beyond = -1
    for first in range(0, last + 1, _AT_ONCE):
        if check:
            crcs = _example_crcs(data, first, last, size)
        for row in range(first, min(first + _AT_ONCE, last + 1)):
            record = data[row * size : (row + 1) * size]
            differing = np.uint8(0)
            for i in range(len(head)):
                differing |= (record[i] ^ head[i]) & fixed[i]
            if differing:
                return _FRAME, row, beyond
            if check and _masked(crcs[row - first]) != _stored_crc(record):
                return _CRC, row, beyond
            out = filled[row * width : (row + 1) * width]
            found = record[at : at + width]
            for i in range(width):
                out[i] = found[i]
            if check and beyond < 0 and _largest(tokens[row]) >= vocab_size:
                beyond = row
            epoch[row] = _integer(record, fields[1])
            sequence[row] = _integer(record, fields[2])
            subset[row] = _integer(record, fields[3])
    return 0, 0, beyond


@njit(cache=True, nogil=True)
def encode_records(tokens, epoch, sequence, subset, fields, head, out):  # type: ignore[no-untyped-def]
    """Write n records to `out`, uint8; `tokens` are their bytes, uint8 [n, bytes of tokens].

    Other arguments as `decode_records`; the integers fit in their bytes.
    """
    size, at = fields[0], fields[4]
    last = len(epoch) - 1
    for first in range(0, last + 1, _AT_ONCE):
        stop = min(first + _AT_ONCE, last + 1)
        for row in range(first, stop):
            record = out[row * size : (row + 1) * size]
            for i in range(len(head)):
                record[i] = head[i]
            _put_integer(record, fields[1], epoch[row])
            _put_integer(record, fields[2], sequence[row])
            _put_integer(record, fields[3], subset[row])
            put = record[at : at + tokens.shape[1]]
            given = tokens[row]
            for i in range(len(put)):
                put[i] = given[i]
        crcs = _example_crcs(out, first, last, size)
        for row in range(first, stop):
            crc = _masked(crcs[row - first])
            for i in range(_AFTER):
                out[(row + 1) * size - _AFTER + i] = np.uint8(crc >> np.uint32(8 * i))


@njit(inline="always")
def _example_crcs(data, first, last, size):  # type: ignore[no-untyped-def]
    """CRCs of the Examples of three rows from `first` on; beyond the last row, of that again."""
    start = first * size + _BEFORE
    second = min(first + 1, last) * size + _BEFORE
    third = min(first + 2, last) * size + _BEFORE
    return crc_of_three(data, start, second, third, size - _BEFORE - _AFTER)


@njit(inline="always")
def _masked(crc):  # type: ignore[no-untyped-def]
    """TFRecord's form of a CRC: rotated right by 15 bits, plus a constant."""
    turned = (crc >> np.uint32(15)) | (crc << np.uint32(17))
    return np.uint32(turned + np.uint32(0xA282EAD8))


@njit(inline="always")
def _stored_crc(record):  # type: ignore[no-untyped-def]
    crc = np.uint32(0)
    for i in range(_AFTER):
        crc |= np.uint32(record[len(record) - _AFTER + i]) << np.uint32(8 * i)
    return crc


@njit(inline="always")
def _largest(tokens):  # type: ignore[no-untyped-def]
    largest = tokens[0]
    for i in range(len(tokens)):
        largest = max(largest, tokens[i])
    return np.int64(largest)


@njit(inline="always")
def _integer(record, at):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for i in range(VARINT_BYTES):
        value |= np.int64(record[at + i] & 0x7F) << (7 * i)
    return value


@njit(inline="always")
def _put_integer(record, at, value):  # type: ignore[no-untyped-def]
    for i in range(VARINT_BYTES):
        more = 0x80 if i + 1 < VARINT_BYTES else 0
        record[at + i] = np.uint8((value >> (7 * i)) & 0x7F | more)
