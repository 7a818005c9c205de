"""What a SentencePiece model file says of itself, read from its bytes.

The processor API tells ids and pieces but not how the model segments or normalises, and the
package's generated `sentencepiece_model_pb2` needs a newer protobuf than Beam allows. A model file
is one protobuf message of known field numbers (`sentencepiece_model.proto`), so the few fields
needed here are read from the wire format directly.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

_MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}

# Field numbers of ModelProto, SentencePiece, TrainerSpec and NormalizerSpec.
_PIECE, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _WHITESPACE_AS_SUFFIX, _BYTE_FALLBACK = 3, 24, 35
_CHARSMAP_NAME, _CHARSMAP, _DUMMY_PREFIX, _EXTRA_WHITESPACES, _ESCAPE = 1, 2, 3, 4, 5


class PieceType(IntEnum):
    """What a piece stands for, as the proto definition numbers it."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class ModelSpec:
    """How a model segments and normalises; defaults are those of the proto definition.

    `charsmap` is the normalisation as SentencePiece compiled it, empty for none.
    """

    model_type: str = "unigram"
    byte_fallback: bool = False
    whitespace_as_suffix: bool = False
    normalization: str = ""
    charsmap: bytes = b""
    dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True

    @property
    def keeps_spaces(self) -> bool:
        """Whether each space of the normalised text comes back from decoding, and no other."""
        return self.escape_whitespaces and not (
            self.dummy_prefix or self.remove_extra_whitespaces or self.whitespace_as_suffix
        )


def is_json(content: bytes) -> bool:
    """Whether a file begins as JSON does, such as a tokenizer.json, and no protobuf message."""
    # A model may well begin with a line feed: the tag of its first piece.
    return re.match(rb'(\xef\xbb\xbf)?\s*\{\s*"', content) is not None


def parse(model: bytes) -> ModelSpec:
    """Return the `ModelSpec` of a serialised model.

    Raises:
      ValueError: the bytes are not a protobuf message, or a field has the wrong type.
    """
    if is_json(model):
        raise ValueError("it is JSON; first run: massivetext import-tokenizer TOKENIZER.JSON MODEL")
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for number, value in _fields(model):
        if number in (_TRAINER, _NORMALIZER):
            if not isinstance(value, bytes):
                raise ValueError(f"field {number} is not a message")
            (trainer if number == _TRAINER else normalizer).update(_fields(value))
    name = normalizer.get(_CHARSMAP_NAME, b"")
    charsmap = normalizer.get(_CHARSMAP, b"")
    return ModelSpec(
        model_type=_MODEL_TYPES.get(int(trainer.get(_MODEL_TYPE, 1)), "unknown"),
        byte_fallback=bool(trainer.get(_BYTE_FALLBACK, 0)),
        whitespace_as_suffix=bool(trainer.get(_WHITESPACE_AS_SUFFIX, 0)),
        normalization=name.decode() if isinstance(name, bytes) else "",
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",
        dummy_prefix=bool(normalizer.get(_DUMMY_PREFIX, 1)),
        remove_extra_whitespaces=bool(normalizer.get(_EXTRA_WHITESPACES, 1)),
        escape_whitespaces=bool(normalizer.get(_ESCAPE, 1)),
    )


@dataclass(frozen=True)
class Pieces:
    """The pieces of a model in the order of their ids.

    Attributes:
      texts: UTF-8, U+2581 for a space.
      scores: float32 [n].
      types: int8 [n], of `PieceType`.
    """

    texts: list[bytes]
    scores: np.ndarray
    types: np.ndarray


def parse_pieces(model: bytes) -> Pieces:
    """Return the `Pieces` of a serialised model.

    Raises:
      ValueError: the bytes are not a protobuf message, a field has the wrong type, or a piece is no
        UTF-8.
    """
    texts: list[bytes] = []
    scores: list[float] = []
    types: list[int] = []
    for number, value in _fields(model):
        if number != _PIECE:
            continue
        if not isinstance(value, bytes):
            raise ValueError(f"field {number} is not a message")
        piece = dict(_fields(value))
        text, score = piece.get(_TEXT, b""), piece.get(_SCORE, bytes(4))
        if not isinstance(text, bytes) or not isinstance(score, bytes) or len(score) != 4:
            raise ValueError(f"piece {len(texts)} has a field of the wrong type")
        text.decode()  # raises a ValueError
        texts.append(text)
        scores.append(struct.unpack("<f", score)[0])
        types.append(int(piece.get(_TYPE, PieceType.NORMAL)))
    return Pieces(texts, np.array(scores, np.float32), np.array(types, np.int8))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield `(field number, value)`: int for varints, bytes for everything else."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        wire = tag & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, position = _varint(message, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire} at byte {position}")
        if position + size > len(message):
            raise ValueError(f"field {tag >> 3} ends after the file")
        yield tag >> 3, message[position : position + size]
        position += size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(message) or shift > 63:
            raise ValueError(f"broken number at byte {position}")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
