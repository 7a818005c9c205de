"""From the average of a text's word vectors to its labels: fastText's output layers.

As `Loss::predict` and `HierarchicalSoftmaxLoss::predict` do, single precision and 1e-5 in the
logarithm included: a probability can reach 1.00001, and the hierarchical softmax does not name
labels below 0.00001. Labels of equal probability come in the order in which fastText's heap, the
C++ library's, leaves them.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from .fasttext_model import Loss, Model

_EPSILON = 1e-5  # std_log
_LEAST = np.float32(math.log(_EPSILON))  # the score below which the tree is not followed

# Loss::sigmoid looks up one of 512 values between -8 and 8.
_SIGMOID_STEPS = 32
_SIGMOID_LIMIT = np.float32(8)

# Logarithms of x + 1e-5 rounded to float32 differ where x differs by more than this share.
_SURE = np.float32(2e-6)

_HIERARCHICAL = int(Loss.HIERARCHICAL)
_SOFTMAX = int(Loss.SOFTMAX)


class Output(NamedTuple):
    """The output layer as the kernels take it. L labels, D dimensions."""

    loss: int
    by_label: np.ndarray  # float32 [L, D], for the tree
    by_dim: np.ndarray  # float32 [D, L], for the other losses; the unused one is empty
    tree: np.ndarray  # int32 [2L - 1, 2]: children, or [0, 2]
    sigmoid: np.ndarray  # float32 [513]


def output_layer(model: Model) -> Output:
    """Return the output layer of `model`."""
    x = np.arange(2 * 8 * _SIGMOID_STEPS + 1, dtype=np.float32) / _SIGMOID_STEPS - 8
    sigmoid = (1 / (1 + np.exp(-x).astype(np.float64))).astype(np.float32)
    none = np.zeros((0, 0), np.float32)
    if model.loss == Loss.HIERARCHICAL:
        return Output(int(model.loss), model.output, none, model.tree, sigmoid)
    return Output(int(model.loss), none, np.ascontiguousarray(model.output.T), model.tree, sigmoid)


@njit(cache=True, nogil=True, inline="always")
def _log(x):
    return np.float32(math.log(np.float64(x) + _EPSILON))


@njit(cache=True, nogil=True)
def _push(scores, labels, size, score, label):
    """Add to a heap of `size` with the lowest score first: std::push_heap."""
    hole = size
    while hole > 0 and scores[(hole - 1) // 2] > score:
        parent = (hole - 1) // 2
        scores[hole] = scores[parent]
        labels[hole] = labels[parent]
        hole = parent
    scores[hole] = score
    labels[hole] = label


@njit(cache=True, nogil=True)
def _pop(scores, labels, size):
    """Move the lowest score of a heap of `size` to its end: std::pop_heap."""
    last = size - 1
    score = scores[last]
    label = labels[last]
    scores[last] = scores[0]
    labels[last] = labels[0]
    hole = 0
    child = 2
    while child < last:
        if scores[child] > scores[child - 1]:
            child -= 1
        scores[hole] = scores[child]
        labels[hole] = labels[child]
        hole = child
        child = 2 * child + 2
    if child == last:
        scores[hole] = scores[child - 1]
        labels[hole] = labels[child - 1]
        hole = child - 1
    _push(scores, labels, hole, score, label)


@njit(cache=True, nogil=True)
def _offer(scores, labels, size, score, label):
    """Put a label among the best ones; return their number. The arrays hold one more than that."""
    _push(scores, labels, size, score, label)
    if size + 1 == len(scores):
        _pop(scores, labels, size + 1)
        return size
    return size + 1


@njit(cache=True, nogil=True)
def _dot(row, hidden):
    """Return the dot product: four sums side by side, in an order that no compiler changes."""
    n = len(hidden)
    a = b = c = d = np.float32(0)
    k = 0
    while k + 4 <= n:
        a += row[k] * hidden[k]
        b += row[k + 1] * hidden[k + 1]
        c += row[k + 2] * hidden[k + 2]
        d += row[k + 3] * hidden[k + 3]
        k += 4
    while k < n:
        a += row[k] * hidden[k]
        k += 1
    return (a + b) + (c + d)


@njit(cache=True, nogil=True)
def _right(layer, node, hidden):
    """Return the probability that the tree is left at inner `node` to the right: float32."""
    x = _dot(layer.by_label[node - len(layer.by_label)], hidden)
    return np.float32(1 / np.float64(np.float32(1) + math.exp(-x)))


@njit(cache=True, nogil=True)
def _search_tree(layer, hidden, scores, labels, nodes, node_scores):
    """Find the best labels, depth first as fastText does; return their number."""
    size = 0
    n_labels = len(layer.by_label)
    nodes[0] = 2 * n_labels - 2
    node_scores[0] = 0
    depth = 1
    while depth > 0:
        depth -= 1
        node = nodes[depth]
        score = node_scores[depth]
        if score < _LEAST or (size + 1 == len(scores) and score < scores[0]):
            continue
        if node < n_labels:
            size = _offer(scores, labels, size, score, node)
            continue
        right = _right(layer, node, hidden)
        nodes[depth] = layer.tree[node, 1]
        node_scores[depth] = score + _log(right)
        nodes[depth + 1] = layer.tree[node, 0]
        node_scores[depth + 1] = score + _log(np.float32(1 - np.float64(right)))
        depth += 2
    return size


@njit(cache=True, nogil=True)
def _probabilities(layer, hidden, out):
    """Fill `out` (float32 [L]) with the probability of every label of a layer without a tree."""
    out[:] = 0
    for d in range(len(hidden)):
        for label in range(len(out)):
            out[label] += layer.by_dim[d, label] * hidden[d]
    if layer.loss != _SOFTMAX:
        for label in range(len(out)):
            x = out[label]
            # In this order, what is not a number indexes nothing.
            if not x >= -_SIGMOID_LIMIT:
                out[label] = 0
            elif x > _SIGMOID_LIMIT:
                out[label] = 1
            else:
                out[label] = layer.sigmoid[np.int64((x + _SIGMOID_LIMIT) * _SIGMOID_STEPS)]
        return
    highest = out.max()
    total = np.float32(0)
    for label in range(len(out)):
        out[label] = math.exp(out[label] - highest)
        total += out[label]
    for label in range(len(out)):
        out[label] /= total


@njit(cache=True, nogil=True)
def best(layer, hidden, has_rows, out_labels, out_probabilities):
    """Fill in the k best labels of n texts, best first; -1 and 0 where there are no more.

    Args:
      layer: `Output`; hidden: float32 [n, D]; has_rows: bool [n], as `average` fills them.
      out_labels: int32 [n, k]; out_probabilities: float32 [n, k]; filled.
    """
    is_tree = layer.loss == _HIERARCHICAL
    n_labels = len(layer.by_label) if is_tree else layer.by_dim.shape[1]
    k = min(out_labels.shape[1], n_labels)
    scores = np.zeros(k + 1, np.float32)
    labels = np.zeros(k + 1, np.int32)
    nodes = np.zeros(n_labels + 1, np.int32)
    node_scores = np.zeros(n_labels + 1, np.float32)
    probabilities = np.zeros(n_labels, np.float32)
    for text in range(len(hidden)):
        out_labels[text] = -1
        out_probabilities[text] = 0
        if not has_rows[text]:
            continue
        size = 0
        if is_tree:
            size = _search_tree(layer, hidden[text], scores, labels, nodes, node_scores)
        else:
            _probabilities(layer, hidden[text], probabilities)
            for label in range(n_labels):
                p = probabilities[label]
                if size == k:
                    # Spares most of the logarithms, and decides as they would.
                    worst = probabilities[labels[0]]
                    if worst - p > _SURE * (worst + np.float32(_EPSILON)) or _log(p) < scores[0]:
                        continue
                size = _offer(scores, labels, size, _log(p), label)
        for last in range(size - 1, 0, -1):
            _pop(scores, labels, last + 1)
        for rank in range(size):
            out_labels[text, rank] = labels[rank]
            out_probabilities[text, rank] = math.exp(scores[rank])


@njit(cache=True, nogil=True)
def one(layer, hidden, has_rows, label, path, out):
    """Fill `out` (float32 [n]) with the probability of one label, 0 where `best` never names it.

    `path`: int32 nodes of the tree from the root to `label`; empty for the other losses.
    """
    probabilities = np.zeros(layer.by_dim.shape[1], np.float32)
    for text in range(len(hidden)):
        out[text] = 0
        if not has_rows[text]:
            continue
        if layer.loss != _HIERARCHICAL:
            _probabilities(layer, hidden[text], probabilities)
            out[text] = math.exp(_log(probabilities[label]))
            continue
        score = np.float32(0)
        for depth in range(1, len(path)):
            right = _right(layer, path[depth - 1], hidden[text])
            if layer.tree[path[depth - 1], 1] != path[depth]:
                right = np.float32(1 - np.float64(right))
            score += _log(right)
            if score < _LEAST:
                break
        if score >= _LEAST:
            out[text] = math.exp(score)
