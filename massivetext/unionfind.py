"""Connected components by union-find over dense document numbers.

The parent array is all the state: 4 bytes a document, so 2.35 billion documents take 9.4 GB. A
component's root is its smallest number, so the result does not depend on the order of the edges.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

MAX_NODES = 2**32 - 1
# How many edges ahead the ends, and then their parents, are called from memory: nearly all of the
# time goes into waiting for it, and this makes random edges a quarter faster.
_ENDS_AHEAD = 32
_PARENTS_AHEAD = 16


@intrinsic
def _prefetch(typingctx, array, i):
    """Ask for `array[i]` to be brought into the cache, to be written."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        # Write access, high locality, data cache.
        builder.call(hint, [address, number(1), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@njit(inline="always")
def _find(parent, x):
    while parent[x] != x:
        # Path halving: every other node on the way is hung one level higher.
        parent[x] = parent[parent[x]]
        x = np.int64(parent[x])
    return x


@njit(cache=True, nogil=True)
def _union(parent, left, right):
    n = len(left)
    for i in range(n):
        if i + _ENDS_AHEAD < n:
            _prefetch(parent, np.int64(left[i + _ENDS_AHEAD]))  # type: ignore[call-arg]
            _prefetch(parent, np.int64(right[i + _ENDS_AHEAD]))  # type: ignore[call-arg]
        if i + _PARENTS_AHEAD < n:
            _prefetch(parent, np.int64(parent[left[i + _PARENTS_AHEAD]]))  # type: ignore[call-arg]
            _prefetch(parent, np.int64(parent[right[i + _PARENTS_AHEAD]]))  # type: ignore[call-arg]
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
