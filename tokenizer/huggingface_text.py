"""What a `tokenizer.json` does to text before and after its model, in SentencePiece's terms."""

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from massivetext.errors import ConfigError

from .encode import ESCAPE
from .huggingface import INNER_SPACES, OUTER_SPACES, WORDS
from .model_file import parse

Json = dict[str, Any]

_NORMALIZERS = "Prepend, Replace of spaces, Strip, NFKC, Precompiled"
_PRE_TOKENIZERS = "Metaspace, WhitespaceSplit before Metaspace, Split at spaces"
_DECODERS = "Replace of U+2581, ByteFallback, Fuse, Strip of one space, Metaspace"


@dataclass
class TextRules:
    """How text is normalised and cut.

    Attributes:
      escapes: pieces spell a space as U+2581, not as itself.
      splits_words: text is cut before every space, so that no piece spans one.
    """

    escapes: bool = False
    dummy_prefix: bool = False
    remove_extra_whitespaces: bool = False
    normalization: str = "identity"
    charsmap: bytes = b""
    splits_words: bool = False


def spell(text: str) -> str:
    """Return a piece of the file as SentencePiece spells it."""
    return text.replace(" ", ESCAPE)


def text_rules(value: Json, path: str) -> TextRules:
    """Return the rules of a `tokenizer.json`.

    Raises:
      ConfigError: a step of it cannot be expressed by SentencePiece; names it.
    """
    rules = TextRules()
    seen = _Seen()
    for step in _steps(value.get("normalizer"), "normalizers"):
        _normalizer(step, rules, seen, path)
    for step in _steps(value.get("pre_tokenizer"), "pretokenizers"):
        _pre_tokenizer(step, rules, seen, path)
    for step in _steps(value.get("decoder"), "decoders"):
        _decoder(step, path)
    _join_spaces(rules, seen, path)
    return rules


@dataclass
class _Seen:
    """Steps that mean something only together."""

    collapses: bool = False
    strips_left: bool = False
    strips_right: bool = False
    whitespace_split: bool = False
    prefix_if_missing: bool = False


def _steps(step: Json | None, children: str) -> Iterator[Json]:
    if step is None:
        return
    if step["type"] == "Sequence":
        for child in step[children]:
            yield from _steps(child, children)
    else:
        yield step


def _refuse(path: str, part: str, step: Json, supported: str) -> ConfigError:
    shown = {key: value for key, value in step.items() if key != "precompiled_charsmap"}
    return ConfigError(
        f"{path}: a SentencePiece model cannot express its {part} {shown} (it can: {supported}); "
        "a tokenizer that came from SentencePiece also has a .model file, which can be used as it "
        "is"
    )


def _normalizer(step: Json, rules: TextRules, seen: _Seen, path: str) -> None:
    kind = step["type"]
    if kind == "Prepend" and step["prepend"] in (ESCAPE, " "):
        rules.dummy_prefix = True
    elif kind == "Replace" and step["pattern"] == {"String": " "} and step["content"] == ESCAPE:
        rules.escapes = True
    elif kind == "Replace" and step["pattern"] == {"String": ESCAPE} and step["content"] == " ":
        pass  # what SentencePiece does by itself
    elif kind == "Replace" and step["pattern"] == {"Regex": INNER_SPACES}:
        if step["content"] not in (" ", ESCAPE):
            raise _refuse(path, "normalizer", step, _NORMALIZERS)
        seen.collapses = True
    elif kind == "Replace" and step == {
        "type": "Replace",
        "pattern": {"Regex": OUTER_SPACES},
        "content": "",
    }:
        seen.strips_left = seen.strips_right = True
    elif kind == "Strip":
        seen.strips_left |= bool(step["strip_left"])
        seen.strips_right |= bool(step["strip_right"])
    elif kind == "Precompiled":
        rules.charsmap, rules.normalization = b64decode(step["precompiled_charsmap"]), ""
    elif kind == "NFKC":
        rules.charsmap, rules.normalization = _nfkc(), "nfkc"
    else:
        raise _refuse(path, "normalizer", step, _NORMALIZERS)


def _nfkc() -> bytes:
    import sentencepiece

    normalizer = sentencepiece.SentencePieceNormalizer(rule_name="nfkc")
    return parse(normalizer.serialized_model_proto()).charsmap


def _pre_tokenizer(step: Json, rules: TextRules, seen: _Seen, path: str) -> None:
    kind = step["type"]
    if kind == "Metaspace" and step["replacement"] == ESCAPE:
        rules.escapes = True
        rules.splits_words |= bool(step.get("split", True))
        scheme = step.get("prepend_scheme")
        if scheme is None:
            scheme = "always" if step.get("add_prefix_space", True) else "never"
        seen.prefix_if_missing |= scheme != "never"
    elif kind == "WhitespaceSplit":
        seen.whitespace_split = True
    elif kind == "Split" and step["pattern"] == {"Regex": WORDS}:
        if step["behavior"] != "Isolated" or step.get("invert"):
            raise _refuse(path, "pre-tokenizer", step, _PRE_TOKENIZERS)
    elif kind == "Split" and step["pattern"] == {"String": " "} and rules.escapes:
        pass  # no space is left to split at
    else:
        raise _refuse(path, "pre-tokenizer", step, _PRE_TOKENIZERS)


def _decoder(step: Json, path: str) -> None:
    kind = step["type"]
    if kind in ("ByteFallback", "Fuse", "Metaspace"):
        return
    if kind == "Replace" and step["pattern"] == {"String": ESCAPE} and step["content"] == " ":
        return
    if kind == "Strip" and step["content"] == " " and step["start"] <= 1 and step["stop"] == 0:
        return
    raise _refuse(path, "decoder", step, _DECODERS)


def _join_spaces(rules: TextRules, seen: _Seen, path: str) -> None:
    """Decide whether spaces are removed as SentencePiece removes them, or kept.

    A prefix that is added only where the text does not begin with a space is SentencePiece's where
    such spaces are removed first.
    """
    whole = seen.collapses and seen.strips_right and (seen.strips_left or seen.prefix_if_missing)
    rules.remove_extra_whitespaces = whole or (seen.whitespace_split and seen.prefix_if_missing)
    part = seen.collapses or seen.strips_left or seen.strips_right or seen.whitespace_split
    if part and not rules.remove_extra_whitespaces:
        raise ConfigError(
            f"{path}: a SentencePiece model removes spaces at both ends of a text and repeated "
            "ones, or none; this tokenizer removes some of them"
        )
    if seen.prefix_if_missing and not rules.remove_extra_whitespaces:
        raise ConfigError(
            f"{path}: its Metaspace adds a space only to a text that does not begin with one; a "
            "SentencePiece model adds it always (normalizer Prepend) or never; a tokenizer that "
            "came from SentencePiece also has a .model file, which can be used as it is"
        )
    rules.dummy_prefix |= seen.prefix_if_missing
