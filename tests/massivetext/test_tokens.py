"""Token stores: the stream, its sequences across part boundaries, and files that do not fit."""

import resource
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.errors import ConfigError, VerifyError
from massivetext.tokens import TokenStore, close_documents

EOS, PAD = 1, 0


def write(root, parts, dtype="uint16", name="books"):
    """Write `parts`, each a list of documents (lists of tokens); return a manifest."""
    entries = []
    for i, documents in enumerate(parts):
        path = root / f"tokens/{name}/part-{i:05d}.tokens"
        path.parent.mkdir(parents=True, exist_ok=True)
        closed = [[*document, EOS] for document in documents]
        tokens = np.array([t for document in closed for t in document], f"<{dtype[0]}{_w(dtype)}")
        path.write_bytes(tokens.tobytes())
        ends = np.cumsum([len(document) for document in closed]).astype("<u8")
        path.with_suffix(".documents").write_bytes(ends.tobytes())
        entries.append(
            {
                "path": str(path.relative_to(root)),
                "documents": len(documents),
                "tokens": len(tokens),
                "text_bytes": 10 * len(documents),
            }
        )
    totals = {k: sum(e[k] for e in entries) for k in ("documents", "tokens", "text_bytes")}
    stores = {name.removeprefix("heldout/"): {**totals, "parts": entries}}
    kind = "heldout" if name.startswith("heldout/") else "subsets"
    return {"subsets": {}, "heldout": {}, kind: stores} | {
        "dtype": dtype,
        "eos_id": EOS,
        "pad_id": PAD,
    }


def _w(dtype):
    return np.dtype(dtype).itemsize


def stream(parts):
    return [EOS, *(t for part in parts for document in part for t in [*document, EOS])]


def test_sequences_by_hand(tmp_path):
    parts = [[[10, 11, 12], [13]], [], [[14, 15, 16, 17]], [[]]]
    store = TokenStore.open(tmp_path, "books", write(tmp_path, parts))
    assert (len(store), store.documents, store.text_bytes) == (12, 4, 40)
    assert store.slice(0, 12).tolist() == [10, 11, 12, 1, 13, 1, 14, 15, 16, 17, 1, 1]
    assert store.sequences(5) == 3
    assert store.sequence(0, 5).tolist() == [1, 10, 11, 12, 1, 13]
    assert store.sequence(1, 5).tolist() == [13, 1, 14, 15, 16, 17]
    assert store.sequence(2, 5).tolist() == [17, 1, 1, 0, 0, 0]
    assert [store.targets(i, 5) for i in range(3)] == [5, 5, 2]
    assert (store.sequences(12), store.sequences(11), store.sequences(13)) == (1, 2, 1)
    assert store.sequence(0, 13).tolist() == [*stream(parts), PAD]
    assert store.document_ends().tolist() == [4, 6, 11, 12]


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.lists(st.lists(st.integers(2, 65535), max_size=6), max_size=4), max_size=5),
    length=st.integers(1, 9),
    dtype=st.sampled_from(["uint16", "uint32"]),
)
def test_every_token_is_a_target_once(tmp_path_factory, parts, length, dtype):
    root = tmp_path_factory.mktemp("store")
    store = TokenStore.open(root, "books", write(root, parts, dtype))
    whole = stream(parts)
    assert len(store) == len(whole) - 1
    targets = []
    for i in range(store.sequences(length)):
        sequence = store.sequence(i, length)
        real = store.targets(i, length)
        assert sequence.shape == (length + 1,)
        assert sequence.dtype == np.dtype(dtype)
        expected = whole[i * length : i * length + length + 1]
        assert sequence.tolist() == expected + [PAD] * (length + 1 - len(expected))
        targets += sequence[1 : 1 + real].tolist()
    assert targets == whole[1:]
    for start in range(len(whole)):
        for stop in range(start, len(whole)):
            assert store.slice(start, stop).tolist() == whole[1 + start : 1 + stop]


def test_slices_within_a_part_are_read_only(tmp_path):
    store = TokenStore.open(tmp_path, "books", write(tmp_path, [[[5] * 100], [[6] * 100]]))
    view = store.slice(10, 90)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


