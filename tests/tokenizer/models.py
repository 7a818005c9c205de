"""Tiny tokenizers, trained once per run on a text that never changes."""

import random
import struct
from collections.abc import Iterable
from functools import cache

from massivetext.presets import TOKENIZERS
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokenizer.model_file import PieceType
from massivetext.tokenizer.train import train_model

VOCAB_SIZE = 700
SYLLABLES = "ba ce di fo gu la me ni po ru sha tho wen zi kra ste pli".split()
PHRASES = ("of the", "in the", "to be", "it is", "at the end of the", "one of the")


@cache
def texts() -> tuple[str, ...]:
    """Return twelve texts of prose and code, always the same."""
    rng = random.Random(5)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(400)]

    def line() -> str:
        parts = [rng.choice(PHRASES if rng.random() < 0.4 else words) for _ in range(10)]
        return " ".join(parts).capitalize() + rng.choice([".", " (1984).", "!", ": 37, 208."])

    def code() -> str:
        name, value = rng.sample(words, 2)
        return (
            f"def {name}({value}):\n    if {value} > {rng.randint(0, 999)}:\n        return None\n"
        )

    return tuple(
        "\n".join(code() if rng.random() < 0.4 else line() for _ in range(60)) for _ in range(12)
    )


@cache
def model(preset: str, model_type: str = "bpe") -> bytes:
    return train_model(texts(), TOKENIZERS[preset], VOCAB_SIZE, model_type)[0]


@cache
def tokenizer(preset: str, model_type: str = "bpe") -> Tokenizer:
    return Tokenizer.load_bytes(model(preset, model_type), f"{preset}.model")


def plain(encoder: Tokenizer, text: str) -> list[int]:
    """Encode with SentencePiece alone, U+2581 as its three byte pieces."""
    processor = encoder._processor
    escape = [processor.piece_to_id(name) for name in ("<0xE2>", "<0x96>", "<0x81>")]
    ids: list[int] = []
    for i, part in enumerate(text.split("\u2581")):
        ids += escape * (i > 0) + processor.encode(part)
    return ids


def handmade(pieces: Iterable[tuple[str, float]], special: Iterable[PieceType] = ()) -> Tokenizer:
    """A BPE model of any pieces and scores, with byte fallback and no normalisation.

    Ids: 0 <unk>, 1 </s>, 2 to 257 bytes, then one piece of each type of `special`, then `pieces`.
    """
    rows = [("<unk>", 0.0, PieceType.UNKNOWN), ("</s>", 0.0, PieceType.CONTROL)]
    rows += [(f"<0x{byte:02X}>", 0.0, PieceType.BYTE) for byte in range(256)]
    rows += [(f"special{kind}", 0.0, kind) for kind in special]
    rows += [(text, score, PieceType.NORMAL) for text, score in pieces]
    message = b"".join(_field(1, _piece(*row)) for row in rows)
    message += _field(2, bytes([3 << 3, 2, 35 << 3 & 0x7F | 0x80, 2, 1]))  # BPE, byte_fallback
    message += _field(3, bytes([3 << 3, 0, 4 << 3, 0]))  # no dummy prefix, spaces kept
    return Tokenizer.load_bytes(message, "handmade.model")


def _piece(text: str, score: float, kind: PieceType) -> bytes:
    return _field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([3 << 3, kind])


def _field(number: int, content: bytes) -> bytes:
    size, head = len(content), bytearray([number << 3 | 2])
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*head, size]) + content
