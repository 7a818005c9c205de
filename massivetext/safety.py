"""Safety: a fastText classifier, C4's kind of word list, or both.

Gopher used a classifier that is not public and preferred it to word lists, which also hit harmless
text and text about minorities (Rae et al. 2021, A.1.1); a list is therefore an option of the config.
"""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from .config import Safety
from .errors import ConfigError
from .language import load_fasttext, predict

MAX_WORDS = 100_000


class SafetyModel:
    """Measures `safety_probability` and `safety_word`, whichever the config asks for."""

    def __init__(self, config: Safety):
        self._label = f"__label__{config.label.removeprefix('__label__')}"
        self._model = load_fasttext(config.model) if config.model else None
        if self._model is not None and self._label not in self._model.labels:
            raise ConfigError(
                f"{config.model} has no label {config.label!r}; it has {self._model.labels[:10]}"
            )
        self._words = _word_pattern(config.words) if config.words else None

    def measure(self, data: np.ndarray, offsets: np.ndarray) -> dict[str, pa.Array]:
        """Return the signals of n documents by column name."""
        found: dict[str, pa.Array] = {}
        if self._model is not None:
            every = predict(self._model, data, offsets, -1)
            probabilities = [
                dict((label, p) for p, label in row).get(self._label, 0.0) for row in every
            ]
            found["safety_probability"] = pa.array(probabilities, pa.float32())
        if self._words is not None:
            found["safety_word"] = pa.array(
                [
                    _first(self._words, bytes(data[start:stop]))
                    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
                ],
                pa.string(),
            )
        return found


def _word_pattern(path: str) -> re.Pattern[bytes]:
    """Compile the list: any of its words, between characters that are no ASCII letters or digits.

    On bytes, because the lists are of ASCII words and decoding would cost more than matching.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the word list {path}: {error}") from error
    words = sorted({line.strip().lower() for line in lines if line.strip()})
    if not words or len(words) > MAX_WORDS:
        raise ConfigError(f"{path} has {len(words)} words; a word list has 1 to {MAX_WORDS:,}")
    alternatives = b"|".join(re.escape(word.encode()) for word in sorted(words, key=len)[::-1])
    edge = rb"[0-9a-z\x80-\xff]"
    return re.compile(b"(?<!" + edge + b")(?:" + alternatives + b")(?!" + edge + b")")


def _first(pattern: re.Pattern[bytes], text: bytes) -> str | None:
    # bytes.lower() changes ASCII only, which is what the pattern's edges are about.
    match = pattern.search(text.lower())
    return match[0].decode("utf-8", "replace") if match else None
