"""Test-set overlap: which training documents copy a test document (Gopher, section A.1.1).

The rule is exact: the Jaccard similarity of the sets of 13-gram shingles of a document and of
every test document that shares at least one, found through an inverted index of the test shingles.
Both texts are normalised as for deduplication (see `shingles`); a test document of fewer than 13
words is one shingle, its whole normalised text. `containment` is the other rule.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from .config import Overlap
from .errors import InputError
from .overlap_hits import Hits, find_hits
from .overlap_index import Index, build_index
from .test_sets import read_items


class Matches(NamedTuple):
    """The most similar test document of each row: its number in the index (-1 when no shingle is
    shared) and the exact Jaccard similarity. int64 [n], float64 [n]."""

    item: np.ndarray
    jaccard: np.ndarray


class Scores(NamedTuple):
    """What a rule says of n rows: the best item (-1 for none), its value, and how many items are
    above the threshold. int64 [n], float64 [n], int64 [n]."""

    item: np.ndarray
    value: np.ndarray
    above: np.ndarray

    @staticmethod
    def empty(rows: int) -> "Scores":
        return Scores(np.empty(rows, np.int64), np.empty(rows), np.empty(rows, np.int64))


@dataclass(frozen=True)
class Tally:
    """What a rule has found so far, for the report.

    `documents`: int64 [test sets], rows with an item of the set above the threshold; `items`:
    bool [items], those that were above it in some row.
    """

    documents: np.ndarray
    items: np.ndarray

    @staticmethod
    def of(index: Index) -> "Tally":
        return Tally(np.zeros(len(index.set_names), np.int64), np.zeros(index.size, np.bool_))


def load_index(config: Overlap) -> Index:
    """Build the index of `config.test_sets`.

    Raises:
      ConfigError, InputError: a test set is missing, malformed or empty.
    """
    index = build_index(read_items(config.test_sets, config.text_field), config.ngram)
    if index.size == index.wordless:
        raise InputError(
            f"the test sets {', '.join(config.test_sets)} hold no document with words; an empty "
            "test set would let all pass"
        )
    return index


@njit(inline="always")
def mark(item, row, sets, set_row, documents, found):
    """Note that `item` is above the threshold in `row`; a set counts once a row."""
    found[item] = True
    number = sets[item]
    if set_row[number] != row:
        set_row[number] = row
        documents[number] += 1


@njit(cache=True, nogil=True)
def _jaccard(hits, ngram, index, threshold, scores, tally):
    row_starts, row_keys, words, row_sizes = hits
    starts, items, sizes, lengths, sets = index
    best, value, above = scores
    documents, found = tally
    set_row = np.full(len(documents), -1, np.int64)
    shared = np.zeros(len(sizes), np.uint32)
    touched = np.empty(len(sizes), np.uint32)
    for row in range(len(row_starts) - 1):
        best[row] = -1
        value[row] = 0.0
        above[row] = 0
        # A short item is a shingle of texts of its own length only.
        length = min(words[row], ngram)
        count = 0
        for k in range(row_starts[row], row_starts[row + 1]):
            key = row_keys[k]
            for p in range(np.int64(starts[key]), np.int64(starts[key + np.uint32(1)])):
                item = items[p]
                if lengths[item] != length:
                    break  # all items of a key have one length
                if shared[item] == 0:
                    touched[count] = item
                    count += 1
                shared[item] += np.uint32(1)
        for t in range(count):
            item = np.int64(touched[t])
            common = np.int64(shared[item])
            shared[item] = 0
            similarity = common / (row_sizes[row] + np.int64(sizes[item]) - common)
            if similarity > value[row] or (similarity == value[row] and item < best[row]):
                value[row] = similarity
                best[row] = item
            if similarity > threshold:
                above[row] += 1
                mark(item, row, sets, set_row, documents, found)


def jaccard_scores(hits: Hits, index: Index, threshold: float, tally: Tally) -> Scores:
    """Compare every row with every item it shares a shingle with; add to `tally`.

    Args:
      threshold: an item is found where its Jaccard similarity with a row is above it.

    Returns:
      The most similar item of each row, and how many are above the threshold; of equally similar
      ones the first.
    """
    scores = Scores.empty(len(hits.words))
    arrays = (index.starts, index.items, index.sizes, index.lengths, index.sets)
    table = (tally.documents, tally.items)
    _jaccard(tuple(hits), index.ngram, arrays, threshold, tuple(scores), table)
    return scores


def best_matches(data: np.ndarray, offsets: np.ndarray, index: Index) -> Matches:
    """Compare every row of text with every test document it shares a shingle with.

    Args:
      data: uint8; `offsets`: int64 [n + 1], as `document.text_buffers` returns them.

    Returns:
      The best test document of each row; of equally similar ones the first.
    """
    scores = jaccard_scores(find_hits(data, offsets, index), index, 1.0, Tally.of(index))
    return Matches(scores.item, scores.value)
