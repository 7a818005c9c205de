"""Connected components by union-find over dense document numbers.

The parent array is all the state: 4 bytes a document, so 2.35 billion documents take 9.4 GB. A
component's root is its smallest number, so the result does not depend on the order of the edges.
"""

import numpy as np
from numba import njit

MAX_NODES = 2**32 - 1


@njit(inline="always")
def _find(parent, x):
    while parent[x] != x:
        # Path halving: every other node on the way is hung one level higher.
        parent[x] = parent[parent[x]]
        x = np.int64(parent[x])
    return x


@njit(cache=True, nogil=True)
def _union(parent, left, right):
    for i in range(len(left)):
        a = _find(parent, np.int64(left[i]))
        b = _find(parent, np.int64(right[i]))
        if a < b:
            parent[b] = np.uint32(a)
        elif b < a:
            parent[a] = np.uint32(b)


@njit(cache=True, nogil=True)
def _flatten(parent):
    # A parent is never larger than its child, so it is flat already when the child is reached.
    for x in range(len(parent)):
        parent[x] = parent[parent[x]]


class UnionFind:
    """Components of a graph of `size` nodes whose edges arrive in batches, in any order."""

    def __init__(self, size: int):
        if not 0 <= size <= MAX_NODES:
            raise ValueError(f"{size} nodes do not fit in 32-bit numbers")
        self.parent = np.arange(size, dtype=np.uint32)

    def add(self, left: np.ndarray, right: np.ndarray) -> None:
        """Join `left[i]` with `right[i]` for every i; integer arrays of one length."""
        if len(left) != len(right):
            raise ValueError(f"{len(left)} left ends and {len(right)} right ends")
        for ends in (left, right):
            if len(ends) and not 0 <= int(ends.min()) <= int(ends.max()) < len(self.parent):
                raise IndexError(f"an edge leaves the {len(self.parent)} nodes")
        _union(self.parent, left, right)

    def labels(self) -> np.ndarray:
        """Return the smallest number of each node's component, uint32 [size]; shares memory."""
        _flatten(self.parent)
        return self.parent
