"""Compare a converted tokenizer with its `tokenizer.json` on sample texts.

With the package `tokenizers` its ids are the truth. Without it, BPE is run here, from the merges of
the file; unigram models are then not compared.
"""

import importlib.util
import math
import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from massivetext.dataset import atomic_file
from massivetext.errors import ConfigError

from .encode import ESCAPE
from .huggingface_import import Converted, convert
from .merges import join
from .model_file import PieceType

SAMPLES = (
    "",
    " ",
    "a",
    "The origin of species, 1859: chapters 1-15 (6th ed.).",
    " leading, trailing ",
    "two  spaces,   three,    four\n\n\n        eight\ttab\r\n",
    "def f(x):\n    return {x: 'ü' * 12_345}  # naïve\n",
    "Übergrößenträger, Ærøskøbing, Šiauliai, İstanbul",
    "Происхождение видов; η καταγωγή των ειδών",
    "自然选择是进化的机制。進化は自然選択による。자연 선택",
    "أصل الأنواع, מוצא המינים, प्रजातियों की उत्पत्ति",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 👩\u200d🔬 🇫🇷 ∑ ≤ ½ ™",
    "https://example.org/a?b=c&d=%20#e <p>text</p> foo_bar::baz",
)
LINES = 200
_SEED = 1


@dataclass(frozen=True)
class Comparison:
    """`texts` compared `by` the package tokenizers or our own merging; by "" if not at all."""

    texts: int
    by: str


def convert_checked(
    source: Path | str, out: Path | str, eos: str | None = None
) -> tuple[Converted, Comparison]:
    """Convert the tokenizer.json `source`, compare, and write the model `out` atomically.

    Args:
      eos: the special token that closes a document; needed where it has none of the usual names.

    Raises:
      ConfigError: the file cannot be read or expressed by SentencePiece, or its tokens differ.
    """
    try:
        content = Path(source).read_bytes()
    except OSError as error:
        raise ConfigError(f"tokenizer {source}: {error.strerror}") from error
    converted = convert(content, str(source), eos)
    comparison = compare(content, converted, str(source))
    with atomic_file(Path(out)) as file:
        file.write(converted.model)
    return converted, comparison


def compare(content: bytes, converted: Converted, path: str) -> Comparison:
    """Encode samples with the model and as the tokenizer.json says.

    Raises:
      ConfigError: the ids differ; names the text.
    """
    import sentencepiece

    by, expected = _truth(content, converted)
    if expected is None:
        return Comparison(0, "")
    processor = sentencepiece.SentencePieceProcessor(model_proto=converted.model)
    texts = [*SAMPLES, *_lines(converted)]
    for text in texts:
        wanted, found = expected(text), processor.encode(text)
        if wanted != found and not _tie(converted, wanted, found):
            place = next(
                (i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b),
                min(len(wanted), len(found)),
            )
            raise ConfigError(
                f"{path} could not be converted: its tokens of {text!r} are {wanted[place:][:5]} "
                f"from token {place} on, those of the SentencePiece model {found[place:][:5]}"
            )
    return Comparison(len(texts), by)


def _tie(converted: Converted, first: list[int], second: list[int]) -> bool:
    """Whether both are spellings that a unigram model holds for equally likely.

    Rounding decides between them, and SentencePiece and tokenizers round differently.
    """
    if converted.spec.model_type != "unigram":
        return False
    totals = [math.fsum(converted.pieces[id_].score for id_ in ids) for ids in (first, second)]
    return math.isclose(*totals, rel_tol=1e-5)


def _lines(converted: Converted) -> list[str]:
    """Return texts made of the model's own pieces, which reach more of them than prose does."""
    rng = random.Random(_SEED)  # noqa: S311 - the same texts every time
    plain = [
        piece.text.replace(ESCAPE, " ")
        for piece in converted.pieces
        if piece.type in (PieceType.NORMAL, PieceType.USER_DEFINED)
        # Graphemes that pieces form by chance are no text; libraries normalise them differently.
        and not any(unicodedata.category(c).startswith(("M", "C")) for c in piece.text)
    ]
    return (
        ["".join(rng.choices(plain, k=rng.randint(1, 30))) for _ in range(LINES)] if plain else []
    )


def _truth(content: bytes, converted: Converted) -> tuple[str, Callable[[str], list[int]] | None]:
    if importlib.util.find_spec("tokenizers") is not None:
        import tokenizers

        tokenizer = tokenizers.Tokenizer.from_str(content.decode())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True

        def encode(text: str) -> list[int]:
            return list(tokenizer.encode(text, add_special_tokens=False).ids)

        return f"tokenizers {tokenizers.__version__}", encode
    spec = converted.spec
    symbols = any(piece.type is PieceType.USER_DEFINED for piece in converted.pieces)
    if spec.model_type != "bpe" or not spec.byte_fallback or spec.charsmap or symbols:
        return "", None
    return "its merges", _Merging(converted).encode


class _Merging:
    """BPE with byte fallback, straight from the merges."""

    def __init__(self, converted: Converted):
        self._spec, self._merges = converted.spec, converted.merges
        self._ids = {piece.text: place for place, piece in enumerate(converted.pieces)}

    def encode(self, text: str) -> list[int]:
        if self._spec.remove_extra_whitespaces:
            text = " ".join(word for word in text.split(" ") if word)
        if self._spec.dummy_prefix and text:
            text = " " + text
        symbols, _ = join(text.replace(" ", ESCAPE), lambda a, b: self._merges.get((a, b)))
        ids = []
        for symbol in symbols:
            if symbol in self._ids:
                ids.append(self._ids[symbol])
            else:
                ids += [self._ids[f"<0x{byte:02X}>"] for byte in symbol.encode()]
        return ids
