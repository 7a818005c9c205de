"""Write a SentencePiece model file: the protobuf message that `model_file` reads.

Only what decides the tokens is written; fields of the training are left at their defaults.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from .model_file import ModelSpec, PieceType

_MODEL_TYPES = {"unigram": 1, "bpe": 2}

# Field numbers of ModelProto, SentencePiece, TrainerSpec and NormalizerSpec.
_PIECE, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _VOCAB_SIZE, _BYTE_FALLBACK = 3, 4, 35
_NAMES = {"unk": 45, "bos": 46, "eos": 47, "pad": 48}
_IDS = {"unk": 40, "bos": 41, "eos": 42, "pad": 43}
_CHARSMAP_NAME, _CHARSMAP, _DUMMY_PREFIX, _EXTRA_WHITESPACES, _ESCAPE = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Piece:
    """One piece: its text with U+2581 for a space, its score and what it stands for."""

    text: str
    score: float = 0.0
    type: PieceType = PieceType.NORMAL


def serialise(pieces: list[Piece], spec: ModelSpec, roles: Mapping[str, str]) -> bytes:
    """Return the bytes of a model whose ids are the places of `pieces`.

    Args:
      spec: of type `bpe` or `unigram`.
      roles: which piece is `unk`, `bos`, `eos` and `pad`; a missing one does not exist.
    """
    places = {piece.text: place for place, piece in enumerate(pieces)}
    out = []
    for piece in pieces:
        fields = _string(_TEXT, piece.text.encode()) + _float(_SCORE, piece.score)
        if piece.type is not PieceType.NORMAL:
            fields += _number(_TYPE, piece.type)
        out.append(_string(_PIECE, fields))
    trainer = _number(_MODEL_TYPE, _MODEL_TYPES[spec.model_type])
    trainer += _number(_VOCAB_SIZE, len(pieces)) + _number(_BYTE_FALLBACK, spec.byte_fallback)
    for role, number in _IDS.items():
        name = roles.get(role)
        trainer += _number(number, -1 if name is None else places[name])
    for role, number in _NAMES.items():
        if role in roles:
            trainer += _string(number, roles[role].encode())
    normalizer = _string(_CHARSMAP_NAME, spec.normalization.encode())
    normalizer += _string(_CHARSMAP, spec.charsmap)
    normalizer += _number(_DUMMY_PREFIX, spec.dummy_prefix)
    normalizer += _number(_EXTRA_WHITESPACES, spec.remove_extra_whitespaces)
    normalizer += _number(_ESCAPE, spec.escape_whitespaces)
    return b"".join(out) + _string(_TRAINER, trainer) + _string(_NORMALIZER, normalizer)


def _varint(value: int) -> bytes:
    value &= 2**64 - 1  # a negative number is written as its two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(int(value))


def _string(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)
