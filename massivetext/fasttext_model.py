"""The file format of fastText's models, `.bin` and `.ftz`, read without fastText.

The layout is that of fastText 0.9.2 (`FastText::loadModel`, file versions 11 and 12): arguments,
dictionary, input matrix, output matrix, dense or product-quantised (Joulin et al. 2016,
'FastText.zip'). Nothing in a file is believed: every size is held against the file's own, and
every index a kernel will use against what it indexes, so that a damaged or hostile file is a
ConfigError and never a read out of bounds. The input matrix and the words stay in the file and
are mapped, so all processes of a machine share one copy of them.
"""

import math
import mmap
import struct
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import ConfigError
from .fasttext_dictionary import (
    ENTRY_BYTES,
    bucket_table,
    entry_table,
    kept_bits,
    reciprocal,
    walk,
)
from .fasttext_matrix import CENTROIDS, Matrix, unpack
from .quality import readonly
from .storage import local_copy, location

LABEL_PREFIX = "__label__"

# The number that model files begin with, and that of supervised models.
FORMAT = 793712314
SUPERVISED = 3
# A quantised matrix is unpacked, a copy for each process, unless that takes more.
_UNPACKED_BYTES = 64 << 20

# Far above any model in use; they bound the work and the memory that a hostile header can ask for.
_MAX_DIM = 1 << 16
_MAX_NGRAM = 64
_MAX_OUTPUT = 1 << 28

# HierarchicalSoftmaxLoss::buildTree marks nodes not made yet by this count.
_UNMADE = 10**15


class Loss(IntEnum):
    """What the output layer is, by fastText's own numbers (`loss_name`)."""

    HIERARCHICAL = 1
    NEGATIVE_SAMPLING = 2
    SOFTMAX = 3
    ONE_VS_ALL = 4


class Input(NamedTuple):
    """From words to rows of the input matrix, as the kernels take it."""

    content: np.ndarray  # uint8: the whole file
    starts: np.ndarray  # int64 [words + labels]: where in it each dictionary entry starts
    slots: np.ndarray  # int32 [power of two]: entry by hash, -1 where none
    words: int  # entries below this are words, the others labels
    minn: int
    maxn: int
    word_ngrams: int
    bucket: int
    reciprocal: np.uint64  # of `bucket`, for `modulo`
    is_pruned: bool  # quantised with a cutoff: only the n-grams in `pruned` have a row
    pruned: np.ndarray  # int32 [power of two, 2]: bucket (-1 where none) and its row
    kept: np.ndarray  # uint8 [power of two]: the same buckets as bits, modulo the number of bits
    matrix: Matrix


class Model(NamedTuple):
    """A supervised model of L labels."""

    labels: tuple[str, ...]
    loss: Loss
    dim: int
    input: Input
    output: np.ndarray  # float32 [L, D]
    tree: np.ndarray  # int32 [2L - 1, 2]: children of a node of the hierarchical softmax, or [0, 2]


class _FormatError(Exception):
    """What is wrong with the content of a model file."""