def test_stores_of_more_parts_than_open_files(tmp_path):
    parts = [[[7, number]] for number in range(2, 1300)]
    names = ("books", "news")
    stores = [TokenStore.open(tmp_path, n, write(tmp_path, parts, name=n)) for n in names]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    try:
        for store in 2 * stores:
            assert store.slice(0, len(store)).tolist() == stream(parts)[1:]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_part_that_is_written_anew_is_read_anew(tmp_path):
    for token in (5, 6):
        manifest = write(tmp_path / "new", [[[token] * 9]])
        shutil.rmtree(tmp_path / "old", ignore_errors=True)
        (tmp_path / "new").rename(tmp_path / "old")
        store = TokenStore.open(tmp_path / "old", "books", manifest)
        assert store.slice(0, 9).tolist() == [token] * 9


def test_a_part_that_becomes_shorter(tmp_path):
    manifest = write(tmp_path, [[[5] * 100], [[6] * 100]])
    store = TokenStore.open(tmp_path, "books", manifest)
    path = tmp_path / manifest["subsets"]["books"]["parts"][1]["path"]
    path.write_bytes(path.read_bytes()[:-2])
    assert len(store.slice(0, 201)) == 201
    with pytest.raises(VerifyError, match=r"part-00001.tokens became shorter while it was read"):
        store.slice(0, 202)


def test_held_out_stores(tmp_path):
    manifest = write(tmp_path, [[[7, 8]]], name="heldout/books")
    store = TokenStore.open(tmp_path, "heldout/books", manifest)
    assert store.slice(0, 3).tolist() == [7, 8, EOS]
    with pytest.raises(ConfigError, match="no tokens of 'books'"):
        TokenStore.open(tmp_path, "books", manifest)
    with pytest.raises(ConfigError, match="did you mean 'books'"):
        TokenStore.open(tmp_path, "heldout/book", manifest)


def test_an_empty_subset_has_no_sequences(tmp_path):
    store = TokenStore.open(tmp_path, "books", write(tmp_path, [[], []]))
    assert (len(store), store.sequences(4), store.documents) == (0, 0, 0)
    assert store.slice(0, 0).tolist() == []
    assert store.document_ends().tolist() == []
    with pytest.raises(IndexError, match="sequence 0 of 0"):
        store.sequence(0, 4)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 1), (0, 5), (5, 5)])
def test_slices_outside_the_store_are_errors(tmp_path, start, stop):
    store = TokenStore.open(tmp_path, "books", write(tmp_path, [[[7, 8, 9]]]))
    with pytest.raises(IndexError, match="of 4"):
        store.slice(start, stop)


def test_files_that_are_not_what_the_manifest_says(tmp_path):
    manifest = write(tmp_path, [[[7, 8]], [[9]]])
    path = tmp_path / "tokens/books/part-00001.tokens"
    content = path.read_bytes()
    for wrong in (content[:-1], content + b"\0\0", b""):
        path.write_bytes(wrong)
        with pytest.raises(VerifyError, match=r"part-00001\.tokens has \d bytes, expected 4"):
            TokenStore.open(tmp_path, "books", manifest)
    path.unlink()
    with pytest.raises(VerifyError, match=r"part-00001\.tokens: No such file"):
        TokenStore.open(tmp_path, "books", manifest)
    path.write_bytes(content)
    manifest["subsets"]["books"]["tokens"] = 6
    with pytest.raises(VerifyError, match="6 tokens, its parts 5"):
        TokenStore.open(tmp_path, "books", manifest)


@given(st.lists(st.lists(st.integers(2, 65535), max_size=5), max_size=8))
def test_every_document_is_closed(documents):
    tokens = np.array([t for document in documents for t in document], np.uint16)
    offsets = np.cumsum([0, *map(len, documents)])
    closed = close_documents(tokens, offsets, EOS)
    assert closed.dtype == np.uint16
    assert closed.tolist() == [t for document in documents for t in [*document, EOS]]
