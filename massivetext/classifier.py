"""fastText classifiers by path: safe loading, and prediction for a batch of documents."""

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConfigError

# Only this much of a text's start is classified: the verdict on a long text does not change after
# its first pages, and one huge document must not hold up a worker.
MAX_BYTES = 64 << 10

LABEL_PREFIX = "__label__"

_MAGIC = 793712314
_ARGUMENTS = struct.calcsize("<12id")
_CENTROIDS = 256


class Classifier:
    """A supervised fastText model, `.bin` or `.ftz`."""

    def __init__(self, path: str | Path):
        """Load the model at `path`.

        Raises:
          ConfigError: the file is missing, is no fastText model, is cut short, or is a model of
            word vectors without labels.
        """
        import fasttext

        self.path = str(path)
        _check_whole(self.path)
        try:
            self._model: Any = fasttext.load_model(self.path)
            self.labels: tuple[str, ...] = tuple(self._model.get_labels())
        except (ValueError, RuntimeError, MemoryError, OverflowError) as error:
            raise _unreadable(self.path, error) from error
        if not self.labels or not self.labels[0].startswith(LABEL_PREFIX):
            raise ConfigError(f"{self.path} holds word vectors, not a classifier with labels")

    def predict(self, texts: list[str], k: int) -> tuple[list[list[str]], list[list[float]]]:
        """Return the `k` best labels of each text and their probabilities, best first.

        Texts must hold no line feed: fastText scores the first line and silently drops the rest.
        """
        lines = [text + "\n" for text in texts]
        labels, probabilities = self._model.f.multilinePredict(lines, k, 0.0, "strict")
        return labels, probabilities


def first_lines(data: np.ndarray, offsets: np.ndarray) -> list[str]:
    """Return the start of each document, at most `MAX_BYTES` of it, as one line."""
    lines = []
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        text = data[start : min(stop, start + MAX_BYTES)].tobytes()
        lines.append(text.replace(b"\n", b" ").decode("utf-8", "ignore"))
    return lines


def _unreadable(path: str, reason: object) -> ConfigError:
    return ConfigError(f"{path} is no readable fastText model ({reason}); download it again")


def _check_whole(path: str) -> None:
    """Walk the sections of a model file and raise unless it holds them all.

    fastText does not check what it reads: a model cut short loads with weights of zero or of
    whatever was in memory, or is read for ever.
    """
    try:
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            end = _model_end(content)
            if end > len(content):
                raise _unreadable(path, f"cut short: {len(content)} of {end} bytes")
    except (ValueError, struct.error) as error:
        raise _unreadable(path, "not the format of fastText, or cut short") from error
    except OSError as error:
        raise ConfigError(f"fastText model {path}: {error.strerror}; correct the path") from error


def _model_end(content: mmap.mmap) -> int:
    """Return where the model ends according to its own headers."""
    (magic,) = struct.unpack_from("<i", content, 0)
    if magic != _MAGIC:
        raise ValueError("wrong magic number")
    at = 8 + _ARGUMENTS
    entries, _, _, _, pruned = struct.unpack_from("<3i2q", content, at)
    at += struct.calcsize("<3i2q")
    for _ in range(entries):
        at = content.find(b"\0", at) + 1
        if at == 0:
            raise ValueError("the dictionary is cut short")
        at += 9  # count and type
    at += 8 * max(pruned, 0)
    (quantised,) = struct.unpack_from("<?", content, at)
    at = _matrix_end(content, at + 1, quantised)
    (quantised_output,) = struct.unpack_from("<?", content, at)
    return _matrix_end(content, at + 1, quantised and quantised_output)


def _matrix_end(content: mmap.mmap, at: int, quantised: bool) -> int:
    if not quantised:
        rows, columns = struct.unpack_from("<2q", content, at)
        if rows < 0 or columns < 0:
            raise ValueError("a matrix of negative size")
        return at + 16 + 4 * rows * columns
    norms, rows, _, codes = struct.unpack_from("<?2qi", content, at)
    if rows < 0 or codes < 0:
        raise ValueError("a matrix of negative size")
    at = _quantizer_end(content, at + struct.calcsize("<?2qi") + codes)
    return _quantizer_end(content, at + rows) if norms else at


def _quantizer_end(content: mmap.mmap, at: int) -> int:
    (dimension,) = struct.unpack_from("<i", content, at)
    if dimension < 0:
        raise ValueError("a quantizer of negative size")
    return at + 16 + 4 * dimension * _CENTROIDS
