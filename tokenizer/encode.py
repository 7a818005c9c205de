"""Encode text with a SentencePiece model, without loss and whole Arrow columns at a time.

SentencePiece marks a space as U+2581, so that one character does not survive it; here it is taken
out of the text and put back as its three byte pieces. With a model of `train` every Unicode string
then comes back from decoding as it was (under NFKC: as its normal form).
"""

import itertools
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from massivetext.document import text_buffers
from massivetext.errors import ConfigError, InputError

from .cache import WordCache
from .model_file import ModelSpec, parse

ESCAPE = "\u2581"

# BPE slows down with length (a third of its speed at 7 MB), and its memory grows; a stretch longer
# than this without a boundary is cut, where no piece can span the cut if there is such a place.
MAX_CHUNK_CHARACTERS = 1 << 16


@dataclass(frozen=True)
class _Loaded:
    processor: Any
    spec: ModelSpec
    pieces: list[str]  # of every id; bytes and control pieces as ""
    sha256: str


class Tokenizer:
    """A SentencePiece model, ready to encode. Make one with `Tokenizer.load`.

    Attributes:
      vocab_size, eos_id, pad_id, unk_id: as the model has them. A model without padding pads with
        eos: whoever reads padded sequences knows the number of real tokens.
      sha256: of the model file.
      dtype: of tokens, little-endian; uint16 up to 65,536 pieces, else uint32.
      lossless: whether every Unicode string comes back from decoding (up to NFKC if the model
        normalises); `warnings` says why it does not.
    """

    def __init__(self, loaded: _Loaded):
        processor, self._spec = loaded.processor, loaded.spec
        self._processor = processor
        self.sha256 = loaded.sha256
        self.vocab_size: int = processor.get_piece_size()
        self.eos_id: int = processor.eos_id()
        self.unk_id: int = processor.unk_id()
        self.pad_id: int = processor.pad_id() if processor.pad_id() >= 0 else self.eos_id
        self.dtype = np.dtype("<u2" if self.vocab_size <= 1 << 16 else "<u4")
        self.warnings = tuple(_warnings(self._spec))
        self.lossless = not self.warnings
        self._escape = np.zeros(0, self.dtype)
        if self.lossless:
            ids = [processor.piece_to_id(f"<0x{byte:02X}>") for byte in ESCAPE.encode()]
            self._escape = np.array(ids, self.dtype)
        self._joined = {pair for piece in loaded.pieces for pair in itertools.pairwise(piece)}
        self._cache: WordCache | None = None
        if self.lossless and self._spec.model_type == "bpe" and _words_are_apart(loaded.pieces):
            self._cache = WordCache(self._encode_words, self._spec.charsmap, self.dtype)

    @classmethod
    def load(cls, path: Path | str) -> "Tokenizer":
        """Load a model file.

        Raises:
          ConfigError: it is missing, not a SentencePiece model, or has no end-of-sentence piece.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(f"tokenizer model {path}: {error.strerror}") from error
        return cls.load_bytes(content, str(path))

    @classmethod
    def load_bytes(cls, content: bytes, path: str) -> "Tokenizer":
        """As `load`, from the bytes of the file; `path` is its name in errors."""
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor()
        try:
            spec = parse(content)
            processor.load_from_serialized_proto(content)
        except (ValueError, RuntimeError) as error:
            raise ConfigError(
                f"{path} is not a whole SentencePiece model ({error}); train or copy it again"
            ) from error
        if processor.get_piece_size() == 0:
            raise ConfigError(f"{path} is not a SentencePiece model: it has no pieces")
        if processor.eos_id() < 0:
            raise ConfigError(
                f"{path} has no end-of-sentence piece, which closes every document; train the "
                "model with --eos_id"
            )
        pieces = [
            ""
            if processor.is_byte(i) or processor.is_control(i) or processor.is_unknown(i)
            else processor.id_to_piece(i)
            for i in range(processor.get_piece_size())
        ]
        return cls(_Loaded(processor, spec, pieces, sha256(content).hexdigest()))

    def encode(self, text: str) -> np.ndarray:
        """Return the tokens of `text`, `dtype` [n]; no eos is added.

        Raises:
          InputError: `text` holds a lone surrogate, so it is not Unicode text.
        """
        try:
            column = pa.array([text], pa.large_string())
        except UnicodeEncodeError as error:
            raise InputError(
                f"text holds a lone surrogate at character {error.start}, which is not Unicode "
                "text; decode the input again"
            ) from error
        return self.encode_batch(column)[0]

    def encode_batch(self, column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Encode every row of a (large_)string column without nulls.

        Returns:
          `(tokens, offsets)`: row i is `tokens[offsets[i]:offsets[i + 1]]`; `dtype` and int64.

        Raises:
          InputError: a row is not valid UTF-8.
        """
        try:
            if self._cache is not None:
                return self._cache.encode(*text_buffers(column))
            rows = [self._encode_whole(text) for text in column.to_pylist()]
        except UnicodeDecodeError as error:
            raise InputError(
                f"a text is not valid UTF-8 ({error}); read the input again"
            ) from error
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return np.concatenate([np.zeros(0, self.dtype), *rows]), offsets

    def decode(self, ids: np.ndarray) -> str:
        """Return the text of `ids`; control pieces such as eos and pad have none.

        Raises:
          InputError: an id is not in the vocabulary.
        """
        try:
            text: str = self._processor.decode(np.asarray(ids).tolist())
        except IndexError as error:
            raise InputError(
                f"a token is outside the vocabulary of {self.vocab_size}; was the text encoded "
                "with another tokenizer?"
            ) from error
        return text

    def _array(self, ids: list[int]) -> np.ndarray:
        return np.array(ids, self.dtype)

    def _encode_whole(self, text: str) -> np.ndarray:
        """As SentencePiece encodes `text` in one call, U+2581 put back where that is possible."""
        if not self.lossless or ESCAPE not in text:
            return self._array(self._processor.encode(text, num_threads=1))
        parts = [self._array(self._processor.encode(part)) for part in text.split(ESCAPE)]
        between = itertools.chain.from_iterable((self._escape, part) for part in parts[1:])
        return np.concatenate([parts[0], *between])

    def _encode_words(self, words: list[str]) -> list[np.ndarray]:
        """Encode words of `WordCache`: a word is U+2581 alone or does not hold it."""
        plain = ["" if _odd(word) else word for word in words]
        encoded = [self._array(ids) for ids in self._processor.encode(plain, num_threads=1)]
        for i, word in enumerate(words):
            if word == ESCAPE:
                encoded[i] = self._escape
            elif len(word) > MAX_CHUNK_CHARACTERS:
                encoded[i] = self._encode_long(word)
        return encoded

    def _encode_long(self, word: str) -> np.ndarray:
        if self._spec.charsmap:
            # The normal form is its own normal form, so chunks of it lose nothing.
            word = self._processor.normalize(word)
        word = word.replace(" ", ESCAPE)
        chunks = [chunk.replace(ESCAPE, " ") for chunk in self._chunks(word)]
        encoded = self._processor.encode(chunks, num_threads=1)
        return np.concatenate([self._array(ids) for ids in encoded])

    def _chunks(self, word: str) -> list[str]:
        """Cut `word`, as pieces spell it, into chunks of at most `MAX_CHUNK_CHARACTERS`.

        A cut is made at the last place where the two characters stand side by side in no piece:
        the tokens are those of the whole. Where a chunk has no such place it is cut at full length,
        which may change the tokens beside the cut; so it is the same on every machine.
        """
        chunks, start = [], 0
        while len(word) - start > MAX_CHUNK_CHARACTERS:
            end = start + MAX_CHUNK_CHARACTERS
            while end > start and (word[end - 1], word[end]) in self._joined:
                end -= 1
            end = end if end > start else start + MAX_CHUNK_CHARACTERS
            chunks.append(word[start:end])
            start = end
        return [*chunks, word[start:]]


def _odd(word: str) -> bool:
    return word == ESCAPE or len(word) > MAX_CHUNK_CHARACTERS


def _words_are_apart(pieces: list[str]) -> bool:
    """Whether no piece holds a space after another character, so that none spans two words."""
    return not any(ESCAPE in piece.lstrip(ESCAPE) or " " in piece for piece in pieces)


def _warnings(spec: ModelSpec) -> list[str]:
    found = []
    if not spec.byte_fallback:
        found.append("it has no byte fallback: characters it does not know become <unk>")
    if not spec.keeps_spaces:
        found.append("it adds, removes or merges spaces")
    if spec.charsmap and spec.normalization != "nfkc":
        found.append(f"it normalises text by the rule {spec.normalization or 'of its own'!r}")
    return found