def read_model(path: str | Path) -> Model:
    """Read the supervised model at `path`.

    Raises:
      ConfigError: the file is missing, is no fastText model, is cut short or contradicts itself,
        or is a model of word vectors without labels.
    """
    try:
        with local_copy(location(path)) as copy, open(copy, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ConfigError(f"fastText model {path}: {error.strerror}; correct the path") from error
    except ValueError as error:
        raise _unreadable(path, "the file is empty") from error
    try:
        return _read(_Reader(np.frombuffer(mapped, np.uint8)), path)
    except (_FormatError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str | Path, reason: object) -> ConfigError:
    return ConfigError(f"{path} is no readable fastText model ({reason}); download it again")


class _Reader:
    """Takes one field after another, none past the end."""

    def __init__(self, content: np.ndarray):
        self.content = content
        self.at = 0

    def advance(self, size: int) -> int:
        """Pass over `size` bytes and return where they start."""
        start = self.at
        if size < 0 or size > len(self.content) - start:
            raise _FormatError(f"cut short at {len(self.content)} bytes, or a wrong size in it")
        self.at += size
        return start

    def fields(self, layout: str) -> tuple[int, ...]:
        start = self.advance(struct.calcsize(layout))
        return struct.unpack_from(layout, self.content.data, start)

    def flag(self) -> bool:
        (byte,) = self.fields("<B")
        _require(byte <= 1, "a flag is neither 0 nor 1")
        return bool(byte)

    def array(self, dtype: str, *shape: int) -> np.ndarray:
        """Return a view of the file: C order, and unaligned where the file is."""
        count = math.prod(shape)
        start = self.advance(count * np.dtype(dtype).itemsize)
        return np.frombuffer(self.content, dtype, count, start).reshape(shape)


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise _FormatError(problem)


def _read(reader: _Reader, path: str | Path) -> Model:
    _require(reader.fields("<i") == (FORMAT,), "not the format of fastText")
    (version,) = reader.fields("<i")
    _require(version in (11, 12), f"file version {version}, not 11 or 12")
    dim, _, _, _, _, word_ngrams, loss, model, bucket, minn, maxn, _, _ = reader.fields("<12id")
    if model != SUPERVISED:
        _require(model in (1, 2), "the kind of model is unknown")
        raise ConfigError(f"{path} holds word vectors, not a classifier with labels")
    if version == 11:
        maxn = 0  # such models were trained without character n-grams, whatever they say
    _require(loss in tuple(Loss), "the loss is unknown")
    _require(1 <= dim <= _MAX_DIM, f"dimension {dim}")
    _require(max(minn, maxn, word_ngrams) <= _MAX_NGRAM, "n-grams are too long")
    _require(min(minn, maxn, word_ngrams) >= 0, "the length of n-grams is negative")
    hashed = maxn > 0 or word_ngrams > 1
    _require(bucket >= hashed, "no buckets for its n-grams")

    entries, words, n_labels, _, prune_size = reader.fields("<3i2q")
    _require(words >= 0 and n_labels > 0 and words + n_labels == entries, "no labels")
    starts, stops, counts = _dictionary(reader, entries, words)
    prune_index = reader.array("<i4", max(prune_size, 0), 2)

    quantised = reader.flag()
    _require(quantised or prune_size < 0, "pruned but not quantised")
    matrix = _matrix(reader, dim, quantised)
    rows = matrix.rows()
    if prune_size >= 0:
        buckets, targets = prune_index[:, 0], prune_index[:, 1]
        _require(bool((prune_index >= 0).all()), "negative index of a pruned n-gram")
        _require(rows >= words + int(targets.max(initial=-1)) + 1, "input matrix too small")
    else:
        buckets = targets = np.zeros(0, np.int32)
        _require(rows >= words + (bucket if hashed else 0), "input matrix too small")

    output = _output(reader, dim, n_labels, reader.flag() and quantised)
    labels = tuple(
        reader.content[start:stop].tobytes().decode()
        for start, stop in zip(starts[words:].tolist(), stops[words:].tolist(), strict=True)
    )
    if not labels[0].startswith(LABEL_PREFIX):
        raise ConfigError(f"{path}: label {labels[0]!r} does not begin with {LABEL_PREFIX}")
    tree = np.zeros((0, 2), np.int32)
    if loss == Loss.HIERARCHICAL:
        tree = _tree(counts[words:].tolist())
    weights = Input(
        content=reader.content,
        starts=starts,
        slots=entry_table(reader.content, starts),
        words=words,
        minn=minn,
        maxn=maxn,
        word_ngrams=word_ngrams,
        bucket=bucket,
        reciprocal=np.uint64(reciprocal(max(bucket, 1))),
        is_pruned=prune_size >= 0,
        pruned=bucket_table(buckets, targets),
        kept=kept_bits(buckets),
        matrix=matrix,
    )
    return Model(labels, Loss(loss), dim, weights, output, tree)


def _dictionary(reader: _Reader, entries: int, words: int) -> tuple[np.ndarray, ...]:
    """Return `(starts, stops, counts)` of the entries: int64 each."""
    _require(
        entries <= (len(reader.content) - reader.at) // ENTRY_BYTES, "the dictionary is cut short"
    )
    starts = np.empty(entries, np.int64)
    counts = np.empty(entries, np.int64)
    end = walk(reader.content, reader.at, words, starts, counts)
    _require(end >= 0, "the dictionary is cut short, or labels stand among its words")
    reader.advance(end - reader.at)
    return starts, np.append(starts[1:], end) - ENTRY_BYTES, counts


def _matrix(reader: _Reader, dim: int, quantised: bool) -> Matrix:
    dense, codes, centroids = _zeros(0, dim), np.zeros((0, 1), np.uint8), _zeros(1, CENTROIDS, dim)
    norm_codes, norms = np.zeros(0, np.uint8), _zeros(CENTROIDS)
    has_norms = quantised and reader.flag()
    rows, columns = reader.fields("<2q")
    _require(columns == dim and rows >= 0, "the columns of a matrix are not the dimension")
    if quantised:
        (size,) = reader.fields("<i")
        at = reader.advance(size)
        centroids = _quantiser(reader, dim)
        _require(size == rows * len(centroids), "the codes are not as many as the rows need")
        codes = reader.content[at : at + size].reshape(rows, len(centroids))
        if has_norms:
            norm_codes = reader.array("u1", rows)
            norms = _quantiser(reader, 1).reshape(CENTROIDS)
    else:
        dense = reader.array("<f4", rows, dim)
    matrix = Matrix(dense, codes, centroids, norm_codes, norms)
    if quantised and 4 * rows * dim <= _UNPACKED_BYTES:
        # Adding a dense row takes a fraction of the time that adding a quantised one takes.
        matrix = matrix._replace(dense=unpack(matrix, dim), codes=codes[:0])
    # The kernels compile anew for every mix of arrays that can be written and that cannot.
    return Matrix(*map(readonly, matrix))


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def _quantiser(reader: _Reader, dim: int) -> np.ndarray:
    """Return the centroids of a product quantiser: float32 [M, 256, S], M parts of S dimensions.

    The last part may have fewer dimensions; zeros make them up.
    """
    found, parts, size, last = reader.fields("<4i")
    _require(found == dim and 1 <= size <= dim, "a quantiser of another dimension")
    _require(parts == -(-dim // size), "a quantiser has a wrong number of parts")
    _require(last == dim - (parts - 1) * size, "a quantiser's last part has a wrong size")
    centroids = _zeros(parts, CENTROIDS, size)
    centroids[:-1] = reader.array("<f4", parts - 1, CENTROIDS, size)
    centroids[-1, :, :last] = reader.array("<f4", CENTROIDS, last)
    _require(bool(np.isfinite(centroids).all()), "a weight is not a finite number")
    return centroids


def _output(reader: _Reader, dim: int, labels: int, quantised: bool) -> np.ndarray:
    """Return the output matrix, small beside the input, as a dense copy: float32 [L, D]."""
    matrix = _matrix(reader, dim, quantised)
    _require(labels * dim <= _MAX_OUTPUT, "the output matrix is too large")
    _require(matrix.rows() == labels, "the rows of the output matrix are not the labels")
    dense = unpack(matrix, dim) if len(matrix.codes) else matrix.dense
    output = np.array(dense, np.float32, order="C")
    _require(bool(np.isfinite(output).all()), "a weight is not a finite number")
    return output


def _tree(counts: list[int]) -> np.ndarray:
    """Return the children of every node, -1 for leaves: int32 [2L - 1, 2].

    `HierarchicalSoftmaxLoss::buildTree`: Huffman's tree for counts that fall from label to label.
    """
    _require(min(counts) >= 0 and sum(counts) < _UNMADE, "impossible counts of labels")
    n = len(counts)
    weight = counts + [_UNMADE] * (n - 1)
    children = np.full((2 * n - 1, 2), -1, np.int32)
    leaf, node = n - 1, n
    for parent in range(n, 2 * n - 1):
        for side in (0, 1):
            if leaf >= 0 and weight[leaf] < weight[node]:
                child, leaf = leaf, leaf - 1
            else:
                child, node = node, node + 1
            children[parent, side] = child
        weight[parent] = weight[children[parent, 0]] + weight[children[parent, 1]]
    return children
