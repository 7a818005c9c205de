"""MinHash signatures, their bands, and the exact Jaccard similarity that verifies them.

Sketches without a pipeline: the signatures of some texts, the similarity they estimate, and what
it is exactly (all by the shingles of `shingles`).

    >>> from massivetext.minhash import estimate, sketch, text_jaccard
    >>> texts = ["the quick brown fox jumps over the lazy dog", "the quick brown fox sleeps"]
    >>> signatures = sketch(texts, ngram=2)
    >>> round(estimate(signatures[0], signatures[1]), 1)
    0.4
    >>> text_jaccard(texts[0], texts[1], ngram=2)
    0.3333333333333333

Signatures are bit-identical with `datasketch.MinHash(num_perm, seed=1, scheme="affine32",
hashfunc=identity).update_batch(h)`, where `h` are the shingle hashes folded to 32 bits by taking
their upper half; so `to_datasketch` makes them fit for datasketch's LSH indexes. Two documents of
Jaccard similarity s share at least one of b bands of r rows with probability 1 - (1 - s**r)**b
(Lee et al. 2021).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from .document import BATCH_BYTES, text_buffers
from .minhash_kernels import (
    DATASKETCH_SEED,
    EMPTY,
    affine_permutations,
    count_common,
    fill_bands,
    fill_jaccard,
    fill_signatures,
)
from .shingles import shingle_hashes, sort_unique

if TYPE_CHECKING:
    import datasketch

SCHEME = "affine32"


def sketch(texts: pa.Array | Sequence[str], ngram: int = 13, permutations: int = 256) -> np.ndarray:
    """Return the MinHash signature of each text.

    Args:
      texts: n texts; Arrow's string and large_string arrays are read without a copy.
      ngram: words in a shingle (see `shingles`); Gopher's 13.
      permutations: minima in a signature. The standard error of an estimate of Jaccard similarity
        s is sqrt(s * (1 - s) / permutations).

    Returns:
      uint32 [n, permutations]; all ones for a text without words.

    Raises:
      ValueError: a text is null; `ngram` or `permutations` is below 1.
      TypeError: `texts` does not hold strings.
    """
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}; a signature has at least one")
    column = texts if isinstance(texts, pa.Array) else _strings(texts)
    data, offsets = text_buffers(column)
    out = np.empty((len(column), permutations), np.uint32)
    row = 0
    while row < len(out):
        # Some megabytes at a time: shingles take eight bytes a word.
        stop = int(np.searchsorted(offsets, offsets[row] + BATCH_BYTES, "right")) - 1
        stop = max(row + 1, min(stop, len(out)))
        hashes, starts = shingle_hashes(data, offsets[row : stop + 1], ngram)
        _fill(hashes, starts, out[row:stop])
        row = stop
    return out


def _strings(texts: Sequence[str]) -> pa.Array:
    if isinstance(texts, str):
        raise TypeError("texts is one string; give a list of strings")
    return pa.array(texts, pa.large_string())


def _fill(hashes: np.ndarray, starts: np.ndarray, out: np.ndarray) -> None:
    a, b = affine_permutations(out.shape[1])
    fill_signatures(hashes, starts, a, b, out)


def signatures(hashes: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
    """Return the MinHash signature of every row's set of shingles.

    Args:
      hashes: uint64 flat, `starts`: int64 [n + 1], as `shingles.shingle_hashes` returns them;
        order and repeats do not matter.
      count: permutations.

    Returns:
      uint32 [n, count]; all ones for a row without shingles.
    """
    out = np.empty((len(starts) - 1, count), np.uint32)
    _fill(hashes, starts, out)
    return out


def estimate(a: np.ndarray, b: np.ndarray) -> float | np.ndarray:
    """Estimate Jaccard similarities: the share of equal minima.

    Args:
      a, b: signatures of equal length, uint32 [permutations] or [n, permutations]; n pairs of
        rows, or one signature against each of n.

    Returns:
      A float for two signatures, else float64 [n]. As for `jaccard`, a text without words has
      similarity 0 with any other.

    Raises:
      ValueError: the signatures differ in length, or in number.
    """
    for signature in (a, b):
        if signature.dtype != np.uint32 or signature.ndim not in (1, 2):
            raise ValueError(
                f"a signature is uint32 [permutations], not {signature.dtype} "
                f"{list(signature.shape)}"
            )
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"signatures of {a.shape[-1]} and of {b.shape[-1]} permutations")
    if a.ndim == b.ndim == 2 and len(a) != len(b):
        raise ValueError(f"{len(a)} signatures and {len(b)} signatures do not make pairs")
    words = (a != EMPTY).any(axis=-1)
    shares = np.where(words, (a == b).mean(axis=-1), 0.0)
    return shares if shares.ndim else float(shares)


def band_hashes(signature: np.ndarray, bands: int) -> np.ndarray:
    """Hash each band of each signature, the band's number folded in as the seed.

    Args:
      signature: uint32 [n, bands * rows].

    Returns:
      uint64 [n, bands]. Equal numbers mean: same band, same minima.
    """
    n, count = signature.shape
    if bands < 1 or count % bands:
        raise ValueError(f"{count} permutations do not make {bands} bands of equal size")
    out = np.empty((n, bands), np.uint64)
    data = np.ascontiguousarray(signature).view(np.uint8).reshape(-1)
    fill_bands(data, n, bands, 4 * (count // bands), out)
    return out


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Return |a and b| / |a or b| of two sets, each a sorted uint64 array without repeats.

    The Jaccard similarity of two empty sets is taken as 0.
    """
    common = int(count_common(a, b))
    union = len(a) + len(b) - common
    return common / union if union else 0.0


