"""Files of this machine and of an S3 store, through the same functions."""

import hashlib
import json
import os
import pickle
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from massivetext import claim, storage, store_files, store_glob
from massivetext.dataset import (
    ParquetFile,
    atomic_file,
    claimed,
    open_parquet,
    read_json,
    read_table,
    sha256_file,
    write_json,
)
from massivetext.errors import ConfigError
from massivetext.mapped import map_array, read_arrow, save_array, write_arrow
from massivetext.storage import is_remote, location
from tests.object_store import server


@pytest.fixture(scope="module")
def store():
    with server() as url:
        yield url


@pytest.fixture(params=["disk", "store"])
def folder(request, tmp_path):
    """A folder of this machine, and one of the store."""
    if request.param == "disk":
        return tmp_path
    request.getfixturevalue("store")
    return location(f"s3://bucket/{tmp_path.name}")


def put(path, data):
    with atomic_file(path) as file:
        file.write(data)


def test_an_address_is_a_place_on_a_store_and_all_else_a_path(store):
    assert location("a/b") == Path("a/b")
    assert location(Path("/a")) == Path("/a")
    assert not is_remote("C:/a")
    assert not is_remote(Path("s3:/a"))
    place = location("s3://bucket/a/")
    assert is_remote(place)
    assert is_remote("s3://bucket/a")
    assert str(place / "b.json") == "s3://bucket/a/b.json"
    assert location(place) == place
    # As Beam hands a DoFn that holds one to its workers.
    assert pickle.loads(pickle.dumps(place)) == place


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s4://bucket/a", "s4://bucket/a: there is no store 's4'; did you mean 's3'?"),
        ("http://x/y", "no store 'http'; valid: gs, hdfs, s3"),
        ("s3://", "s3:// names no bucket; write s3://BUCKET/FOLDER"),
    ],
)
def test_an_address_that_cannot_be_understood_is_refused(address, message):
    with pytest.raises(ConfigError) as error:
        location(address)
    assert message in str(error.value)


