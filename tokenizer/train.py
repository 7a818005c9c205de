"""Train a SentencePiece model on a sample of documents: the same sample, the same bytes.

Gopher and Chinchilla use SentencePiece with 32,000 pieces and byte-level back-off (Gopher, section
2.1; Chinchilla, section 4.1 and appendix G); PaLM 256,000, lossless, digits split (section 2.1).
What the papers leave open is settled here: BPE, white space kept as it is, no dummy prefix,
white-space-only pieces, ids pad 0, eos 1, unk 2, no bos.
"""

import importlib.metadata
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from massivetext.dataset import atomic_file
from massivetext.errors import ConfigError, InputError, StageError, nearest
from massivetext.presets import MODEL_TYPES, TokenizerPreset

from .trainer import TrainerKilledError, run

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2

# Code points below this share of the sample are left to byte fallback; SentencePiece's default.
CHARACTER_COVERAGE = 0.9995

# The trainer drops any sentence above 4,192 bytes; cut well below, so that none is.
MAX_SENTENCE_BYTES = 4096

# The number of threads is written into the model file, so it must not follow the machine.
THREADS = 4

# Code points that make the trainer drop a sentence (U+2585, its mark for unknown), complain (NUL)
# or learn them as a space (U+2581, its mark for a space). Text is cut around them.
_RESERVED = re.compile("[\0\u2581\u2585]+")


@dataclass(frozen=True)
class TrainingReport:
    """What a training saw and made.

    `samples` texts of `text_bytes` UTF-8 bytes were cut into `sentences`; `reserved_characters`
    code points were left out because SentencePiece cannot learn them (they encode as bytes).
    `seconds` and `peak_rss_bytes`, of the trainer's process, are not the same every time.
    """

    model_sha256: str
    model_bytes: int
    vocab_size: int
    model_type: str
    normalization: str
    split_digits: bool
    character_coverage: float
    samples: int
    text_bytes: int
    sentences: int
    sentence_bytes: int
    reserved_characters: int
    sentencepiece_version: str
    seconds: float
    peak_rss_bytes: int


class Watch(Protocol):
    """Told how far a training is: bytes of the sample read, and share of the pieces found."""

    def __call__(self, read: int, trained: float) -> None: ...


def train(
    samples: Iterable[str],
    preset: TokenizerPreset,
    vocab_size: int,
    out: Path,
    model_type: str = "bpe",
    watch: Watch | None = None,
    control_symbols: Sequence[str] = (),
) -> TrainingReport:
    """Train on `samples` and write the model file `out`, atomically.

    SentencePiece runs in a process of its own. Its memory grows with the sample: some 4 to 13 bytes
    for each byte of it under BPE.

    Args:
      control_symbols: pieces that no text gives, not even one that spells them. Their ids follow
        `UNK_ID`, and `vocab_size` counts them.

    Raises:
      ConfigError: no text, or `vocab_size` is too large or too small for it; says what would fit.
      InputError: a sample holds a lone surrogate.
      StageError: the trainer was killed, for want of memory most likely.
    """
    model, report = train_model(samples, preset, vocab_size, model_type, watch, control_symbols)
    with atomic_file(out) as file:
        file.write(model)
    return report


def train_model(
    samples: Iterable[str],
    preset: TokenizerPreset,
    vocab_size: int,
    model_type: str = "bpe",
    watch: Watch | None = None,
    control_symbols: Sequence[str] = (),
) -> tuple[bytes, TrainingReport]:
    """As `train`, but return the bytes of the model."""
    if model_type not in MODEL_TYPES:
        raise ConfigError(f"model type {model_type!r} is unknown{nearest(model_type, MODEL_TYPES)}")
    sentences = _Sentences(samples)
    settings = {**_settings(preset), "vocab_size": vocab_size, "model_type": model_type}
    if control_symbols:
        settings["control_symbols"] = list(control_symbols)
    started = time.monotonic()
    tell = None if watch is None else lambda share: watch(sentences.text_bytes, share)
    try:
        content, last = run(sentences, settings, tell)
    except TrainerKilledError as error:
        raise StageError(
            f"SentencePiece's trainer {error}, most likely for want of memory: "
            f"{sentences.sentence_bytes} bytes of text need up to 13 times as much; set "
            "tokenizer.sample_bytes lower"
        ) from error
    if "error" in last:
        raise _explain(last["error"], vocab_size, sentences)
    return content, TrainingReport(
        model_sha256=sha256(content).hexdigest(),
        model_bytes=len(content),
        vocab_size=vocab_size,
        model_type=model_type,
        normalization=preset.normalization,
        split_digits=preset.split_digits,
        character_coverage=CHARACTER_COVERAGE,
        samples=sentences.samples,
        text_bytes=sentences.text_bytes,
        sentences=sentences.count,
        sentence_bytes=sentences.sentence_bytes,
        reserved_characters=sentences.reserved,
        sentencepiece_version=importlib.metadata.version("sentencepiece"),
        seconds=time.monotonic() - started,
        peak_rss_bytes=last["peak_rss_bytes"],
    )


