"""fastText classifiers by path: the labels of a batch of documents, in compiled kernels.

Labels are those of fastText's own prediction for a text as one line, and probabilities are equal
but for the last digits; fastText itself is needed only to train a model.
"""

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .errors import ConfigError
from .fasttext_kernel import Cache, average, new_cache
from .fasttext_model import FORMAT, LABEL_PREFIX, SUPERVISED, Loss, Model, read_model
from .fasttext_output import best, one, output_layer
from .quality import readonly

__all__ = ["LABEL_PREFIX", "Classifier"]

# Documents go from kernel to kernel in blocks of about so many numbers.
_BLOCK = 1 << 18


class Classifier:
    """A supervised fastText model, `.bin` or `.ftz`.

    The words and the input matrix stay in the mapped file, which must not change meanwhile; all
    processes of a machine share them. Each thread that predicts has its own cache of words, of
    10 MB at most where vectors have up to 8,192 dimensions.
    """

    def __init__(self, path: str | Path):
        """Load the model at `path`.

        Raises:
          ConfigError: the file is missing, is no fastText model, is cut short or contradicts
            itself, or is a model of word vectors without labels.
        """
        self.path = str(path)
        self._model: Model = read_model(path)
        self._layer = output_layer(self._model)
        self._caches: list[Cache] = []
        self.labels = self._model.labels

    def predict(
        self, data: np.ndarray, offsets: np.ndarray, k: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the k best labels of n documents, best first, and their probabilities.

        The whole text decides, line feeds being white space like any other. A probability can
        reach 1.00001, as fastText's do.

        Args:
          data: uint8 UTF-8 bytes; `offsets`: int64 [n + 1], see `document.text_buffers`.
          k: at least 1.

        Returns:
          int32 [n, k] indices into `labels`, and float32 [n, k]; -1 and 0 where the model names
          no more labels.
        """
        if k < 1:
            raise ValueError(f"k is {k}, not at least 1")
        n = len(offsets) - 1
        labels = np.empty((n, k), np.int32)
        probabilities = np.empty((n, k), np.float32)
        for rows, hidden, has_rows in self._averages(data, offsets):
            best(self._layer, hidden, has_rows, labels[rows], probabilities[rows])
        return labels, probabilities

    def probability(self, data: np.ndarray, offsets: np.ndarray, label: str) -> np.ndarray:
        """Return the probability of one of `labels` for n documents: float32 [n].

        It is 0 where `predict` would not name the label however large k; arguments as there.
        """
        if label not in self.labels:
            raise ValueError(f"{self.path} has no label {label!r}")
        index = self.labels.index(label)
        path = np.array(self._path(index), np.int32)
        out = np.empty(len(offsets) - 1, np.float32)
        for rows, hidden, has_rows in self._averages(data, offsets):
            one(self._layer, hidden, has_rows, index, path, out[rows])
        return out

    def _path(self, label: int) -> list[int]:
        """Return the nodes of the tree from its root to `label`; nothing without a tree."""
        path: list[int] = []
        if len(self._model.tree):
            path.append(label)
            parents = {
                int(child): node
                for node, children in enumerate(self._model.tree)
                for child in children
            }
            while path[-1] in parents:
                path.append(parents[path[-1]])
        return path[::-1]

    def _averages(
        self, data: np.ndarray, offsets: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield `(rows, hidden, has_rows)` for block after block of documents."""
        data = readonly(data)
        offsets = readonly(offsets)
        n = len(offsets) - 1
        dim = self._model.dim
        step = max(_BLOCK // dim, 1)
        hidden = np.empty((min(step, n), dim), np.float32)
        has_rows = np.empty(len(hidden), np.bool_)
        # Never one cache in two threads: the kernels run without the interpreter's lock.
        cache = self._caches.pop() if self._caches else new_cache(dim)
        try:
            for start in range(0, n, step):
                stop = min(start + step, n)
                h, r = hidden[: stop - start], has_rows[: stop - start]
                average(self._model.input, cache, data, offsets[start : stop + 1], h, r)
                if not np.isfinite(h).all():
                    raise ConfigError(f"{self.path} holds weights that are not finite numbers")
                yield slice(start, stop), h, r
        finally:
            self._caches.append(cache)


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    data, offsets = np.zeros(1, np.uint8), np.array([0, 1], np.int64)
    with tempfile.TemporaryDirectory() as folder:
        for word in (b"a", b"ab"):  # with these, the matrix is aligned in the file, and is not
            path = Path(folder, word.decode())
            path.write_bytes(_least_model(word))
            classifier = Classifier(path)
            classifier.predict(data, offsets)
            classifier.probability(data, offsets, classifier.labels[0])


def _least_model(word: bytes) -> bytes:
    """Return the file of a model of one word, one label and one dimension."""
    arguments = (1, 0, 0, 0, 0, 1, Loss.SOFTMAX, SUPERVISED, 0, 0, 0, 0, 0.0)
    entries = [(word, 0), (LABEL_PREFIX.encode(), 1)]
    dictionary = b"".join(name + struct.pack("<bqb", 0, 1, kind) for name, kind in entries)
    matrix = struct.pack("<b2qf", 0, 1, 1, 0.0)
    return (
        struct.pack("<2i", FORMAT, 12)
        + struct.pack("<12id", *arguments)
        + struct.pack("<3i2q", 2, 1, 1, 1, -1)
        + dictionary
        + matrix * 2
    )
