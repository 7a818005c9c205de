"""Reading ahead and gathering, against the bytes themselves; requests are counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext import range_reads
from massivetext.range_reads import ReadAhead, gather_ranges

SIZES = (700, 1, 0, 300, 2000)
FILES = [np.random.default_rng(size).bytes(size) for size in SIZES]
WHOLE = b"".join(FILES)
BOUNDS = [0, *np.cumsum([len(file) for file in FILES]).tolist()]
CHUNK, AHEAD = 64, 256


@pytest.fixture
def asked(monkeypatch):
    """Small sizes, and files in memory; the ranges that are asked for, as (file, begin, end)."""
    found = []

    def read_range(path, begin, end):
        found.append((path, begin, end))
        return FILES[path][begin:end]

    monkeypatch.setattr(range_reads, "read_range", read_range)
    monkeypatch.setattr(range_reads, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(range_reads, "AHEAD_BYTES", AHEAD)
    return found


def opened():
    return ReadAhead(range(len(FILES)), BOUNDS)


def fetched(asked):
    return sum(end - begin for _, begin, end in asked)


def test_reads_in_order_fetch_every_byte_once_and_ahead(asked):
    stream = opened()
    for begin in range(0, len(WHOLE), 10):
        end = min(begin + 10, len(WHOLE))
        assert stream.read(begin, end).tobytes() == WHOLE[begin:end]
        assert stream.read(begin, end).tobytes() == WHOLE[begin:end]  # again, as who checks it does
        ahead = stream._chunks[-1].end - end
        assert ahead <= AHEAD + CHUNK
        if begin == 500:
            assert ahead >= AHEAD  # into the file after next
    stream._threads.shutdown()
    pieces = sorted(asked)
    assert len(pieces) == len(set(pieces))
    assert b"".join(FILES[file][begin:end] for file, begin, end in pieces) == WHOLE
    assert max(end - begin for _, begin, end in pieces) == CHUNK


def test_who_jumps_fetches_what_he_asks_for(asked):
    stream = opened()
    for begin in (500, 100, 2500, 690, 1500):
        assert stream.read(begin, begin + 20).tobytes() == WHOLE[begin : begin + 20]
    assert fetched(asked) == 5 * 20
    assert {(0, 690, 700), (1, 0, 1), (3, 0, 9)} < set(asked)


def test_large_reads_are_cut_into_chunks(asked):
    assert opened().read(710, 1100).tobytes() == WHOLE[710:1100]
    assert fetched(asked) - 390 <= AHEAD + CHUNK
    assert max(end - begin for _, begin, end in asked) <= CHUNK


def test_nothing_is_read_of_nothing(asked):
    assert opened().read(40, 40).tobytes() == b""


def test_what_failed_is_tried_again(asked, monkeypatch):
    stream, works = opened(), range_reads.read_range

    def fails(path, begin, end):
        raise OSError("no network")

    monkeypatch.setattr(range_reads, "read_range", fails)
    with pytest.raises(OSError, match="no network"):
        stream.read(0, 10)
    monkeypatch.setattr(range_reads, "read_range", works)
    assert stream.read(0, 10).tobytes() == WHOLE[:10]


@given(
    st.lists(
        st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 400), st.integers(1, 5)), max_size=8
    )
)
def test_any_reads_give_the_bytes(runs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(range_reads, "read_range", lambda path, begin, end: FILES[path][begin:end])
        patch.setattr(range_reads, "CHUNK_BYTES", CHUNK)
        patch.setattr(range_reads, "AHEAD_BYTES", AHEAD)
        stream = opened()
        for start, size, times in runs:
            for begin in range(start, min(start + times * size, len(WHOLE)), size or 1):
                end = min(begin + size, len(WHOLE))
                assert stream.read(begin, end).tobytes() == WHOLE[begin:end]


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1), st.integers(1, 200)), max_size=30))
def test_any_pieces_are_gathered(chosen):
    pieces = sorted(
        (file, begin, min(begin + size, len(FILES[file])))
        for file, where, size in chosen
        if (begin := int(where * max(0, len(FILES[file]) - 1))) < len(FILES[file])
    )
    asked = []

    def read_ranges(paths, begin, end):
        asked.append(sum(end) - sum(begin))
        return [FILES[p][b:e] for p, b, e in zip(paths, begin, end, strict=True)]

    file, begin, end = (np.array([piece[i] for piece in pieces], np.int64) for i in range(3))
    at = np.cumsum(end - begin) - (end - begin)
    out = np.zeros(int((end - begin).sum()), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(range_reads, "_read_ranges", read_ranges)
        patch.setattr(range_reads, "GAP_BYTES", 20)
        patch.setattr(range_reads, "CHUNK_BYTES", 100)
        patch.setattr(range_reads, "GATHERED_BYTES", 500)
        gather_ranges(range(len(FILES)), file, begin, end, out, at)
    assert out.tobytes() == b"".join(FILES[f][b:e] for f, b, e in pieces)
    # A block is of pieces that begin in 100 bytes, and of no more than 500 bytes are two at once.
    assert max(asked, default=0) <= 500 + 300


def test_near_pieces_are_one_request_and_far_ones_are_not(monkeypatch):
    asked = []

    def read_ranges(paths, begin, end):
        asked.extend(zip(paths, begin, end, strict=True))
        return [FILES[p][b:e] for p, b, e in zip(paths, begin, end, strict=True)]

    monkeypatch.setattr(range_reads, "_read_ranges", read_ranges)
    monkeypatch.setattr(range_reads, "GAP_BYTES", 20)
    file = np.array([0, 0, 0, 3])
    begin, end = np.array([0, 30, 61, 61]), np.array([10, 40, 70, 70])
    out = np.zeros(39, np.uint8)
    gather_ranges(range(5), file, begin, end, out, np.array([29, 0, 10, 20]))
    assert asked == [(0, 0, 40), (0, 61, 70), (3, 61, 70)]
    assert (
        out.tobytes() == FILES[0][30:40] + FILES[0][61:70] + b"\0" + FILES[3][61:70] + FILES[0][:10]
    )
