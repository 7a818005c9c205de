"""Gopher's construction against a slow reference, and what holds of both constructions."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import construction
from massivetext.config_mixture import Construction
from massivetext.construction import Drawn, Packed, open_sequences
from massivetext.errors import VerifyError
from massivetext.mixture_plan import Stock
from massivetext.tokens import TokenStore

EOS, PAD = 1, 0
MASK = 2**64 - 1


def write(root, parts):
    """Write documents (lists of tokens) as a token store of several parts."""
    entries = []
    for number, documents in enumerate(parts):
        path = root / f"tokens/books/part-{number:05d}.tokens"
        path.parent.mkdir(parents=True, exist_ok=True)
        tokens = np.array([t for document in documents for t in [*document, EOS]], "<u2")
        path.write_bytes(tokens.tobytes())
        ends = np.cumsum([len(document) + 1 for document in documents]).astype("<u8")
        path.with_suffix(".documents").write_bytes(ends.tobytes())
        counts = {"documents": len(documents), "tokens": len(tokens), "text_bytes": 1}
        entries.append({"path": str(path.relative_to(root)), **counts})
    totals = {k: sum(e[k] for e in entries) for k in ("documents", "tokens", "text_bytes")}
    stores = {"books": {**totals, "parts": entries}}
    return {"subsets": stores, "heldout": {}, "dtype": "uint16", "eos_id": EOS, "pad_id": PAD}


def numbered(sizes):
    """Documents of these sizes (EOS not counted) in which every token is another one."""
    bounds = np.cumsum([2, *sizes]).tolist()
    return [list(range(a, b)) for a, b in pairwise(bounds)]


def mix(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def keys(text):
    digest = hashlib.blake2b(text.encode(), digest_size=64, person=b"mt-permutation").digest()
    return [int.from_bytes(digest[i : i + 8], "little") for i in range(0, 64, 8)]


def permuted(items, text):
    """The permutation of docs/shards.md, item by item."""
    n, round_keys = len(items), keys(text)
    bits = max(8, (n - 1).bit_length())
    low_bits, high_bits = bits // 2, bits - bits // 2
    out = []
    for value in range(n):
        while True:
            high, low = value >> low_bits, value % 2**low_bits
            for r in range(0, 8, 2):
                high ^= mix(low + round_keys[r] & MASK) % 2**high_bits
                low ^= mix(high + round_keys[r + 1] & MASK) % 2**low_bits
            value = high << low_bits | low
            if value < n:
                break
        out.append(items[value])
    return out


def reference(documents, length, seed, epoch, block_size):
    """Every sequence of an epoch, from whole documents: the definition in docs/shards.md."""
    closed = [[*document, EOS] for document in documents]
    crops, stream = [], [EOS]
    crop_key = keys(f"{seed}/{epoch}/books/crops")[0]
    for number, tokens in enumerate(closed):
        if len(tokens) > length:
            start = mix(crop_key + number & MASK) % (len(tokens) - length + 1)
            crops.append([EOS, *tokens][start : start + length + 1])
    for block in range(0, len(closed), block_size):
        short = [d for d in closed[block : block + block_size] if len(d) <= length]
        for tokens in permuted(short, f"{seed}/{epoch}/books/documents/{block // block_size}"):
            stream += tokens
    packed = []
    for start in range(0, len(stream) - 1, length):
        piece = stream[start : start + length + 1]
        packed.append(piece + [PAD] * (length + 1 - len(piece)))
    return crops + packed


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=4),
    length=st.integers(1, 12),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 3),
    block=st.integers(1, 9),
)
def test_agrees_with_the_reference(tmp_path_factory, parts, length, seed, epoch, block):
    root = tmp_path_factory.mktemp("store")
    documents = numbered([size for part in parts for size in part])
    cuts = np.cumsum([0, *(len(part) for part in parts)]).tolist()
    pieces = [documents[a:b] for a, b in pairwise(cuts)]
    store = TokenStore.open(root, "books", write(root, pieces))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(construction, "BLOCK", block)
        patch.setattr(construction, "INDEX_BLOCKS", 2)
        drawn = Drawn(store, length, seed, "books")
        expected = reference(documents, length, seed, epoch, block)
        assert drawn.stock.sequences(length) == len(expected)
        for i in reversed(range(len(expected))):
            assert drawn.tokens(i, epoch).tolist() == expected[i]
        other = reference(documents, length, seed, epoch + 1, block)
        both = [(i, e) for i in range(len(expected)) for e in (epoch, epoch + 1)]
        numbers, epochs = np.array(both, np.int64).reshape(-1, 2)[::-1].T
        wanted = [(expected if e == epoch else other)[i] for i, e in reversed(both)]
        assert drawn.tokens(numbers, epochs).tolist() == wanted
    sizes = [len(document) + 1 for document in documents]
    short = [size for size in sizes if size <= length]
    assert drawn.stock == Stock(sum(sizes), len(sizes) - len(short), sum(short))
    targets = drawn.stock.targets(length)
    for i in range(len(expected)):  # padding is where `available_tokens` says, and nowhere else
        real = min(length, targets - i * length)
        assert PAD not in expected[i][: 1 + real]
        assert set(expected[i][1 + real :]) <= {PAD}


@pytest.fixture
def store(tmp_path):
    sizes = [*([5, 60, 9, 3, 200, 14, 15, 16] * 20)]
    return TokenStore.open(tmp_path, "books", write(tmp_path, [numbered(sizes)]))


def test_an_epoch_draws_every_document_once(store):
    """Short ones in full; 16 targets of each long one, of 16 in all: 15 tokens and EOS fit."""
    drawn = Drawn(store, 16, 3, "books")
    assert drawn.stock == Stock(len(store), 60, 20 * (6 + 10 + 4 + 15 + 16))
    whole = store.slice(0, len(store))
    ends = np.insert(store.document_ends().astype(int), 0, 0)
    for epoch in range(2):
        count = drawn.stock.sequences(16)
        targets = np.concatenate([drawn.tokens(i, epoch)[1:] for i in range(count)])
        tokens, uses = np.unique(targets[targets > EOS], return_counts=True)
        assert uses.max() == 1
        for start, end in pairwise(ends):
            used = np.isin(whole[start : end - 1], tokens).sum()
            assert used == end - start - 1 if end - start <= 16 else used in (15, 16)


def test_every_start_of_a_crop_is_about_equally_frequent(tmp_path):
    manifest = write(tmp_path, [[[2, 3, 4, 5, 6, 7]]])
    drawn = Drawn(TokenStore.open(tmp_path, "books", manifest), 4, 1, "books")
    firsts = np.array([drawn.tokens(0, epoch)[1] for epoch in range(4000)])
    counts = np.bincount(firsts)[2:]
    assert len(counts) == 4  # 7 tokens with EOS: starts 0 to 3
    assert ((counts - 1000) ** 2 / 1000).sum() < 16.3  # 0.999 quantile, 3 degrees of freedom


def test_epochs_and_seeds_draw_anew(store):
    def all_of(seed, epoch):
        drawn = Drawn(store, 16, seed, "books")
        return np.stack([drawn.tokens(i, epoch) for i in range(drawn.stock.sequences(16))])

    first = all_of(1, 0)
    assert np.array_equal(first, all_of(1, 0))
    for other in (all_of(1, 1), all_of(2, 0)):
        assert (first != other).any(axis=1).mean() > 0.8


def test_every_joint_of_documents_is_an_eos(store):
    """Inside a sequence, tokens follow their neighbour of the document or an EOS stands between."""
    drawn = Drawn(store, 16, 5, "books")
    for i in range(drawn.stock.sequences(16)):
        tokens = drawn.tokens(i, 1).astype(int)
        real = tokens[tokens != PAD]
        step = np.diff(real)
        assert ((step == 1) | (real[1:] == EOS) | (real[:-1] == EOS)).all()


def test_known_answers(store):
    """These never change: shards that exist depend on them."""
    drawn = Drawn(store, 16, 1, "books")
    assert [int(drawn.tokens(i, 0)[1]) for i in (0, 1, 2, 59)] == [37, 110, 308, 6426]
    assert [int(drawn.tokens(i, 1)[1]) for i in (60, 61, 70)] == [5863, 3823, 4155]


def test_packed_is_the_stream_of_the_store(store):
    packed = open_sequences(Construction.PACK, store, 16, 1, "books")
    assert isinstance(packed, Packed)
    assert packed.stock == Stock(len(store), 0, len(store))
    for i in range(packed.stock.sequences(16)):
        for epoch in (0, 2):
            assert np.array_equal(packed.tokens(i, epoch), store.sequence(i, 16))


def test_sequences_outside_are_refused(store):
    drawn = Drawn(store, 16, 1, "books")
    for i in (-1, drawn.stock.sequences(16)):
        with pytest.raises(IndexError):
            drawn.tokens(i, 0)


@pytest.mark.parametrize(
    ("ends", "message"),
    [([3, 3, 9], "document 1 has no end of its own"), ([3, 6, 8], "end at token 8 of 9")],
)
def test_documents_that_do_not_fit_their_tokens(tmp_path, ends, message):
    manifest = write(tmp_path, [[[5, 6], [7, 8], [9, 10]]])
    (tmp_path / "tokens/books/part-00000.documents").write_bytes(np.array(ends, "<u8").tobytes())
    with pytest.raises(VerifyError, match=message):
        Drawn(TokenStore.open(tmp_path, "books", manifest), 4, 1, "books")


@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=4).filter(any),
    data=st.data(),
)
def test_ranges_of_documents_and_runs_of_tokens_of_a_store(tmp_path_factory, parts, data):
    root = tmp_path_factory.mktemp("store")
    pieces = [numbered(sizes) for sizes in parts]
    store = TokenStore.open(root, "books", write(root, pieces))
    ends = np.cumsum([size + 1 for sizes in parts for size in sizes])
    start = data.draw(st.integers(0, len(ends)))
    stop = data.draw(st.integers(start, len(ends)))
    assert store.document_ends(start, stop).tolist() == ends[start:stop].tolist()
    edges = st.integers(0, len(store))
    runs = np.sort(data.draw(st.lists(st.tuples(edges, edges), max_size=9))).reshape(-1, 2)
    starts, sizes = runs[:, 0], runs[:, 1] - runs[:, 0]
    at = 1 + np.cumsum(sizes + 1) - (sizes + 1)
    out = np.zeros(int(sizes.sum() + len(sizes)) + 1, "<u2")
    store.gather(starts.astype(np.int64), sizes.astype(np.int64), out, at.astype(np.int64))
    whole = store.slice(0, len(store)).tolist()
    assert out.tolist() == [0, *(t for a, b in runs for t in [*whole[a:b], 0])]
    for wrong in ((-1, 1), (0, len(ends) + 1), (2, 1)):
        with pytest.raises(IndexError):
            store.document_ends(*wrong)
