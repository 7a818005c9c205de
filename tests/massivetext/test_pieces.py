"""Intervals cut at bounds, pieces of files read into one array."""

import os

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from massivetext.pieces import cut, read_pieces


def array(values):
    return np.array(values, np.int64)


def test_intervals_are_cut_by_hand():
    bounds = array([0, 4, 4, 10, 12])
    found = cut(array([1, 4, 3]), array([3, 10, 12]), bounds)
    assert [column.tolist() for column in found] == [
        [0, 1, 2, 2, 2],
        [0, 2, 0, 2, 3],
        [1, 4, 3, 4, 10],
        [3, 10, 4, 10, 12],
    ]
    assert [len(column) for column in cut(array([0, 4]), array([0, 4]), bounds)] == [0] * 4


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.data())
def test_pieces_cover_their_intervals_cell_by_cell(sizes, draw):
    bounds = np.cumsum([0, *sizes])
    edges = st.integers(0, int(bounds[-1]))
    intervals = [sorted(draw.draw(st.tuples(edges, edges))) for _ in range(5)]
    begin, end = array(intervals).T
    cells = np.repeat(np.arange(len(sizes)), sizes)
    expected = [(i, cells[p], p) for i, (a, b) in enumerate(intervals) for p in range(a, b)]
    pieces = list(zip(*cut(begin, end, bounds), strict=True))
    assert [(i, cell, p) for i, cell, a, b in pieces for p in range(a, b)] == expected
    assert len({(i, cell) for i, cell, _, _ in pieces}) == len(pieces)


def test_pieces_of_several_files(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for path, content in zip(paths, (b"0123456789", b"abcdefgh"), strict=True):
        path.write_bytes(content)
    files = [os.open(path, os.O_RDONLY) for path in paths]
    try:
        out = np.full(9, ord("."), np.uint8)
        numbers = np.array([files[1], files[0], files[1]], np.int32)
        begin, end, at = array([2, 0, 7]), array([5, 2, 8]), array([5, 1, 0])
        assert read_pieces(numbers, begin, end, out, at) == -1
        assert out.tobytes() == b"h01..cde."
        # The first that fails: behind the end of the file; no such file; no such place in `out`.
        assert read_pieces(numbers, begin, array([5, 11, 9]), np.zeros(20, np.uint8), at) == 1
        numbers[2] = 10**6
        assert read_pieces(numbers, begin, end, out, at) == 2
        assert read_pieces(numbers[:2], begin, end, out, array([7, 0])) == 0
        assert read_pieces(numbers[:2], begin, end, out, array([6, -1])) == 1
    finally:
        for file in files:
            os.close(file)
