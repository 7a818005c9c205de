"""Union-find against a search through the graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.unionfind import UnionFind

EDGES = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=60)


def search(size, edges):
    label = list(range(size))
    while True:
        new = list(label)
        for a, b in edges:
            new[a] = new[b] = min(new[a], new[b])
        if new == label:
            return label
        label = new


def components(size, *batches):
    graph = UnionFind(size)
    for edges in batches:
        ends = np.array(edges, np.uint32).reshape(-1, 2)
        graph.add(ends[:, 0], ends[:, 1])
    return graph.labels().tolist()


def test_a_batch_much_longer_than_what_is_fetched_ahead():
    rng = np.random.default_rng(2)
    ends = rng.integers(0, 2000, (3000, 2)).astype(np.uint32)
    for dtype in (np.uint32, np.int64):
        edges = ends.astype(dtype)
        graph = UnionFind(2000)
        graph.add(edges[:, 0], edges[:, 1])
        assert graph.labels().tolist() == search(2000, ends.tolist())


@settings(deadline=None)
@given(EDGES, st.integers(0, 60), st.randoms())
def test_equals_search_whatever_the_order(edges, cut, rng):
    expected = search(30, edges)
    assert components(30, edges[:cut], edges[cut:]) == expected
    mixed = [edge[::-1] for edge in edges]
    rng.shuffle(mixed)
    assert components(30, mixed) == expected


def test_a_long_chain_in_the_worst_order():
    n = 200_000
    chain = np.arange(n, dtype=np.uint32)
    graph = UnionFind(n)
    graph.add(chain[:0:-1], chain[-2::-1])
    assert not graph.labels().any()
    assert graph.labels().dtype == np.uint32


def test_no_nodes_and_no_edges():
    assert components(0) == []
    assert components(3, []) == [0, 1, 2]


def test_edges_must_stay_inside():
    with pytest.raises(IndexError, match="3 nodes"):
        components(3, [(0, 3)])
    with pytest.raises(ValueError, match="32-bit"):
        UnionFind(2**32)
    with pytest.raises(ValueError, match="left ends"):
        UnionFind(3).add(np.array([0]), np.array([1, 2]))
