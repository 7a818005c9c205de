"""Containment: which documents hold a test document inside them, however long they are.

The Jaccard rule of the paper cannot see a short test item inside a long page. This one asks for the
share of the item's n-grams that are in the document, with what says little left out:

    containment(item, document) = sum of weight(g) over g in both / sum of weight(g) over g in item
    weight(g) = max(0, 1 - log df(g) / log N)

where df is the number of documents of the corpus that hold the n-gram and N that of all documents.
An n-gram of more than half of the items of a test set, and of at least three, is the template they
are written in: it weighs nothing for the items of that set. An item of fewer words than an n-gram
is one n-gram of its own length, if it has at least `MIN_WORDS` words; a shorter one is not looked
for. Nor is an item without n-grams besides the template, or whose n-grams weigh less than half on
average: each is then in more than the square root of N documents, which no test item should be.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from .mapped import map_array, save_array
from .overlap import Scores, Tally, mark
from .overlap_hits import Hits
from .overlap_index import Index
from .storage import Location

# Weights are whole multiples of 2**-20: sums are exact, so no order of addition can change them.
ONE = 1 << 20
_TEMPLATE_ITEMS = 3
_ARRAYS = ("keys", "template", "totals")


@dataclass(frozen=True)
class Weights:
    """Weights of an index's n-grams: `keys` uint32 [k], in units of 1 / `ONE`; `template`: bool, of
    each posting, that the n-gram is template in the item's test set; `totals`: int64 [items], the
    sum of an item's weights, 0 when it cannot match."""

    keys: np.ndarray
    template: np.ndarray
    totals: np.ndarray

    def save(self, folder: Location) -> None:
        """Write the weights below `folder`, for workers to map into memory with `open`."""
        for name in _ARRAYS:
            save_array(folder / f"{name}.npy", getattr(self, name))

    @staticmethod
    def open(folder: Location) -> "Weights":
        return Weights(*(map_array(folder / f"{name}.npy") for name in _ARRAYS))

    def too_common(self, index: Index) -> np.ndarray:
        """bool [items]: long enough to be looked for, but template or common n-grams."""
        return (self.totals == 0) & (index.sizes > 0) & ~index.too_short


def weigh(index: Index, df: np.ndarray, documents: int) -> Weights:
    """Weigh the n-grams of an index.

    Args:
      df: uint32 [k], how many documents hold each key; `documents`: how many there are.
    """
    share = np.ones(len(index.keys))
    common = df > 1
    share[common] -= np.log(df[common]) / np.log(max(2, documents))
    weights = np.rint(np.maximum(share, 0) * ONE).astype(np.uint32)
    template = np.zeros(len(index.items), np.bool_)
    set_sizes = np.bincount(index.sets, minlength=len(index.set_names))
    _find_templates(index.starts, index.items, index.sets, set_sizes, template)
    if len(weights):
        # So that a template of many thousand items is passed over at once.
        weights[np.logical_and.reduceat(template, index.starts[:-1])] = 0
    totals = np.zeros(index.size, np.int64)
    counts = np.zeros(index.size, np.int64)
    _sum_weights(index.starts, index.items, weights, template, totals, counts)
    # Every weight is rounded, by at most half a unit: a half on average must not fall to that.
    totals[index.too_short | (2 * totals < counts * (ONE - 1))] = 0
    return Weights(weights, template, totals)


@njit(cache=True, nogil=True)
def _find_templates(starts, items, sets, set_sizes, template):
    for key in range(len(starts) - 1):
        # Items are numbered set by set, so the items of a set stand together.
        p, stop = np.int64(starts[key]), np.int64(starts[key + 1])
        while p < stop:
            number = sets[items[p]]
            end = p
            while end < stop and sets[items[end]] == number:
                end += 1
            if end - p >= _TEMPLATE_ITEMS and 2 * (end - p) > set_sizes[number]:
                template[p:end] = True
            p = end


@njit(cache=True, nogil=True)
def _sum_weights(starts, items, weights, template, totals, counts):
    for key in range(len(starts) - 1):
        for p in range(np.int64(starts[key]), np.int64(starts[key + 1])):
            if not template[p]:
                totals[items[p]] += np.int64(weights[key])
                counts[items[p]] += 1


@njit(cache=True, nogil=True)
def _count(row_keys, df):
    for key in row_keys:
        df[key] += np.uint32(1)


def count_documents(hits: Hits, df: np.ndarray) -> None:
    """Add to `df` (uint32 [k]) the rows that hold each key."""
    _count(hits.keys, df)


@njit(cache=True, nogil=True)
def _contained(row_starts, row_keys, index, weights, threshold, scores, tally):
    starts, items, sets = index
    key_weights, template, totals = weights
    best, value, above = scores
    documents, found = tally
    set_row = np.full(len(documents), -1, np.int64)
    held = np.zeros(len(totals), np.int64)
    touched = np.empty(len(totals), np.uint32)
    for row in range(len(row_starts) - 1):
        best[row] = -1
        value[row] = 0.0
        above[row] = 0
        count = 0
        for k in range(row_starts[row], row_starts[row + 1]):
            key = row_keys[k]
            weight = np.int64(key_weights[key])
            if weight == 0:
                continue
            for p in range(np.int64(starts[key]), np.int64(starts[key + np.uint32(1)])):
                item = items[p]
                if template[p] or totals[item] == 0:
                    continue
                if held[item] == 0:
                    touched[count] = item
                    count += 1
                held[item] += weight
        for t in range(count):
            item = np.int64(touched[t])
            share = held[item] / totals[item]
            held[item] = 0
            if share > threshold:
                above[row] += 1
                mark(item, row, sets, set_row, documents, found)
            other = best[row]
            if share > value[row] or (
                share == value[row]
                and (
                    totals[item] > totals[other] or (totals[item] == totals[other] and item < other)
                )
            ):
                value[row] = share
                best[row] = item


def containment_scores(
    hits: Hits, index: Index, weights: Weights, threshold: float, tally: Tally
) -> Scores:
    """Compare every row with every item it shares an n-gram with; add to `tally`.

    Args:
      hits: found with `short=True`.
      threshold: an item is found where its containment in a row is above it.

    Returns:
      Of each row the item that is contained most, and how many are above the threshold; of equally
      contained ones the heaviest, then the first.
    """
    scores = Scores.empty(len(hits.words))
    arrays = (index.starts, index.items, index.sets)
    table = (tally.documents, tally.items)
    weighed = (weights.keys, weights.template, weights.totals)
    _contained(hits.starts, hits.keys, arrays, weighed, threshold, tuple(scores), table)
    return scores
