"""How well a tokenizer fits a corpus: what it spends by subset and language, what it never uses.

Bytes per token and tokens per word are what a model pays for its text; a high share of byte tokens
marks a script that the vocabulary does not hold; pieces that a sample never uses are rows of the
embedding that do not learn.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from massivetext.errors import ConfigError, InputError
from massivetext.progress import Progress

from .encode import ESCAPE, Tokenizer
from .huggingface_import import convert
from .model_file import PieceType, is_json, parse, parse_pieces
from .report_sample import Rejected, Sample, draw, find

BATCH_ROWS = 256
EXAMPLES = 12

_COUNTS = ("passages", "bytes", "words", "tokens", "byte_tokens", "unknown_tokens", "other_tokens")


@dataclass(frozen=True)
class Model:
    """A tokenizer, with what the report wants to know of its pieces.

    Attributes:
      texts: of every piece, UTF-8 with U+2581 for a space.
      learned: bool, of every piece: stands for its own text, so neither byte nor special.
      is_byte: bool, of every piece.
    """

    path: str
    tokenizer: Tokenizer
    content: bytes
    texts: list[bytes]
    learned: np.ndarray
    is_byte: np.ndarray

    @classmethod
    def load(cls, path: Path | str) -> "Model":
        """Load a SentencePiece model, or a tokenizer.json by converting it in memory.

        Raises:
          ConfigError: it is neither, or cannot be converted.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(f"tokenizer model {path}: {error.strerror}") from error
        if is_json(content):
            content = convert(content, str(path)).model
        tokenizer = Tokenizer.load_bytes(content, str(path))
        pieces = parse_pieces(content)
        spelled = (PieceType.NORMAL, PieceType.USER_DEFINED)
        return cls(
            str(path),
            tokenizer,
            content,
            pieces.texts,
            np.isin(pieces.types, spelled),
            pieces.types == PieceType.BYTE,
        )

    @property
    def vocabulary(self) -> set[bytes]:
        return {text for text, own in zip(self.texts, self.learned, strict=True) if own}


def report(
    model: Path | str,
    data: Sequence[str],
    against: Path | str | None = None,
    size: int = 4_000_000,
    seed: int = 1,
) -> dict[str, Any]:
    """Encode a sample of each subset of `data` and return what was found, as JSON.

    Args:
      model: a SentencePiece model or a tokenizer.json.
      data: output folders of builds, or files, globs and folders of JSONL, Parquet and text.
      against: another tokenizer to compare with.
      size: bytes of text drawn of each subset.

    Raises:
      ConfigError: a model or an entry of `data` cannot be used.
      InputError: there is no text.
    """
    if size < 1:
        raise ConfigError(f"--bytes is {size}; it must be at least 1")
    loaded = Model.load(model)
    other = None if against is None else Model.load(against)
    rejected = Rejected()
    parts = find(data, seed, rejected)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done = count

    with Progress("sample", sum(part.bytes for part in parts), lambda: done):
        samples = draw(parts, size, seed, advance)
    measured = _Measured(loaded, other)
    for name, sample in sorted(samples.items()):
        measured.add(name, sample.passages())
    if measured.total[_COUNTS.index("bytes")] == 0:
        raise InputError(f"{', '.join(data)} holds no text{_because(rejected)}")
    return measured.result(samples, size, seed, rejected)


def _because(rejected: Rejected) -> str:
    return f": {rejected.count} records could not be read, {rejected.error}" * bool(rejected.count)


