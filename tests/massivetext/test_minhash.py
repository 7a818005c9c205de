"""MinHash against datasketch bit for bit; similarity against Python sets."""

import doctest
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from datasketch import LeanMinHash, MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

import massivetext.minhash
from massivetext.document import text_buffers
from massivetext.minhash import (
    band_hashes,
    estimate,
    from_datasketch,
    jaccard,
    jaccard_pairs,
    signatures,
    sketch,
    text_jaccard,
    to_datasketch,
)
from massivetext.minhash_kernels import affine_permutations
from massivetext.shingles import shingle_hashes, sort_unique

from . import reference_shingles as reference

# Few words, so that texts share shingles; punctuation and white space, which do not count.
TEXTS = st.lists(st.sampled_from(["tea", "for", "two", "—", ", ", " ", "\n", "ÄÖ", "x"])).map(
    " ".join
)
HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=40)


def flat(sets):
    starts = np.cumsum([0, *map(len, sets)]).astype(np.int64)
    return np.array([v for s in sets for v in s], np.uint64), starts


@settings(deadline=None)
@given(st.lists(HASHES, max_size=5), st.sampled_from([1, 8, 16, 17, 31, 128, 250, 256]))
def test_signatures_equal_datasketch(sets, count):
    ours = signatures(*flat(sets), count)
    assert ours.dtype == np.uint32
    for values, signature in zip(sets, ours, strict=True):
        sketch = MinHash(count, seed=1, scheme="affine32", hashfunc=lambda h: h)
        sketch.update_batch([v >> 32 for v in values])
        assert np.array_equal(signature, sketch.hashvalues)


def test_permutations_are_datasketch_s():
    assert np.array_equal(affine_permutations(256), MinHash(256, scheme="affine32").permutations)


def test_signatures_plug_into_the_lsh_of_datasketch():
    rng = np.random.default_rng(1)
    a = rng.integers(0, 2**64, 200, dtype=np.uint64)
    b = np.concatenate([a[:190], rng.integers(0, 2**64, 10, dtype=np.uint64)])
    c = rng.integers(0, 2**64, 200, dtype=np.uint64)
    sketches = [
        LeanMinHash(seed=1, hashvalues=row, scheme="affine32")
        for row in signatures(*flat([a, b, c]), 256)
    ]
    index = MinHashLSH(num_perm=256, params=(32, 8))
    index.insert("a", sketches[0])
    assert index.query(sketches[1]) == ["a"]
    assert index.query(sketches[2]) == []


@settings(deadline=None)
@given(HASHES, st.randoms())
def test_order_and_repeats_do_not_matter(values, rng):
    mixed = values + values[:3]
    rng.shuffle(mixed)
    a, b = signatures(*flat([values, mixed]), 64)
    assert np.array_equal(a, b)


def test_bands_agree_exactly_where_the_minima_do():
    signature = np.arange(48, dtype=np.uint32).reshape(1, 48).repeat(3, 0)
    signature[1, 5] ^= 1
    signature[2] = np.tile(np.arange(8, dtype=np.uint32), 6)
    a, b, same = band_hashes(signature, 6)
    assert (a == b).tolist() == [False, True, True, True, True, True]
    assert len(set(same.tolist())) == 6, "the number of the band is part of its hash"
    with pytest.raises(ValueError, match="equal size"):
        band_hashes(signature, 5)


def test_candidates_are_found_as_often_as_the_formula_says():
    rng = np.random.default_rng(3)
    sets, trials = [], 400
    for _ in range(trials):
        common = rng.integers(0, 2**64, 160, dtype=np.uint64)
        own = rng.integers(0, 2**64, 108, dtype=np.uint64)
        sets += [np.concatenate([common, own[:54]]), np.concatenate([common, own[54:]])]
    bands = band_hashes(signatures(*flat(sets), 256), 32)
    found = (bands[0::2] == bands[1::2]).any(axis=1).mean()
    similarity = 160 / 268
    assert abs(found - (1 - (1 - similarity**8) ** 32)) < 0.08


@settings(deadline=None)
@given(HASHES, HASHES)
def test_jaccard_equals_sets(a, b):
    a, b = set(a), set(b)
    expected = len(a & b) / len(a | b) if a | b else 0.0
    left, right = (np.array(sorted(s), np.uint64) for s in (a, b))
    assert jaccard(left, right) == jaccard(right, left) == expected


def test_jaccard_of_pairs_and_a_similarity_of_exactly_the_threshold():
    values, starts = sort_unique(*flat([[1, 2, 3, 4], [5, 1, 2, 3, 4, 4], [], [9]]))
    left, right = np.array([0, 0, 2, 1]), np.array([1, 3, 2, 1])
    assert jaccard_pairs(values, starts, left, right).tolist() == [0.8, 0.0, 0.0, 1.0]


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=6), st.sampled_from([1, 2, 13]), st.sampled_from([1, 64]))
def test_a_sketch_is_the_signature_of_the_shingles_in_any_container(texts, ngram, count):
    column = pa.array(texts, pa.large_string())
    expected = signatures(*shingle_hashes(*text_buffers(column), ngram), count)
    longer = pa.array(["first", *texts, "last"], pa.string())
    for container in (texts, column, longer.slice(1, len(texts))):
        assert np.array_equal(sketch(container, ngram, count), expected)
    for text, signature in zip(texts, expected, strict=True):
        hashes = [h >> 32 for h in shingle_hashes(*text_buffers(pa.array([text])), ngram)[0]]
        theirs = MinHash(count, seed=1, scheme="affine32", hashfunc=int)
        theirs.update_batch(hashes)
        assert np.array_equal(from_datasketch(theirs), signature)