def _settings(preset: TokenizerPreset) -> dict[str, Any]:
    return {
        "normalization_rule_name": preset.normalization,
        "split_digits": preset.split_digits,
        "byte_fallback": True,
        "character_coverage": CHARACTER_COVERAGE,
        # Lossless: spaces are text, wherever they stand and however many, and there is a piece for
        # them even when the sample has none.
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
        "allow_whitespace_only_pieces": True,
        "required_chars": "\u2581",
        "pad_id": PAD_ID,
        "pad_piece": "<pad>",
        "eos_id": EOS_ID,
        "eos_piece": "</s>",
        "unk_id": UNK_ID,
        "unk_piece": "<unk>",
        "bos_id": -1,
        "num_threads": THREADS,
    }


def _explain(message: str, vocab_size: int, sentences: "_Sentences") -> Exception:
    """Return the error that tells a person what to change."""
    if sentences.count == 0 or "!sentences_.empty()" in message:
        return ConfigError(
            f"the tokenizer has no text to train on: {sentences.samples} sampled documents, all "
            "empty or white space; check the subsets, their weights and tokenizer.sample_bytes"
        )
    if match := re.search(r"Vocabulary size too high.*value <= (\d+)", message):
        return ConfigError(
            f"vocab_size {vocab_size} is too large for {sentences.sentence_bytes} bytes of text; "
            f"set tokenizer.vocab_size to at most {match[1]}, or give more text"
        )
    if match := re.search(r"smaller than required_chars\. (\d+) vs (\d+)", message):
        return ConfigError(
            f"vocab_size {vocab_size} is too small: bytes and the characters of this text alone "
            f"need {match[2]}; set tokenizer.vocab_size above that"
        )
    return StageError(f"SentencePiece could not train: {message}")


class _Sentences:
    """Iterates over the training sentences (UTF-8) of `samples`, counting as it goes."""

    def __init__(self, samples: Iterable[str]):
        self._samples = samples
        self.samples = self.text_bytes = self.count = self.sentence_bytes = self.reserved = 0

    def __iter__(self) -> Iterator[bytes]:
        for text in self._samples:
            yield from self._of(text)

    def _of(self, text: str) -> Iterator[bytes]:
        try:
            self.text_bytes += len(text.encode())
        except UnicodeEncodeError as error:
            raise InputError(
                f"training sample {self.samples + 1} holds a lone surrogate at character "
                f"{error.start}, which is not Unicode text; decode the input again"
            ) from error
        self.samples += 1
        kept = _RESERVED.split(text)
        self.reserved += len(text) - sum(map(len, kept))
        for part in kept:
            for sentence in cut(part.encode()):
                self.count += 1
                self.sentence_bytes += len(sentence)
                yield sentence


def cut(text: bytes, limit: int = MAX_SENTENCE_BYTES) -> Iterator[bytes]:
    """Yield consecutive pieces of the UTF-8 `text`, each of 1 to `limit` bytes; none is left out.

    Cut before the last newline that fits (SentencePiece strips newlines at the end of a sentence,
    not at its start), else before the last space, else between two code points.
    """
    start = 0
    while len(text) - start > limit:
        end = text.rfind(b"\n", start + 1, start + limit)
        if end < 0:
            end = text.rfind(b" ", start + 1, start + limit)
        if end < 0:
            end = start + limit
            while text[end] & 0xC0 == 0x80:
                end -= 1
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]