class _Measured:
    """Counts of the passages seen so far, by subset, by language and of all."""

    def __init__(self, model: Model, other: Model | None):
        self.model, self.other = model, other
        self.subsets: dict[str, np.ndarray] = {}
        self.languages: dict[str, np.ndarray] = {}
        self.total = np.zeros(len(_COUNTS), np.int64)
        self.used = np.zeros(model.tokenizer.vocab_size, np.int64)
        self.characters: Counter[str] = Counter()
        self._normalize: Any = None
        if not parse(model.content).byte_fallback:
            import sentencepiece

            processor = sentencepiece.SentencePieceProcessor(model_proto=model.content)
            self._normalize = processor.normalize

    def add(self, subset: str, passages: pa.Table) -> None:
        totals = self.subsets.setdefault(subset, np.zeros(len(_COUNTS), np.int64))
        for batch in passages.to_batches(BATCH_ROWS):
            counts = self._count(batch.column("text"))
            totals += counts.sum(axis=0)
            self.total += counts.sum(axis=0)
            for row, language in enumerate(batch.column("language").to_pylist()):
                if language:
                    empty = np.zeros(len(_COUNTS), np.int64)
                    self.languages[language] = self.languages.get(language, empty) + counts[row]

    def _count(self, column: pa.Array) -> np.ndarray:
        """Return `_COUNTS` of each row, int64 [rows, len(_COUNTS)]."""
        tokenizer = self.model.tokenizer
        tokens, offsets = tokenizer.encode_batch(column)
        self.used += np.bincount(tokens, minlength=len(self.used))
        texts = column.to_pylist()
        if self._normalize is not None:
            for text in texts:
                self.characters.update(self._normalize(text))
        lengths = np.diff(offsets)
        others = np.zeros_like(lengths)
        if self.other is not None:
            others = np.diff(self.other.tokenizer.encode_batch(column)[1])
        rows = [
            np.ones_like(lengths),
            [len(text.encode()) for text in texts],
            [len(text.split()) for text in texts],
            lengths,
            _sums(self.model.is_byte[tokens], offsets),
            _sums(tokens == tokenizer.unk_id, offsets),
            others,
        ]
        return np.array(rows, np.int64).T

    def result(
        self, samples: dict[str, Sample], size: int, seed: int, rejected: Rejected
    ) -> dict[str, Any]:
        spec, tokenizer = parse(self.model.content), self.model.tokenizer
        groups = sorted(self.languages.items(), key=lambda item: (-item[1][1], item[0]))
        value: dict[str, Any] = {
            "model": {
                "path": self.model.path,
                "sha256": tokenizer.sha256,
                "type": spec.model_type,
                "pieces": tokenizer.vocab_size,
                "normalization": spec.normalization,
                "lossless": tokenizer.lossless,
                "warnings": list(tokenizer.warnings),
            },
            "sample": {
                "bytes_per_subset": size,
                "seed": seed,
                "drawn_from": {
                    name: {"documents": sample.seen_documents, "bytes": sample.seen_bytes}
                    for name, sample in sorted(samples.items())
                },
                "unreadable_records": rejected.count,
            },
            "all": self._ratios(self.total),
            "subsets": {name: self._ratios(row) for name, row in sorted(self.subsets.items())},
            "languages": {name: self._ratios(row) for name, row in groups},
            "vocabulary": self._vocabulary(),
        }
        if self._normalize is not None:
            value["lost"] = self._lost()
        if self.other is not None:
            value["against"] = self._against(self.other)
        return value

    def _ratios(self, row: np.ndarray) -> dict[str, Any]:
        counts = dict(zip(_COUNTS, row.tolist(), strict=True))
        other = counts.pop("other_tokens")
        tokens, words = max(1, counts["tokens"]), max(1, counts["words"])
        ratios = {
            "bytes_per_token": counts["bytes"] / tokens,
            "tokens_per_word": counts["tokens"] / words,
            "byte_share": counts["byte_tokens"] / tokens,
            "unknown_share": counts["unknown_tokens"] / tokens,
        }
        if self.other is not None:
            ratios["other_bytes_per_token"] = counts["bytes"] / max(1, other)
        return {**counts, **ratios}

    def _vocabulary(self) -> dict[str, Any]:
        learned = np.flatnonzero(self.model.learned)
        unused = learned[self.used[learned] == 0]
        names = {int(id_): _spelled(self.model.texts[id_]) for id_ in learned}
        longest = sorted(names.items(), key=lambda item: (-len(item[1]), item[0]))
        return {
            "learned": len(learned),
            "unused": len(unused),
            "unused_examples": [names[int(id_)] for id_ in unused[:EXAMPLES]],
            "longest": [name for _, name in longest[:EXAMPLES]],
        }

    def _lost(self) -> dict[str, Any]:
        """Return the characters of the sample that stand in no piece: they become `<unk>`."""
        known = {ESCAPE}.union(*(text.decode() for text in self.model.vocabulary))
        lost = {c: count for c, count in self.characters.items() if c not in known}
        ranked = sorted(lost, key=lambda c: (-lost[c], c))
        return {
            "characters": sum(lost.values()),
            "share": sum(lost.values()) / max(1, self.characters.total()),
            "distinct": len(lost),
            "examples": ranked[:EXAMPLES],
        }

    def _against(self, other: Model) -> dict[str, Any]:
        mine, theirs = self.model.vocabulary, other.vocabulary
        common = len(mine & theirs)
        return {
            "path": other.path,
            "sha256": other.tokenizer.sha256,
            "pieces": other.tokenizer.vocab_size,
            "common": common,
            "share_of_model": common / max(1, len(mine)),
            "share_of_other": common / max(1, len(theirs)),
        }


def _sums(mask: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(mask, dtype=np.int64)])
    return np.asarray(running[offsets[1:]] - running[offsets[:-1]])


def _spelled(text: bytes) -> str:
    return text.decode().replace(ESCAPE, " ")
