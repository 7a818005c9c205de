"""What is truly similar: exact Jaccard of all pairs, by brute force and without massivetext.

Shingles are Python strings in a dict. Pairs are compared through an inverted index; pairs that
share no shingle have similarity 0.
"""

from dataclasses import dataclass

import numpy as np
from corpora import Document
from dedup_corpora import NGRAM, words
from numba import njit

BINS = 20
THRESHOLD = 0.8
# Right-closed: a similarity of exactly 0.8 is in the decile that ends there. k / 20 is the double
# nearest to it, as is the quotient of two counts of that ratio, so the comparison is exact.
EDGES = np.arange(1, BINS + 1) / BINS


@dataclass(frozen=True)
class Truth:
    """All pairs of `documents` documents.

    Attributes:
      histogram: int64 [BINS], pairs that share a shingle, by similarity; bins end at `EDGES`.
      above: int64 [m, 2] pairs (i, j), i < j, of a similarity above `THRESHOLD`.
    """

    documents: int
    histogram: np.ndarray
    above: np.ndarray
    _shingles: np.ndarray
    _starts: np.ndarray

    def jaccard(self, pairs: np.ndarray) -> np.ndarray:
        """Return the similarity, float64 [n], of pairs, int64 [n, 2]."""
        out = np.empty(len(pairs), np.float64)
        _similarities(self._shingles, self._starts, pairs, out)
        return out


def by_bin(similarity: np.ndarray) -> np.ndarray:
    """Return how many of the similarities, none of them 0, are in each bin."""
    return np.bincount(np.searchsorted(EDGES, similarity), minlength=BINS)


def find(documents: list[Document]) -> Truth:
    """Compare all pairs of documents."""
    numbers: dict[str, int] = {}
    sets = []
    for document in documents:
        found = words(document["text"])
        grams = {
            numbers.setdefault(" ".join(found[i : i + NGRAM]), len(numbers))
            for i in range(max(1, len(found) - NGRAM + 1))
        }
        sets.append(np.array(sorted(grams), np.int64))
    starts = np.cumsum([0, *map(len, sets)]).astype(np.int64)
    shingles = np.concatenate(sets)
    owner = np.repeat(np.arange(len(sets)), np.diff(starts))
    postings = owner[np.argsort(shingles, kind="stable")]
    first = np.append(0, np.cumsum(np.bincount(shingles, minlength=len(numbers))))
    histogram = np.zeros(BINS, np.int64)
    above = np.empty((1 << 20, 2), np.int64)
    count = _all_pairs(shingles, starts, postings, first, EDGES, THRESHOLD, histogram, above)
    if count > len(above):
        above = np.empty((count, 2), np.int64)
        histogram[:] = 0
        _all_pairs(shingles, starts, postings, first, EDGES, THRESHOLD, histogram, above)
    return Truth(len(sets), histogram, above[:count], shingles, starts)


@njit(cache=True)
def _all_pairs(shingles, starts, postings, first, edges, threshold, histogram, above):
    documents = len(starts) - 1
    common = np.zeros(documents, np.int64)
    count = 0
    for i in range(documents):
        common[i:] = 0
        for at in range(starts[i], starts[i + 1]):
            for p in range(first[shingles[at]], first[shingles[at] + 1]):
                common[postings[p]] += 1
        for j in range(i + 1, documents):
            if common[j]:
                union = starts[i + 1] - starts[i] + starts[j + 1] - starts[j] - common[j]
                similarity = common[j] / union
                histogram[np.searchsorted(edges, similarity)] += 1
                if similarity > threshold:
                    if count < len(above):
                        above[count] = (i, j)
                    count += 1
    return count


@njit(cache=True)
def _similarities(shingles, starts, pairs, out):
    for n in range(len(pairs)):
        i, j = pairs[n]
        a, b = starts[i], starts[j]
        common = 0
        while a < starts[i + 1] and b < starts[j + 1]:
            if shingles[a] == shingles[b]:
                common += 1
                a += 1
                b += 1
            elif shingles[a] < shingles[b]:
                a += 1
            else:
                b += 1
        union = starts[i + 1] - starts[i] + starts[j + 1] - starts[j] - common
        out[n] = common / union