def text_jaccard(a: str, b: str, ngram: int = 13) -> float:
    """Return the Jaccard similarity of two texts' sets of shingles, exactly (0 if both have none).

    Texts that are compared more than once are better hashed once, by `shingles.shingle_hashes`
    and `shingles.sort_unique`.
    """
    values, starts = sort_unique(*shingle_hashes(*text_buffers(_strings([a, b])), ngram))
    return jaccard(values[: starts[1]], values[starts[1] :])


def jaccard_pairs(
    values: np.ndarray, starts: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Return the Jaccard similarity, float64 [m], of rows `left[i]` and `right[i]` (int64 [m]).

    `values` and `starts` are sets of shingles as `shingles.sort_unique` returns them.
    """
    out = np.empty(len(left), np.float64)
    fill_jaccard(values, starts, left, right, out)
    return out


def to_datasketch(signature: np.ndarray) -> "datasketch.LeanMinHash":
    """Return a signature, uint32 [permutations], as a sketch of datasketch.

    It can be inserted into a `datasketch.MinHashLSH` and query it:

        index = MinHashLSH(num_perm=256, params=(32, 8))
        for name, signature in zip(names, sketch(texts)):
            index.insert(name, to_datasketch(signature))

    Lean, because datasketch's own `update` would hash words in another way than `shingles`.

    Raises:
      ValueError: `signature` is not one signature.
    """
    # Half a second, which only those who need it should spend.
    from datasketch import LeanMinHash

    if signature.dtype != np.uint32 or signature.ndim != 1:
        raise ValueError(
            f"a signature is uint32 [permutations], not {signature.dtype} {list(signature.shape)}"
        )
    return LeanMinHash(seed=DATASKETCH_SEED, hashvalues=signature.copy(), scheme=SCHEME)


def from_datasketch(sketch: "datasketch.MinHash") -> np.ndarray:
    """Return the signature, uint32 [permutations], of a sketch of datasketch (lean ones too).

    It compares with those of `sketch` only if both were made of the same hashes of shingles.

    Raises:
      ValueError: another scheme or seed made it, so its minima cannot be compared with ours.
    """
    if sketch.scheme != SCHEME:
        raise ValueError(
            f"the sketch has scheme {sketch.scheme!r}; make it anew with scheme={SCHEME!r}"
        )
    if sketch.seed != DATASKETCH_SEED:
        raise ValueError(
            f"the sketch has seed {sketch.seed}; make it anew with seed={DATASKETCH_SEED}"
        )
    return np.array(sketch.hashvalues, np.uint32)
