"""TFRecord files of fixed-width `tf.train.Example`s: record i lies at i * record_bytes, no index.

A record is framed as TensorFlow frames it: length (uint64), masked CRC-32C of the length, the
Example, masked CRC-32C of the Example; all little-endian. The Example has the features `epoch`,
`sequence`, `subset` (int64) and `tokens` (bytes: little-endian tokens), encoded by hand in the
order of their names. The integers are varints padded to `VARINT_BYTES`, which every protobuf parser
reads, so that all records of a file have one width and one layout: `docs/shards.md`.
"""

import struct
from functools import cache
from typing import NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt

from .errors import InputError
from .record_kernels import PROBLEMS, VARINT_BYTES, decode_records, encode_records
from .storage import Location

MAX_INTEGER = 2 ** (7 * VARINT_BYTES) - 1
MAX_VOCAB_SIZE = 2**32
INTEGERS = ("epoch", "sequence", "subset")

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.unsignedinteger]


class Columns(NamedTuple):
    """What stands in n records: `tokens` [n, width], the integers int64 [n].

    `beyond` is the first row with a token that the vocabulary does not have, -1 if there is none.
    """

    tokens: Tokens
    subset: Integers
    sequence: Integers
    epoch: Integers
    beyond: int


class Layout:
    """Where everything lies in a record of `width` tokens of `dtype` (uint16 or uint32).

    `dtype` views a file as an array of records; `constant` holds the bytes that all records share.
    """

    def __init__(self, width: int, dtype: str):
        self.width = width
        self.tokens = np.dtype(dtype).newbyteorder("<")
        payload = _field(1, bytes(width * self.tokens.itemsize))  # BytesList.value
        features = b""
        self.offsets = {}
        for name in INTEGERS:
            packed = _field(1, _varint(0, VARINT_BYTES))  # Int64List.value, packed
            features += _entry(name, _field(3, packed))
            self.offsets[name] = len(features) - VARINT_BYTES
        features += _entry("tokens", _field(1, payload))
        self.offsets["tokens"] = len(features) - width * self.tokens.itemsize
        example = _field(1, features)
        length = struct.pack("<Q", len(example))
        framed = length + struct.pack("<I", masked_crc(length)) + example + bytes(4)
        shift = len(framed) - 4 - len(features)
        self.offsets = {name: offset + shift for name, offset in self.offsets.items()}
        self.record_bytes = len(framed)
        self.constant = np.frombuffer(framed[: self.offsets["tokens"]], np.uint8)
        self.dtype = np.dtype(
            {
                "names": ["head", *INTEGERS, "tokens", "crc"],
                "formats": [
                    (np.uint8, len(self.constant)),
                    *[(np.uint8, VARINT_BYTES)] * 3,
                    (self.tokens, width),
                    "<u4",
                ],
                "offsets": [
                    0,
                    *(self.offsets[name] for name in (*INTEGERS, "tokens")),
                    self.record_bytes - 4,
                ],
                "itemsize": self.record_bytes,
            }
        )
        # All bits of a byte of the head that no record may change, none of one of the integers.
        self._fixed = np.full(len(self.constant), 0xFF, np.uint8)
        for name in INTEGERS:
            self._fixed[self.offsets[name] : self.offsets[name] + VARINT_BYTES] = 0
        at = [self.offsets[name] for name in INTEGERS]
        self._fields = np.array([self.record_bytes, *at, self.offsets["tokens"]], np.int64)

    def encode(
        self,
        tokens: Tokens,
        subset: npt.NDArray[np.integer],
        sequence: Integers,
        epoch: Integers,
    ) -> npt.NDArray[np.void]:
        """Return framed records, an array of `self.dtype` [n] whose bytes go to the file.

        Raises:
          ValueError: the columns are of different lengths, the tokens not of this width, or an
            integer has no room.
        """
        columns = [np.ascontiguousarray(column, np.int64) for column in (epoch, sequence, subset)]
        for values in columns:
            if tokens.shape != (len(values), self.width):
                raise ValueError(
                    f"tokens of shape {tokens.shape} are not {len(values)} records of {self.width}"
                )
            if values.size and not 0 <= values.min() <= values.max() <= MAX_INTEGER:
                raise ValueError(f"an integer of a record is outside [0, {MAX_INTEGER}]")
        records = np.empty(len(tokens), self.dtype)
        encode_records(
            np.ascontiguousarray(tokens, self.tokens).view(np.uint8),
            columns[0], columns[1], columns[2],
            self._fields, self.constant, records.view(np.uint8),
        )  # fmt: skip
        return records

    def decode(
        self,
        records: Bytes,
        path: Location,
        first: int,
        check: bool,
        vocab_size: int = MAX_VOCAB_SIZE,
    ) -> Columns:
        """Return what stands in framed records, copied.

        Args:
          records: whole records, part of the file `path` from its record `first` on.
          check: compare the CRC of every record, and its tokens with `vocab_size`.

        Raises:
          InputError: a record is not of this layout or its CRC is wrong; names file, record and
            byte offset.
        """
        records = records.view(np.uint8)
        count = len(records) // self.record_bytes
        tokens = np.empty((count, self.width), self.tokens)
        subset, sequence, epoch = (np.empty(count, np.int64) for _ in range(3))
        problem, row, beyond = decode_records(
            records, self._fields, self.constant, self._fixed, check, vocab_size, tokens,
            epoch, sequence, subset,
        )  # fmt: skip
        if problem:
            offset = (first + row) * self.record_bytes
            raise InputError(
                f"{path}: record {first + row} at byte {offset:,} is corrupt: {PROBLEMS[problem]}; "
                "the file changed after it was written: delete it and run the stage again"
            )
        return Columns(tokens, subset, sequence, epoch, beyond)


@cache
def layout(width: int, dtype: str) -> Layout:
    """Return the layout of records of `width` tokens of `dtype`; the same object each time."""
    return Layout(width, dtype)


def masked_crc(data: bytes) -> int:
    """Return TFRecord's CRC-32C of `data`: rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int, width: int = 0) -> bytes:
    out = bytearray()
    while value > 0x7F or len(out) + 1 < width:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _entry(name: str, feature: bytes) -> bytes:
    """One entry of `Features.feature`: map<string, Feature>."""
    return _field(1, _field(1, name.encode()) + _field(2, feature))
