"""Files appear only when whole, with the hash of what is on the disk."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from massivetext import dataset
from massivetext.dataset import ParquetFile, atomic_file, read_json, sha256_file, write_json
from massivetext.errors import StageError

SCHEMA = pa.schema([pa.field("n", pa.int64())])


def batch(values):
    return pa.RecordBatch.from_arrays([pa.array(values, pa.int64())], schema=SCHEMA)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a") as out:
        out.write(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path):
    with atomic_file(tmp_path / "a") as out:
        out.write(b"old")
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a") as out:
        out.write(b"new")
        raise RuntimeError
    assert (tmp_path / "a").read_bytes() == b"old"


def test_full_disk_leaves_no_parquet(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), ParquetFile(tmp_path, "a", SCHEMA) as file:
        file.write(batch([1]))
        monkeypatch.setattr(dataset.HashingFile, "write", full)
    assert list(tmp_path.iterdir()) == []


def test_parquet_record_describes_the_file(tmp_path):
    with ParquetFile(tmp_path, "x/a.parquet", SCHEMA) as file:
        file.write(batch([1, 2]))
        file.write(batch([]))
        file.write(batch([3]))
    path = tmp_path / "x/a.parquet"
    assert pq.read_table(path).column("n").to_pylist() == [1, 2, 3]
    assert file.record.rows == 3
    assert file.record.bytes == path.stat().st_size
    assert file.record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == sha256_file(path)


def test_row_groups_are_cut_by_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "ROW_GROUP_BYTES", 80)
    with ParquetFile(tmp_path, "a.parquet", SCHEMA) as file:
        for _ in range(5):
            file.write(batch([1] * 6))  # 48 bytes: a group after every second batch
    meta = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [12, 12, 6]


def test_json_round_trip_and_damage(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    assert read_json(tmp_path / "a.json") == {"a": [2], "b": 1}
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(StageError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")
