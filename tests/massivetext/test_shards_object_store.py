"""Shards and token stores on an object store: the same records, fetching only what is read."""

import json
import os
import pickle

import numpy as np
import pytest

from massivetext import range_reads, shards
from massivetext.dataset import write_json
from massivetext.errors import InputError, VerifyError
from massivetext.mixture_records import MixtureRecords
from massivetext.storage import location
from massivetext.tokens import TokenStore
from massivetext.verify_shards import verify

from .. import object_store
from ..pipelines.test_mix import config, stores
from .test_shards import RECORD, edit, make, rewrite
from .test_tokens import write

SIZE = RECORD.record_bytes


@pytest.fixture(scope="module", autouse=True)
def store():
    with object_store.server() as url:
        yield url


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return make(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def remote(local):
    return object_store.upload(local, "shards")


@pytest.fixture
def asked(monkeypatch):
    """The ranges that are asked for, as (name, begin, end)."""
    found, original = [], range_reads.read_range

    def read_range(path, begin, end):
        found.append((path.name, begin, end))
        return original(path, begin, end)

    monkeypatch.setattr(range_reads, "read_range", read_range)
    return found


def test_records_are_those_of_the_files(local, remote):
    here, there = shards.open(local), shards.open(str(remote / "manifest.json"))
    assert len(there) == len(here) == 90
    for start, stop in ((0, 90), (38, 42), (5, 6), (79, 90), (12, 12)):
        for a, b in zip(here.read(start, stop), there.read(start, stop), strict=True):
            assert np.array_equal(a, b)
            assert a.dtype == b.dtype
    for k in (-1, 0, 41, 7, 89):
        assert np.array_equal(here[k], there[k])
    assert np.array_equal(here.heldout("c")[:], there.heldout("c")[:])
    # As a DataLoader hands them to its workers.
    again = pickle.loads(pickle.dumps(there))
    assert np.array_equal(again[77], here[77])


def test_a_record_costs_a_record(remote, asked):
    opened = shards.open(remote)
    for k in (57, 3, 80):
        opened[k]
    assert [end - begin for _, begin, end in asked] == [SIZE] * 3
    assert asked[0] == ("train-00001-of-00003.tfrecord", 17 * SIZE, 18 * SIZE)


def test_in_order_every_byte_is_fetched_once(local, remote, asked):
    opened = shards.open(remote)
    for start in range(0, 90, 4):
        opened.read(start, min(start + 4, 90))
        if start == 32:
            assert any(name.startswith("train-00001") for name, _, _ in asked)
    assert len(asked) == len(set(asked)) < 30
    assert sum(end - begin for _, begin, end in asked) == 90 * SIZE


def test_a_forked_process_reads(local, remote):
    opened = shards.open(remote)
    opened[0]
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(opened[50], shards.open(local)[50]) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_verify_proves_them(remote):
    assert "90 records in 3 files" in " ".join(verify(str(remote), quiet=True))


def test_verify_finds_what_is_wrong(tmp_path, local):
    folder = make(tmp_path / "shards")
    rewrite(folder, 1, 3, lambda row, tokens, *_: tokens.__setitem__((row, 1), 7))
    edit(folder, lambda manifest: manifest["files"][1].update(sha256="0" * 64))
    address = object_store.upload(folder, "wrong")
    with pytest.raises(VerifyError, match=r"s3://bucket/wrong/train-00001.* sha256 is not the man"):
        list(verify(address, quiet=True))
    (address / "train-9.tfrecord").write_bytes(b"")
    with pytest.raises(VerifyError, match=r"s3://bucket/wrong/train-9.tfrecord is not in the mani"):
        list(verify(address, quiet=True))


def test_damage_is_named(tmp_path):
    address = object_store.upload(make(tmp_path / "shards"), "damaged")
    path = address / "train-00002-of-00003.tfrecord"
    whole = path.read_bytes()
    opened = shards.open(address)
    path.write_bytes(whole[:100] + b"\xff\xff" + whole[102:])
    with pytest.raises(InputError, match=r"s3://.*train-00002.*: record 0 at byte 0 is corrupt"):
        opened[80]
    path.write_bytes(whole[: -SIZE - 1])
    with pytest.raises(InputError, match=r"s3://.*train-00002.*became shorter"):
        opened[88]
    with pytest.raises(InputError, match=r"s3://.*train-00002.* bytes instead of .* 8 whole"):
        shards.open(address)
    address.fs.rm_file(path.path)
    with pytest.raises(InputError, match=r"s3://.*train-00002.*missing.* records 80 to 89"):
        shards.open(address)


def test_no_shards_no_bucket_no_credentials(monkeypatch, remote):
    with pytest.raises(InputError, match="no shards in s3://bucket/nothing"):
        shards.open("s3://bucket/nothing")
    with pytest.raises(InputError, match=r"s3://no-such-bucket"):
        shards.open("s3://no-such-bucket/shards")
    # A server that is not there.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    type(remote.fs).clear_instance_cache()
    try:
        with pytest.raises(InputError, match=r"s3://bucket/elsewhere/manifest.json cannot be read"):
            shards.open("s3://bucket/elsewhere")
    finally:
        type(remote.fs).clear_instance_cache()


def test_token_stores(tmp_path):
    random = np.random.default_rng(3)
    parts = [[random.integers(2, 900, size).tolist() for size in (5, 40, 0, 300)] for _ in range(5)]
    manifest = write(tmp_path, parts)
    address = object_store.upload(tmp_path, "stores")
    here = TokenStore.open(tmp_path, "books", manifest)
    there = TokenStore.open(address, "books", manifest)
    numbers = random.permutation(here.sequences(16))
    assert np.array_equal(there.sequence(numbers, 16), here.sequence(numbers, 16))
    assert np.array_equal(there.slice(0, len(here)), here.slice(0, len(here)))
    assert np.array_equal(there.document_ends(), here.document_ends())
    assert np.array_equal(there.document_ends(3, 9), here.document_ends(3, 9))
    (address / manifest["subsets"]["books"]["parts"][2]["path"]).write_bytes(b"12")
    with pytest.raises(InputError, match=r"part-00002.tokens.*"):
        there.slice(0, len(here))
    with pytest.raises(VerifyError, match=r"s3://.*part-00002.tokens has 2 bytes, expected"):
        TokenStore.open(address, "books", manifest)


def test_mixtures_are_computed_from_stores(tmp_path):
    write_json(tmp_path / "manifests" / "tokens.json", stores(tmp_path))
    address, settings = object_store.upload(tmp_path, "mixture"), config(tmp_path)
    here, there = MixtureRecords(tmp_path, settings), MixtureRecords(address, settings)
    assert json.dumps(there.manifest, sort_keys=True) == json.dumps(here.manifest, sort_keys=True)
    for a, b in zip(here.read(0, len(here)), there.read(0, len(here)), strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(InputError, match="no token stores in s3://bucket/none"):
        MixtureRecords(location("s3://bucket/none"), settings)