def test_a_sketch_of_more_text_than_is_hashed_at_once(monkeypatch):
    texts = [f"a text of some words, number {i}" * (i % 3) for i in range(50)]
    expected = sketch(texts, 3, 16)
    for size in (1, 100, 1000):
        monkeypatch.setattr(massivetext.minhash, "BATCH_BYTES", size)
        assert np.array_equal(sketch(texts, 3, 16), expected)


def test_the_estimate_is_the_share_of_equal_minima():
    a = np.arange(8, dtype=np.uint32)
    b = a.copy()
    b[:2] += 100
    empty = np.full(8, 2**32 - 1, np.uint32)
    assert estimate(a, b) == estimate(b, a) == 0.75
    assert estimate(a, a) == 1.0
    assert estimate(empty, empty) == estimate(a, empty) == 0.0, "no words, nothing in common"
    rows = np.stack([a, b, empty])
    assert estimate(rows, rows).tolist() == [1.0, 1.0, 0.0]
    assert estimate(a, rows).tolist() == estimate(rows, a).tolist() == [1.0, 0.75, 0.0]
    assert estimate(rows[:0], rows[:0]).tolist() == []


def test_estimates_are_near_the_similarity():
    rng = np.random.default_rng(4)
    words = np.array([f"w{i}" for i in range(5000)])
    pairs = []
    for share in (0.0, 0.3, 0.6, 0.9, 1.0):
        common = rng.choice(words, 400)
        other = np.where(rng.random(400) < share, common, rng.choice(words, 400))
        pairs.append((" ".join(common), " ".join(other)))
    left, right = (sketch([pair[side] for pair in pairs], 1, 1024) for side in (0, 1))
    exact = [text_jaccard(*pair, ngram=1) for pair in pairs]
    assert np.abs(estimate(left, right) - exact).max() < 4 * 0.5 / 1024**0.5
    assert exact[-1] == 1.0


@settings(deadline=None)
@given(TEXTS, TEXTS, st.sampled_from([1, 2, 13]))
def test_similarity_of_texts_equals_sets(a, b, ngram):
    expected = reference.jaccard(reference.shingles(a, ngram), reference.shingles(b, ngram))
    assert text_jaccard(a, b, ngram) == expected


def test_sketches_go_through_datasketch_and_back():
    texts = {"a": "one two three four " * 5, "b": "one two three four " * 9, "c": "five six " * 20}
    rows = sketch(list(texts.values()), ngram=3)
    index = MinHashLSH(num_perm=256, params=(32, 8))
    for name, row in zip(texts, rows, strict=True):
        index.insert(name, to_datasketch(row))
    a, b, c = map(to_datasketch, rows)
    assert sorted(index.query(a)) == ["a", "b"]
    assert index.query(c) == ["c"]
    assert a.jaccard(b) == estimate(rows[0], rows[1])
    for row, lean in zip(rows, (a, b, c), strict=True):
        assert np.array_equal(from_datasketch(lean), row)
        full = MinHash(seed=1, hashvalues=lean.hashvalues, scheme="affine32")
        assert np.array_equal(from_datasketch(full), row)
    back = from_datasketch(a)
    back[:] = 0
    assert np.array_equal(from_datasketch(a), rows[0]), "a copy"
    rows[0][:] = 0
    assert from_datasketch(a).any(), "a copy"


def test_sketches_that_cannot_be_compared_are_refused():
    for scheme in ("legacy", "affine64"):
        with pytest.raises(ValueError, match=f"scheme '{scheme}'"):
            from_datasketch(MinHash(16, scheme=scheme))
    with pytest.raises(ValueError, match="seed 2"):
        from_datasketch(MinHash(16, seed=2, scheme="affine32"))
    one = np.zeros(4, np.uint32)
    with pytest.raises(ValueError, match=r"uint64 \[4\]"):
        to_datasketch(one.astype(np.uint64))
    with pytest.raises(ValueError, match=r"\[1, 4\]"):
        to_datasketch(one.reshape(1, 4))
    with pytest.raises(ValueError, match="int64"):
        estimate(one, np.zeros(4, np.int64))
    with pytest.raises(ValueError, match="of 4 and of 3 permutations"):
        estimate(one, one[:3])
    with pytest.raises(ValueError, match="2 signatures and 3"):
        estimate(np.zeros((2, 4), np.uint32), np.zeros((3, 4), np.uint32))


def test_wrong_texts_are_refused():
    with pytest.raises(TypeError, match="one string"):
        sketch("a text")
    with pytest.raises(TypeError, match="int64"):
        sketch(pa.array([1, 2]))
    with pytest.raises(ValueError, match="nulls"):
        sketch(["a", None])
    with pytest.raises(ValueError, match="permutations is 0"):
        sketch(["a"], permutations=0)
    with pytest.raises(ValueError, match="n is 0"):
        sketch(["a"], ngram=0)


def test_the_example_of_the_module():
    results = doctest.testmod(massivetext.minhash)
    assert results.attempted > 0
    assert results.failed == 0


def test_datasketch_is_imported_by_those_who_need_it():
    code = "import massivetext.minhash, sys; print('datasketch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
