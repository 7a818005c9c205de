"""Tiny tokenizers, trained once per run on text that stands in this repository."""

from functools import cache
from pathlib import Path

from massivetext.presets import TOKENIZERS
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokenizer.train import train_model

VOCAB_SIZE = 700
FOLDER = Path(__file__).parents[2] / "massivetext"


@cache
def texts() -> tuple[str, ...]:
    return tuple(path.read_text() for path in sorted(FOLDER.glob("[c-e]*.py")))


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
