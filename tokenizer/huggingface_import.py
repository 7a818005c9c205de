"""Turn a `tokenizer.json` of Hugging Face's `tokenizers` into a SentencePiece model.

Byte-pair models with byte fallback (Llama, Mistral, Gemma) and unigram models (T5, XLM-R) say in
another form what a SentencePiece model says. What has no such form is refused by its name:
byte-level BPE (GPT-2, Llama 3, Qwen), WordPiece, other normalisers and pre-tokenizers.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from massivetext.errors import ConfigError, nearest

from .encode import ESCAPE
from .huggingface_text import TextRules, spell, text_rules
from .merges import last_merges
from .model_file import ModelSpec, PieceType
from .model_writer import Piece, serialise

Json = dict[str, Any]

SHOWN = 30  # special tokens named in an error

# What the special tokens are for is not in the file; these are the names in use.
ROLES = {
    "bos": ("<s>", "<bos>", "[BOS]", "<|begin_of_text|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "<|endoftext|>", "<|end_of_text|>"),
    "pad": ("<pad>", "[PAD]", "<|pad|>"),
}


@dataclass(frozen=True)
class Converted:
    """A `tokenizer.json` as a SentencePiece model.

    Attributes:
      model: the bytes of the model file.
      merges: rank of every pair, of BPE; spelled as the pieces of the model are.
      unreachable: pieces of BPE that no text gives, because no merges lead to them.
    """

    model: bytes
    spec: ModelSpec
    pieces: list[Piece]
    roles: dict[str, str]
    merges: dict[tuple[str, str], int]
    unreachable: int


def convert(content: bytes, path: str, eos: str | None = None) -> Converted:
    """Return the SentencePiece model of the bytes of a tokenizer.json.

    Args:
      path: the name of the file in errors.
      eos: the special token that closes a document; needed where it has none of the usual names.

    Raises:
      ConfigError: it is not a tokenizer.json, or SentencePiece cannot express it; says which part.
    """
    try:
        value = json.loads(content)
        model = value["model"]
        kind = model.get("type") or ("BPE" if "merges" in model else "Unigram")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not a tokenizer.json: {error!r}") from error
    if kind not in ("BPE", "Unigram"):
        raise ConfigError(_refused(path, f"the model {kind}", "BPE and Unigram"))
    try:
        return _convert(value, model, kind, path, eos)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ConfigError(f"{path} is not a whole tokenizer.json: {error!r}") from error


def _refused(path: str, what: str, supported: str) -> str:
    return (
        f"{path}: a SentencePiece model cannot express {what} (it can: {supported}); a tokenizer "
        "that came from SentencePiece also has a .model file, which can be used as it is"
    )


def _convert(value: Json, model: Json, kind: str, path: str, eos: str | None) -> Converted:
    rules = text_rules(value, path)
    _check_model(model, kind, rules, path)
    texts, scores = _vocabulary(value, model, kind, rules, path)
    fallback = bool(model.get("byte_fallback"))
    types = _types(value, model, kind, texts, rules, path)
    if fallback:
        _mark_bytes(texts, types, path)
    merges: dict[tuple[str, str], int] = {}
    unreachable = 0
    if kind == "BPE":
        merges = {pair: rank for rank, pair in enumerate(_merges(model))}
        unreachable = _score_merges(texts, types, scores, merges)
    _check_words(texts, types, rules, path)
    pieces = [Piece(*row) for row in zip(texts, scores, types, strict=True)]
    spec = ModelSpec(
        model_type=kind.lower(),
        byte_fallback=fallback,
        normalization=rules.normalization,
        charsmap=rules.charsmap,
        dummy_prefix=rules.dummy_prefix,
        remove_extra_whitespaces=rules.remove_extra_whitespaces,
    )
    roles = _roles(pieces, path, eos)
    content = serialise(pieces, spec, roles)
    return Converted(content, spec, pieces, roles, merges, unreachable)


def _check_model(model: Json, kind: str, rules: TextRules, path: str) -> None:
    if kind == "Unigram":
        if model.get("unk_id") is None:
            raise ConfigError(_refused(path, "a model without an unknown token", "one with unk_id"))
        return
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(key):
            raise ConfigError(_refused(path, f"{key} {model[key]!r} of BPE", "none"))
    if model.get("unk_token") is None:
        raise ConfigError(_refused(path, "a model without an unknown token", "one with unk_token"))
    if not model.get("byte_fallback") and not model.get("fuse_unk"):
        raise ConfigError(_refused(path, "an unknown token for each character", "fuse_unk"))


def _vocabulary(
    value: Json, model: Json, kind: str, rules: TextRules, path: str
) -> tuple[list[str], list[float]]:
    """Return text and score of every id, spelled with U+2581 for a space."""
    if kind == "BPE":
        by_id = {int(place): text for text, place in model["vocab"].items()}
        scores = dict.fromkeys(by_id, 0.0)
    else:
        by_id = {place: text for place, (text, _) in enumerate(model["vocab"])}
        scores = {place: float(score) for place, (_, score) in enumerate(model["vocab"])}
    special = set()
    for token in value.get("added_tokens") or ():
        place = int(token["id"])
        by_id[place] = token["content"]
        scores.setdefault(place, 0.0)
        if token.get("special"):
            special.add(place)
    size = len(by_id)
    missing = next((place for place in range(size) if place not in by_id), None)
    if missing is not None:
        raise ConfigError(_refused(path, f"a vocabulary without the id {missing}", "ids 0 to n"))
    for place, text in by_id.items():
        if ESCAPE in text and not rules.escapes and place not in special:
            what = f"the piece {text!r} of a tokenizer that does not spell spaces as U+2581"
            raise ConfigError(_refused(path, what, "U+2581 for a space only"))
    texts = [by_id[i] if i in special else spell(by_id[i]) for i in range(size)]
    if len(set(texts)) < size:
        twice = Counter(texts).most_common(1)[0][0]
        raise ConfigError(_refused(path, f"two pieces {twice!r}", "each once"))
    return texts, [scores[place] for place in range(size)]


def _types(
    value: Json, model: Json, kind: str, texts: list[str], rules: TextRules, path: str
) -> list[PieceType]:
    types = [PieceType.NORMAL] * len(texts)
    for token in value.get("added_tokens") or ():
        place = int(token["id"])
        if token.get("special"):
            types[place] = PieceType.CONTROL
            continue
        if rules.escapes and ESCAPE in token["content"]:
            continue  # spelled with the mark for a space, it is found by its merges, not in a text
        for flag in ("single_word", "lstrip", "rstrip"):
            if token.get(flag):
                what = f"{flag} of the added token {token['content']!r}"
                raise ConfigError(_refused(path, what, "added tokens found as they are"))
        if rules.dummy_prefix:
            what = f"a space before the text together with the added token {token['content']!r}"
            raise ConfigError(_refused(path, what, "special tokens"))
        types[place] = PieceType.USER_DEFINED
    unknown = model["unk_id"] if kind == "Unigram" else texts.index(model["unk_token"])
    types[unknown] = PieceType.UNKNOWN
    return types


def _mark_bytes(texts: list[str], types: list[PieceType], path: str) -> None:
    places = {text: place for place, text in enumerate(texts)}
    for byte in range(256):
        name = f"<0x{byte:02X}>"
        if name not in places:
            raise ConfigError(_refused(path, f"byte fallback without {name}", "all 256 bytes"))
        types[places[name]] = PieceType.BYTE


def _merges(model: Json) -> Iterator[tuple[str, str]]:
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        yield spell(left), spell(right)


def _score_merges(
    texts: list[str],
    types: list[PieceType],
    scores: list[float],
    merges: dict[tuple[str, str], int],
) -> int:
    """Score each piece by the rank of its last merge; return how many have none.

    SentencePiece merges any two neighbours that spell a piece, so a piece that no merges lead to
    must not be found by its text: it becomes a control piece, which has an id and no text.
    """
    normal = [
        place
        for place, text in enumerate(texts)
        if types[place] is PieceType.NORMAL and len(text) > 1
    ]
    last = last_merges((texts[place] for place in normal), lambda a, b: merges.get((a, b)))
    unreachable = 0
    for place in normal:
        pair = last.get(texts[place])
        if pair is None:
            types[place] = PieceType.CONTROL
            unreachable += 1
        else:
            scores[place] = -float(merges[pair])
    return unreachable


def _check_words(texts: list[str], types: list[PieceType], rules: TextRules, path: str) -> None:
    if not rules.splits_words:
        return
    for text, type_ in zip(texts, types, strict=True):
        if type_ is PieceType.NORMAL and ESCAPE in text[1:]:
            what = f"the piece {text!r}, which its own pre-tokenizer would cut"
            raise ConfigError(_refused(path, what, "Metaspace with split false"))


def _roles(pieces: list[Piece], path: str, eos: str | None) -> dict[str, str]:
    control = [piece.text for piece in pieces if piece.type is PieceType.CONTROL]
    unknown = next(piece.text for piece in pieces if piece.type is PieceType.UNKNOWN)
    roles = {"unk": unknown}
    for role, names in ROLES.items():
        if name := next((name for name in names if name in control), None):
            roles[role] = name
    if eos is not None:
        if eos not in control:
            raise ConfigError(f"{path} has no special token {eos!r}{nearest(eos, control[:SHOWN])}")
        roles["eos"] = eos
    if "eos" not in roles:
        raise ConfigError(
            f"{path} does not say which special token closes a document; name it with --eos of "
            f"import-tokenizer, one of: {', '.join(control[:SHOWN]) or 'none'}"
        )
    return roles
