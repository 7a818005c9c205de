"""Encode text with a SentencePiece model, without loss and whole Arrow columns at a time.

SentencePiece marks a space as U+2581, so that one character does not survive it; here it is taken
out of the text and put back as its three byte pieces. With a model of `train` every Unicode string
then comes back from decoding as it was (under NFKC: as its normal form).

BPE models with byte fallback are encoded by compiled code of our own, which gives SentencePiece's
tokens (`compiled`); all others by SentencePiece.
"""

import functools
import itertools
import re
import threading
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from massivetext.document import text_buffers
from massivetext.errors import ConfigError, InputError
from massivetext.storage import Location, location, read_bytes

from .model_file import ModelSpec, Pieces, parse, parse_pieces

if TYPE_CHECKING:
    from .compiled import CompiledBpe

ESCAPE = "\u2581"
REPLACEMENT = "\ufffd"

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class _Loaded:
    processor: Any
    spec: ModelSpec
    pieces: Pieces
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
      replaced_surrogates: how many lone surrogates `encode` has met.
    """

    def __init__(self, loaded: _Loaded):
        processor, self._spec, self._pieces = loaded.processor, loaded.spec, loaded.pieces
        self._processor = processor
        self.sha256 = loaded.sha256
        self.vocab_size: int = processor.get_piece_size()
        self.eos_id: int = processor.eos_id()
        self.unk_id: int = processor.unk_id()
        self.pad_id: int = processor.pad_id() if processor.pad_id() >= 0 else self.eos_id
        self.dtype = np.dtype("<u2" if self.vocab_size <= 1 << 16 else "<u4")
        self.warnings = tuple(_warnings(self._spec, self._pieces))
        self.lossless = not self.warnings
        self.replaced_surrogates = 0
        self._escape = np.zeros(0, self.dtype)
        if self.lossless:
            ids = [processor.piece_to_id(f"<0x{byte:02X}>") for byte in ESCAPE.encode()]
            self._escape = np.array(ids, self.dtype)
        self._lock = threading.Lock()

    @functools.cached_property
    def _compiled(self) -> "CompiledBpe | None":
        """The compiled encoder, made at the first use; None where SentencePiece has to encode."""
        # Imports numba, which decoding alone does not need.
        from .compiled import CompiledBpe

        return CompiledBpe.make(self._spec, self._pieces, carries_mark=self.lossless)

    @property
    def keeps_spaces(self) -> bool:
        """Whether spaces come back as they are, so that texts encoded apart join again."""
        return self._spec.keeps_spaces

    def control_id(self, name: str) -> int | None:
        """Return the id of a control piece, which no text gives, or None if there is none."""
        token: int = self._processor.piece_to_id(name)
        found = self._processor.id_to_piece(token) == name and self._processor.is_control(token)
        return token if found else None

    @classmethod
    def load(cls, path: Location | str) -> "Tokenizer":
        """Load a model file.

        Raises:
          ConfigError: it is missing, not a SentencePiece model, or has no end-of-sentence piece.
        """
        try:
            content = read_bytes(location(path))
        except OSError as error:
            raise ConfigError(f"tokenizer model {path}: {error.strerror}") from error
        return cls.load_bytes(content, str(path))

    @classmethod
    def load_bytes(cls, content: bytes, path: str) -> "Tokenizer":
        """As `load`, from the bytes of the file; `path` is its name in errors."""
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor()
        try:
            spec, pieces = parse(content), parse_pieces(content)
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
        return cls(_Loaded(processor, spec, pieces, sha256(content).hexdigest()))

    def encode(self, text: str) -> np.ndarray:
        """Return the tokens of `text`, `dtype` [n]; no eos is added.

        Two surrogates that make a pair are read as the character they mean; a lone one, which is no
        Unicode text, becomes U+FFFD and is counted in `replaced_surrogates`.
        """
        try:
            column = pa.array([text], pa.large_string())
        except UnicodeEncodeError:
            paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
            text, replaced = _SURROGATE.subn(REPLACEMENT, paired)
            self.replaced_surrogates += replaced
            column = pa.array([text], pa.large_string())
        return self.encode_batch(column)[0]

    def encode_batch(self, column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Encode every row of a (large_)string column without nulls. Threads may call it at once.

        Returns:
          `(tokens, offsets)`: row i is `tokens[offsets[i]:offsets[i + 1]]`; `dtype` and int64.

        Raises:
          InputError: a row is not valid UTF-8.
        """
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"a text is not valid UTF-8 ({error}); read the input again"
            ) from error
        if self._compiled is not None:
            with self._lock:
                tokens, offsets = self._compiled.encode(*text_buffers(column))
            return tokens.astype(self.dtype), offsets
        rows = [self._encode_whole(text) for text in column.to_pylist()]
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


def _warnings(spec: ModelSpec, pieces: Pieces) -> list[str]:
    found = []
    if not spec.byte_fallback:
        known = {text for text in map(bytes.decode, pieces.texts) if len(text) == 1}
        found.append(
            "it has no byte fallback: characters it does not know become <unk> "
            f"(it knows {len(known):,})"
        )
    if not spec.keeps_spaces:
        found.append("it adds, removes or merges spaces")
    elif ESCAPE.encode() not in pieces.texts:
        found.append("it has no piece for a space: spaces come back as U+2581")
    if spec.charsmap and spec.normalization != "nfkc":
        found.append(f"it normalises text by the rule {spec.normalization or 'of its own'!r}")
    return found
