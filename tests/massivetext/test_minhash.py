"""MinHash against datasketch bit for bit; similarity against Python sets."""

import numpy as np
import pytest
from datasketch import LeanMinHash, MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.minhash import band_hashes, jaccard, jaccard_pairs, permutations, signatures
from massivetext.shingles import sort_unique

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=40)


def flat(sets):
    starts = np.cumsum([0, *map(len, sets)]).astype(np.int64)
    return np.array([v for s in sets for v in s], np.uint64), starts


@settings(deadline=None)
@given(st.lists(HASHES, max_size=5), st.sampled_from([1, 8, 128, 256]))
def test_signatures_equal_datasketch(sets, count):
    ours = signatures(*flat(sets), count)
    assert ours.dtype == np.uint32
    for values, signature in zip(sets, ours, strict=True):
        sketch = MinHash(count, seed=1, scheme="affine32", hashfunc=lambda h: h)
        sketch.update_batch([v >> 32 for v in values])
        assert np.array_equal(signature, sketch.hashvalues)


def test_permutations_are_datasketch_s():
    assert np.array_equal(permutations(256), MinHash(256, scheme="affine32").permutations)


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
