"""Export a SentencePiece model as the `tokenizer.json` of Hugging Face's `tokenizers`.

The file gives the ids of `Tokenizer.encode`. Pieces are spelled with real spaces instead of
SentencePiece's U+2581, so that U+2581 in a text is a character like any other and survives; and
where no piece spans two words the text is cut before each run of spaces first, which changes no
token and makes `tokenizers` fast. Needs `tokenizers` 0.20 or newer to read (merges as pairs).
"""

import itertools
import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from massivetext.dataset import atomic_file
from massivetext.errors import ConfigError

from .encode import ESCAPE, Tokenizer
from .merges import last_merges
from .model_file import ModelSpec, PieceType, parse, parse_pieces

# A run of spaces with what follows it up to the next space: `WordCache`'s words.
WORDS = " +[^ ]*|[^ ]+"
OUTER_SPACES = r"\A +| +\z"
INNER_SPACES = " {2,}"

Json = dict[str, Any]

# Pieces that stand for their own text.
_SPELLED = (PieceType.NORMAL, PieceType.USER_DEFINED)


@dataclass(frozen=True)
class _Piece:
    id: int
    text: str
    score: float
    type: PieceType


def export(model: Path | str, out: Path | str) -> list[str]:
    """Write the `tokenizer.json` of a model, atomically; return what differs from the model.

    Raises:
      ConfigError: it is not a SentencePiece model, or not one that this format can express.
    """
    path = Path(model)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"tokenizer model {path}: {error.strerror}") from error
    value, notes = to_json(content, str(path))
    with atomic_file(Path(out)) as file:
        file.write((json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())
    return notes


def to_json(content: bytes, path: str) -> tuple[Json, list[str]]:
    """As `export`, from the bytes of the model to the value that is written; `path` names it."""
    tokenizer = Tokenizer.load_bytes(content, path)
    spec = parse(content)
    pieces = _pieces(content, path)
    _check(spec, pieces, path)
    special = [piece for piece in pieces if piece.type in (PieceType.CONTROL, PieceType.UNKNOWN)]
    model = _bpe(pieces, spec, path) if spec.model_type == "bpe" else _unigram(pieces, spec)
    added = [*special, *(piece for piece in pieces if piece.type is PieceType.USER_DEFINED)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": piece.id,
                "content": piece.text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": piece.type is not PieceType.USER_DEFINED,
            }
            for piece in sorted(added, key=lambda piece: piece.id)
        ],
        "normalizer": _normalizer(spec, tokenizer.lossless),
        "pre_tokenizer": _pre_tokenizer(pieces),
        "post_processor": None,
        "decoder": _decoder(spec),
        "model": model,
    }, _notes(spec, pieces, special)


def _notes(spec: ModelSpec, pieces: list[_Piece], special: list[_Piece]) -> list[str]:
    """Return in which cases `tokenizers` gives other ids."""
    names = ", ".join(piece.text for piece in special)
    notes = [f"text that spells a special token ({names}) becomes it unless encode_special_tokens"]
    if spec.charsmap and spec.normalization == "nfkc":
        notes.append(
            "the NFKC of tokenizers orders and composes combining marks, and knows characters, "
            "where SentencePiece's table does not"
        )
    elif spec.charsmap:
        notes.append(
            "tokenizers looks only at the start of a grapheme in SentencePiece's table of "
            "characters, so combining marks may change or go"
        )
    if spec.model_type == "unigram":
        notes.append(
            "of two spellings with the same score either may be chosen, such as of three line feeds"
        )
        spelled = {c for piece in pieces if piece.type not in _SPELLED for c in piece.text}
        if missing := spelled - {piece.text for piece in pieces if piece.type in _SPELLED}:
            notes.append(
                "text that spells a special or byte piece becomes it, because these are not "
                f"pieces: {' '.join(sorted(missing))}"
            )
    return notes


def _refused(path: str, what: str) -> ConfigError:
    return ConfigError(f"{path} cannot be written as a tokenizer.json: {what}")


