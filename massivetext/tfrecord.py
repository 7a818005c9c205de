"""TFRecord files of fixed-width `tf.train.Example`s: record i lies at i * record_bytes, no index.

A record is framed as TensorFlow frames it: length (uint64), masked CRC-32C of the length, the
Example, masked CRC-32C of the Example; all little-endian. The Example has the features `epoch`,
`sequence`, `subset` (int64) and `tokens` (bytes: little-endian tokens), encoded by hand in the
order of their names. The integers are varints padded to `VARINT_BYTES`, which every protobuf parser
reads, so that all records of a file have one width and one layout: `docs/shards.md`.
"""

import struct
from functools import cache
from mmap import mmap
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

from .errors import InputError

VARINT_BYTES = 6
MAX_INTEGER = 2 ** (7 * VARINT_BYTES) - 1
CRC_RECORDS = 64

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


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
        for name in ("epoch", "sequence", "subset"):
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
        self.example_bytes = len(example)
        self.record_bytes = len(framed)
        self._frame = framed[:12]
        self.constant = np.frombuffer(framed[: self.offsets["tokens"]], np.uint8)
        self.dtype = np.dtype(
            {
                "names": ["head", "epoch", "sequence", "subset", "tokens", "crc"],
                "formats": [
                    (np.uint8, len(self.constant)),
                    *[(np.uint8, VARINT_BYTES)] * 3,
                    (self.tokens, width),
                    "<u4",
                ],
                "offsets": [
                    0,
                    *(self.offsets[name] for name in ("epoch", "sequence", "subset", "tokens")),
                    self.record_bytes - 4,
                ],
                "itemsize": self.record_bytes,
            }
        )
        self._example = np.dtype(
            {
                "names": ["example"],
                "formats": [f"V{self.example_bytes}"],
                "offsets": [12],
                "itemsize": self.record_bytes,
            }
        )
        # Bytes of the head that may differ between records: the integers.
        self._fixed = np.ones(len(self.constant), bool)
        for name in ("epoch", "sequence", "subset"):
            self._fixed[self.offsets[name] : self.offsets[name] + VARINT_BYTES] = False

    def encode(
        self,
        tokens: npt.NDArray[np.unsignedinteger],
        subset: npt.NDArray[np.integer],
        sequence: Integers,
        epoch: Integers,
    ) -> npt.NDArray[np.void]:
        """Return framed records, an array of `self.dtype` [n] whose bytes go to the file."""
        records = np.empty(len(tokens), self.dtype)
        records["head"] = self.constant
        for name, values in (("epoch", epoch), ("sequence", sequence), ("subset", subset)):
            records[name] = _padded_varints(np.asarray(values, np.int64))
        records["tokens"] = tokens
        records["crc"] = self._crcs(records)
        return records

    def decode(
        self, records: npt.NDArray[np.void], path: Path, first: int, check: bool
    ) -> tuple[npt.NDArray[np.unsignedinteger], Integers, Integers, Integers]:
        """Return (tokens, subset, sequence, epoch) of framed records, copied.

        Args:
          records: array of `self.dtype`, part of the file `path` from its record `first` on.
          check: compare the CRC of every record.

        Raises:
          InputError: a record is not of this layout or its CRC is wrong; names file, record and
            byte offset.
        """
        heads = records["head"]
        bad = (heads != self.constant)[:, self._fixed].any(axis=1)
        if bad.any():
            self._fail(path, first + int(bad.argmax()), "its frame or its keys are damaged")
        if check:
            bad = self._crcs(records) != records["crc"]
            if bad.any():
                self._fail(path, first + int(bad.argmax()), "its CRC-32C is wrong")
        return (
            records["tokens"].astype(self.tokens.newbyteorder("=")),
            _integers(records["subset"]),
            _integers(records["sequence"]),
            _integers(records["epoch"]),
        )

    def tokens_at(
        self, data: mmap, path: Path, record: int, check: bool
    ) -> npt.NDArray[np.unsignedinteger]:
        """Return a copy of the tokens of one record of the file `path`, mapped as `data`.

        Raises:
          InputError: as `decode`; without `check` nothing but the tokens is looked at.
        """
        start = record * self.record_bytes
        if check:
            if data[start : start + len(self._frame)] != self._frame:
                self._fail(path, record, "its frame is damaged")
            stored = int.from_bytes(
                data[start + self.record_bytes - 4 : start + self.record_bytes], "little"
            )
            if masked_crc(data[start + 12 : start + 12 + self.example_bytes]) != stored:
                self._fail(path, record, "its CRC-32C is wrong")
        found = np.frombuffer(data, self.tokens, self.width, start + self.offsets["tokens"])
        return found.astype(self.tokens.newbyteorder("="))

    def _fail(self, path: Path, record: int, what: str) -> None:
        offset = record * self.record_bytes
        raise InputError(
            f"{path}: record {record} at byte {offset:,} is corrupt: {what}; the file changed "
            "after it was written: delete it and run the stage again"
        )

    def _crcs(self, records: npt.NDArray[np.void]) -> npt.NDArray[np.uint32]:
        crc = np.empty(len(records), np.uint32)
        examples = records.view(self._example)["example"]
        for start in range(0, len(records), CRC_RECORDS):
            # The CRC takes nothing but `bytes`: some are made at a time.
            some = examples[start : start + CRC_RECORDS].tolist()
            crc[start : start + CRC_RECORDS] = list(map(google_crc32c.value, some))
        return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)


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


def _padded_varints(values: Integers) -> Bytes:
    if values.size and not 0 <= values.min() <= values.max() <= MAX_INTEGER:
        raise ValueError(f"an integer of a record is outside [0, {MAX_INTEGER}]")
    shifts = 7 * np.arange(VARINT_BYTES)
    out = ((values[:, None] >> shifts) & 0x7F).astype(np.uint8)
    out[:, :-1] |= 0x80
    return out


def _integers(varints: Bytes) -> Integers:
    shifts = 7 * np.arange(VARINT_BYTES)
    return ((varints & 0x7F).astype(np.int64) << shifts).sum(axis=1)