def test_a_store_whose_package_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setattr(storage.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package gcsfs; run: pip install 'massivet"):
        location("gs://bucket/a")


def test_files_read_back_as_they_were_written(folder):
    data = bytes(range(256)) * 100
    put(folder / "a/b.bin", data)
    put(folder / "empty", b"")
    assert storage.read_bytes(folder / "a/b.bin") == data
    assert storage.read_bytes(folder / "empty") == b""
    assert storage.size(folder / "a/b.bin") == len(data)
    assert storage.sizes(folder) == {"a/b.bin": len(data), "empty": 0}
    assert storage.sizes(folder / "a") == {"b.bin": len(data)}
    assert storage.sizes(folder / "none") == {}
    assert storage.exists(folder / "a")
    assert storage.exists(folder / "a/b.bin")
    assert not storage.exists(folder / "a/b")
    assert sha256_file(folder / "a/b.bin") == hashlib.sha256(data).hexdigest()
    with storage.open_binary(folder / "a/b.bin") as file:
        file.seek(-3, os.SEEK_END)
        assert file.read() == data[-3:]
        file.seek(5)
        assert (file.read(4), file.tell()) == (data[5:9], 9)
    with storage.local_copy(folder / "a/b.bin") as copy:
        assert copy.name == "b.bin"
        assert copy.read_bytes() == data
    assert copy.exists() != is_remote(folder)
    ranges = [(folder / "a/b.bin", 0, 3), (folder / "a/b.bin", 250, 260), (folder / "empty", 0, 0)]
    assert storage.read_ranges(ranges) == [data[:3], data[250:260], b""]
    assert storage.read_all([folder / "empty", folder / "a/b.bin"]) == [b"", data]
    assert storage.read_all([folder / "empty"]) == [b""]
    assert storage.read_all([]) == []


def test_removed_is_removed(folder):
    for name in ("a/b", "a/c/d", "e"):
        put(folder / name, b"1")
    storage.remove(folder / "e")
    storage.remove(folder / "e")
    storage.remove_tree(folder / "a/c")
    assert storage.sizes(folder) == {"a/b": 1}
    storage.remove_tree(folder)
    storage.remove_tree(folder)
    assert storage.sizes(folder) == {}


def test_a_large_object_goes_up_in_pieces(store, monkeypatch):
    monkeypatch.setattr(store_files, "UPLOAD_BYTES", 5 << 20)
    path = location("s3://bucket/large")
    data = np.arange(3 << 20, dtype="<u4").tobytes()
    with atomic_file(path) as file:
        for start in range(0, len(data), 3 << 20):
            file.write(data[start : start + (3 << 20)])
        assert not storage.exists(path)
    assert file.digest.hexdigest() == sha256_file(path)
    with storage.open_binary(path, block=1 << 20) as read:
        for start in (len(data) - 7, 0, 6_000_000):
            read.seek(start)
            assert read.read(100) == data[start : start + 100]


@pytest.mark.parametrize("size", [10, 6 << 20])
def test_what_fails_half_way_leaves_nothing(folder, monkeypatch, size):
    monkeypatch.setattr(store_files, "UPLOAD_BYTES", 5 << 20)
    put(folder / "kept", b"before")
    for name in ("kept", "new"):
        with pytest.raises(ZeroDivisionError), atomic_file(folder / name) as file:
            file.write(b"x" * size)
            _ = 1 / 0
    assert storage.sizes(folder) == {"kept": 6}
    assert storage.read_bytes(folder / "kept") == b"before"


def test_a_store_that_fails_half_way_through_an_upload_leaves_nothing(store, monkeypatch):
    import s3fs

    monkeypatch.setattr(store_files, "UPLOAD_BYTES", 5 << 20)
    path = location("s3://bucket/failed")
    call = s3fs.S3File._call_s3

    def fail(self, method, *args, **kwargs):
        if method == "upload_part" and kwargs["PartNumber"] == 2:
            raise PermissionError("Access Denied")
        return call(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3File, "_call_s3", fail)
    with pytest.raises(PermissionError) as error, atomic_file(path) as file:
        for _ in range(4):
            file.write(b"x" * (4 << 20))
    assert error.value.filename == "s3://bucket/failed"
    assert error.value.strerror == "Access Denied; these credentials may not do this here"
    assert not storage.exists(path)


@pytest.mark.parametrize(
    "read", [storage.size, storage.read_bytes, lambda p: storage.open_binary(p).read(), sha256_file]
)
def test_what_is_not_there_is_named(store, read):
    for address, reason in (
        ("s3://bucket/nothing", "there is no such object"),
        ("s3://no-such-bucket/a", "make the bucket, or correct its name"),
    ):
        with pytest.raises(FileNotFoundError) as error:
            read(location(address))
        assert error.value.filename == address
        assert reason in str(error.value) or "no such object" in str(error.value)


def test_a_folder_is_no_file(store):
    put(location("s3://bucket/folder/file"), b"1")
    with pytest.raises(FileNotFoundError):
        storage.size(location("s3://bucket/folder"))


def test_missing_credentials_say_so(store, monkeypatch, tmp_path):
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(OSError, match="give this machine credentials") as error:
            storage.read_bytes(location("s3://bucket/a"))
        assert error.value.filename == "s3://bucket/a"
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_an_error_of_ours_keeps_its_kind_inside_an_upload(store, tmp_path):
    with pytest.raises(FileNotFoundError) as error, atomic_file(location("s3://bucket/x")):
        (tmp_path / "none").read_bytes()
    assert error.value.filename == str(tmp_path / "none")


def test_json_tables_and_arrays(folder):
    write_json(folder / "a.json", {"b": [1]})
    assert read_json(folder / "a.json") == {"b": [1]}
    batch = pa.record_batch({"n": [1, 2, 3], "t": ["x", "y", "z"]})
    with ParquetFile(folder, "t.parquet", batch.schema) as file:
        file.write(batch)
    assert sha256_file(folder / "t.parquet") == file.record.sha256
    assert read_table(folder / "t.parquet").to_pylist() == batch.to_pylist()
    assert read_table(folder / "t.parquet", ["t", "n"]).column_names == ["t", "n"]
    with open_parquet(folder / "t.parquet") as found:
        assert found.metadata.num_rows == 3
    table = pa.Table.from_batches([batch])
    write_arrow(folder / "t.arrow", table)
    assert read_arrow(folder / "t.arrow", table.schema).equals(table)
    assert read_arrow(folder / "none.arrow", table.schema).num_rows == 0
    for values in (np.arange(5, dtype=np.uint32), np.arange(7, dtype=np.uint32)):
        save_array(folder / "a.npy", values)  # written anew, it is read anew
        np.testing.assert_array_equal(map_array(folder / "a.npy"), values)


def test_globs_of_addresses_mean_what_they_mean_for_files(store, tmp_path):
    import glob

    names = ("a.txt", "b/a.txt", "b/c/d.txt", "b/.h/e.txt", ".f.txt", "b/g.json", "bb/a.txt")
    for name in names:
        path = tmp_path / "glob" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
        put(location(f"s3://bucket/glob/{name}"), b"1")
    for pattern in ("*.txt", "**/*.txt", "*/a.txt", "b/**", "?/*.*", "[ab].txt", "**/c/*", ".*"):
        local = {
            str(Path(found).relative_to(tmp_path))
            for found in glob.glob(f"{tmp_path}/glob/{pattern}", recursive=True)
            if Path(found).is_file()
        }
        found = store_glob.find(f"s3://bucket/glob/{pattern}")
        direct = {match.path.removeprefix("s3://bucket/") for match in found if not match.inside}
        assert direct == local, pattern
    assert store_glob.find("s3://bucket/glob/b/c") == [("s3://bucket/glob/b/c/d.txt", 1, "d.txt")]
    assert store_glob.find("s3://bucket/glob/a.txt") == [("s3://bucket/glob/a.txt", 1, "")]
    assert store_glob.find("s3://bucket/glob/none") == []


def test_one_run_at_a_time_holds_an_output(store):
    root = location("s3://bucket/held")
    with claimed(root):
        kept = json.loads(storage.read_bytes(root / ".claim"))
        assert (kept["pid"], kept["host"]) == (os.getpid(), socket.gethostname())
        with (
            pytest.raises(ConfigError, match="another massivetext is working in s3://bucket/held"),
            claimed(root),
        ):
            raise AssertionError
    assert not storage.exists(root / ".claim")
    with pytest.raises(ZeroDivisionError), claimed(root):
        _ = 1 / 0
    with claimed(root):
        pass


def test_the_claim_of_a_run_that_was_killed_is_taken_over(store, monkeypatch):
    root = location("s3://bucket/left")
    # On another machine nothing can be known of its process: it is dead when it falls silent.
    theirs = {"host": "elsewhere", "machine": ["boot", "ns"], "pid": 1, "started": "then"}
    storage.write_bytes(root / ".claim", json.dumps(theirs).encode())
    words = r"process 1 of host elsewhere.* run this again in (1 min 5|2 min)"
    with pytest.raises(ConfigError, match=words):
        claimed(root).__enter__()
    later = SimpleNamespace(time=lambda: time.time() + claim.STALE_SECONDS + 5)
    with monkeypatch.context() as patched:
        patched.setattr(claim, "time", later)
        with claimed(root):
            assert json.loads(storage.read_bytes(root / ".claim"))["pid"] == os.getpid()
    # On this machine it is dead when its process is gone.
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    theirs = {"host": "here", "machine": claim._machine(), "pid": gone, "started": "then"}
    storage.write_bytes(root / ".claim", json.dumps(theirs).encode())
    with claimed(root):
        assert json.loads(storage.read_bytes(root / ".claim"))["pid"] == os.getpid()


def test_a_claim_is_kept_fresh(store, monkeypatch):
    monkeypatch.setattr(claim, "REFRESH_SECONDS", 0.01)
    root = location("s3://bucket/fresh")
    with claimed(root):
        claimed_by = storage.read_bytes(root / ".claim")
        storage.remove(root / ".claim")
        for _ in range(1000):
            if storage.exists(root / ".claim"):
                break
            time.sleep(0.01)
        assert storage.read_bytes(root / ".claim") == claimed_by


def test_a_claim_that_was_taken_over_is_left_alone(store, monkeypatch):
    monkeypatch.setattr(claim, "REFRESH_SECONDS", 0.01)
    path = location("s3://bucket/taken") / ".claim"
    with claimed(path.parent):
        storage.write_bytes(path, b"another's")
        time.sleep(0.5)
        assert storage.read_bytes(path) == b"another's"
    assert storage.read_bytes(path) == b"another's"


def test_an_output_that_cannot_be_written_is_refused(store):
    with (
        pytest.raises(ConfigError, match=r"output s3://no-such-bucket/a cannot be written: .*make"),
        claimed(location("s3://no-such-bucket/a")),
    ):
        raise AssertionError