def _pieces(content: bytes, path: str) -> list[_Piece]:
    read = parse_pieces(content)
    pieces = []
    for place, text in enumerate(read.texts):
        type_ = PieceType(int(read.types[place]))
        name = text.decode()
        if type_ in _SPELLED:
            if " " in name:
                raise _refused(path, f"its piece {name!r} holds a space, so no text gives it")
            name = name.replace(ESCAPE, " ")
        pieces.append(_Piece(place, name, float(read.scores[place]), type_))
    return pieces


def _check(spec: ModelSpec, pieces: list[_Piece], path: str) -> None:
    symbols = [piece.text for piece in pieces if piece.type is PieceType.USER_DEFINED]
    if spec.model_type not in ("bpe", "unigram"):
        what = f"its type is {spec.model_type}; bpe and unigram can"
    elif spec.whitespace_as_suffix or not spec.escape_whitespaces:
        what = "it marks spaces at the end of words, or not at all"
    elif any(piece.type is PieceType.UNUSED for piece in pieces):
        what = "it has pieces that are marked unused"
    elif spec.dummy_prefix and symbols:
        what = "it adds a space before the text and has user-defined symbols"
    else:
        return
    raise _refused(path, what)


def _normalizer(spec: ModelSpec, lossless: bool) -> Json | None:
    steps: list[Json] = []
    if spec.charsmap and spec.normalization == "nfkc":
        steps.append({"type": "NFKC"})
    elif spec.charsmap:
        table = b64encode(spec.charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": table})
    if spec.remove_extra_whitespaces:
        steps.append(_replace({"Regex": OUTER_SPACES}, ""))
        steps.append(_replace({"Regex": INNER_SPACES}, " "))
    if spec.dummy_prefix:
        steps.append({"type": "Prepend", "prepend": " "})
    if not lossless:
        # SentencePiece takes U+2581 for a space; the encoder can undo that for lossless models.
        steps.append(_replace({"String": ESCAPE}, " "))
    if len(steps) < 2:
        return steps[0] if steps else None
    return {"type": "Sequence", "normalizers": steps}


def _replace(pattern: Json, content: str) -> Json:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _pre_tokenizer(pieces: list[_Piece]) -> Json | None:
    if any(" " in piece.text.lstrip(" ") for piece in pieces):
        return None
    return {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Isolated", "invert": False}


def _decoder(spec: ModelSpec) -> Json:
    steps: list[Json] = [{"type": "ByteFallback"}] if spec.byte_fallback else []
    steps.append({"type": "Fuse"})
    if spec.dummy_prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def _bpe(pieces: list[_Piece], spec: ModelSpec, path: str) -> Json:
    normal = [piece for piece in pieces if piece.type is PieceType.NORMAL]
    scores = {piece.text: piece.score for piece in normal}
    order = {text: rank for rank, text in enumerate(sorted(scores, key=lambda t: -scores[t]))}
    merges = last_merges(order, lambda left, right: order.get(left + right))
    for text, pair in merges.items():
        for part in pair:
            if part not in scores:
                raise _refused(path, f"{part!r} of its piece {text!r} is not a piece")
    ranked = sorted(merges, key=order.__getitem__)
    for first, second in itertools.pairwise(ranked):
        if scores[first] == scores[second]:
            what = f"its pieces {first!r} and {second!r} have equal scores; merges need an order"
            raise _refused(path, what)
    unknown = next(piece.text for piece in pieces if piece.type is PieceType.UNKNOWN)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": spec.byte_fallback,
        "ignore_merges": False,
        "vocab": {piece.text: piece.id for piece in pieces},
        "merges": [list(merges[text]) for text in ranked],
    }


def _unigram(pieces: list[_Piece], spec: ModelSpec) -> Json:
    """Return the model; pieces that no text may spell get a score below any other spelling."""
    lowest = min(piece.score for piece in pieces if piece.type in _SPELLED)
    longest = max(len(piece.text) for piece in pieces if piece.type not in _SPELLED)
    floor = lowest * longest - 1
    return {
        "type": "Unigram",
        "unk_id": next(piece.id for piece in pieces if piece.type is PieceType.UNKNOWN),
        "vocab": [
            [piece.text, piece.score if piece.type in _SPELLED else floor] for piece in pieces
        ],
        "byte_fallback": spec.byte_fallback,
    }
