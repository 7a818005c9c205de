"""Buffers that spill to disk, and how their elements are cut into bundles."""

import contextlib
import errno
import tempfile
from pathlib import Path

import pytest
from apache_beam.coders import coders
from apache_beam.transforms import core
from apache_beam.transforms.window import GlobalWindows

from massivetext.pipelines import spill
from massivetext.pipelines.feed import Feed
from massivetext.pipelines.spill import ChunkList, SpillBuffer, SpillFile, SpillGroups
from massivetext.scratch import DiskFullError, run_folder


@pytest.fixture
def disk(tmp_path):
    file = SpillFile(tmp_path)
    yield file
    file.close()


def test_chunks_beyond_the_memory_go_to_disk(disk):
    chunks = ChunkList(disk, 10)
    for chunk in (b"123456", b"7890", b"a", b""):
        chunks.append(chunk)
    assert disk._end == 1
    assert list(chunks) == list(chunks.copy()) == [b"123456", b"7890", b"a", b""]
    assert chunks.bytes == 11


def groups(disk, memory, pairs, level=0):
    pair = coders.TupleCoder([coders.BytesCoder(), coders.VarIntCoder()])
    grouped = coders.TupleCoder([coders.BytesCoder(), coders.IterableCoder(coders.VarIntCoder())])
    windows = GlobalWindows().get_window_coder()
    before = coders.WindowedValueCoder(pair, windows)
    after = coders.WindowedValueCoder(grouped, windows)
    buffer = SpillGroups(before, after, core.Windowing(GlobalWindows()), disk, memory, level)
    for start in range(0, len(pairs), 7):
        stream = coders.coder_impl.create_OutputStream()
        for one in pairs[start : start + 7]:
            before.get_impl().encode_to_stream(GlobalWindows.windowed_value(one), stream, True)
        buffer.append(stream.get())

    def read():
        out = [after.get_impl().decode_nested(element).value for element in buffer]
        assert len(out) == len({key for key, _ in out})
        return {key: list(values) for key, values in out}

    return buffer, read


@pytest.mark.parametrize("memory", [1 << 20, 3000, 200, 0])
def test_groups_at_every_size_of_memory(disk, memory):
    pairs = [(b"%d" % (i * i % 101), i) for i in range(1000)]
    expected = {}
    for key, value in pairs:
        expected.setdefault(key, []).append(value)
    buffer, read = groups(disk, memory, pairs)
    assert read() == expected
    assert read() == expected
    assert (disk._end > 0) == (memory < buffer.bytes)


def test_one_hot_key_does_not_split_for_ever(disk):
    _, read = groups(disk, 100, [(b"hot", i) for i in range(500)])
    assert read() == {b"hot": list(range(500))}


def test_groupings_merge(disk):
    first, read = groups(disk, 50, [(b"a", 1), (b"b", 2)])
    second, _ = groups(disk, 50, [(b"a", 3), (b"c", 4)])
    first.extend(second)
    assert read() == {b"a": [1, 3], b"b": [2], b"c": [4]}


def test_adopted_chunks_stay_where_they_are_on_disk(disk):
    first, second = ChunkList(disk, 3), ChunkList(disk, 8)
    for chunk in (b"123", b"4567", b"89"):
        first.append(chunk)
    end = disk._end
    second.append(b"0")
    second.adopt(first)
    assert list(second) == [b"0", b"123", b"4567", b"89"]
    assert second.bytes == 10
    assert disk._end == end
    third = ChunkList(disk, 0)
    third.adopt(second)
    assert list(third) == list(second)


def test_groups_adopt_what_an_attempt_has_written(disk):
    pairs = [(b"%d" % (i % 7), i) for i in range(100)]
    whole, read_whole = groups(disk, 50, pairs)
    empty, read = groups(disk, 50, [])
    chunks = ChunkList(disk, 20)
    for bucket in whole._present():
        for chunk in whole._chunks(bucket):
            chunks.append(chunk)
    empty.adopt(chunks)
    assert read() == read_whole()


def test_a_full_disk_tells_the_folder_the_bytes_and_what_to_do(monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with run_folder("pipeline") as folder, contextlib.closing(SpillFile(folder)) as disk:
        disk.append(bytes(1000))
        monkeypatch.setattr(spill.os, "pwrite", full)
        with pytest.raises(DiskFullError) as caught:
            disk.append(b"x")
    assert str(caught.value) == (
        f"the disk is full, or a limit was reached, at {folder} (No space left on device): this "
        "run kept 1.0 kB there; set MASSIVETEXT_SCRATCH to a folder on a disk with more room, then "
        "run the same command again to continue"
    )


def test_a_disk_that_fails_names_the_folder(disk, monkeypatch, tmp_path):
    def fail(*args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(spill.os, "pwrite", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        disk.append(b"x")
    assert caught.value.filename == str(tmp_path)


def feed(count, workers, size=10, memory=1 << 20):
    file = SpillFile(Path(tempfile.gettempdir()))
    buffer = SpillBuffer(coders.BytesCoder().get_impl(), file, memory)
    for i in range(count):
        buffer.append(coders.BytesCoder().get_impl().encode_nested(b"%0*d" % (size, i)))
    return Feed({"in": buffer, "other": SpillBuffer(None, file, 0)}, workers)


def test_slow_elements_come_one_by_one():
    source = feed(5, 2)
    taken = []
    while (bundle := source.take()) is not None:
        source.took(1.5)
        assert bundle["other"] == []
        taken.append(len(bundle["in"]))
    assert taken == [1] * 5


def test_quick_elements_come_in_growing_bundles_that_leave_enough_for_others():
    source = feed(1000, 2)
    taken = []
    while (bundle := source.take()) is not None:
        source.took(0.001)
        taken.append(len(bundle["in"]))
    assert sum(taken) == 1000
    assert taken[:6] == [1, 2, 4, 8, 16, 32]
    assert max(taken) <= 1000 // 8
    assert taken[-5:] == [1] * 5


def test_a_stage_without_input_gets_one_empty_bundle():
    source = feed(0, 2)
    assert source.take() == {"in": [], "other": []}
    assert source.take() is None
