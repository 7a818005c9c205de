"""Shingles against plain Python: same words, same sets, same counts."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.document import text_buffers
from massivetext.hashing import hash_rows_128
from massivetext.shingles import normalise, normalised_hash_128, shingle_hashes, sort_unique

from . import reference_shingles as reference

LETTERS = st.sampled_from([*list("ab.,- \n\t\xa0\u2003é中“…😀𝔸"), "word ", "longerthan8 "])
TEXTS = st.lists(st.one_of(st.text(max_size=60), st.lists(LETTERS, max_size=60).map("".join)))


def buffers(texts):
    return text_buffers(pa.array(texts, pa.large_string()))


def rows(flat, starts):
    return [flat[a:b] for a, b in itertools.pairwise(starts)]


@settings(deadline=None)
@given(TEXTS)
def test_normalised_text_equals_the_reference(texts):
    text = normalise(*buffers(texts))
    got = [bytes(row).decode() for row in rows(text.data, text.offsets)]
    assert got == [" ".join(reference.words(t)) for t in texts]
    assert text.words.tolist() == [len(reference.words(t)) for t in texts]


@settings(deadline=None)
@given(TEXTS, st.integers(1, 14))
def test_equal_shingles_have_equal_hashes_and_no_others(texts, n):
    flat, starts = sort_unique(*shingle_hashes(*buffers(texts), n))
    code = {}
    for text, values in zip(texts, rows(flat, starts), strict=True):
        expected = reference.shingles(text, n)
        assert len(values) == len(expected)
        assert (np.diff(values.astype(object)) > 0).all()
        for other, others in code.items():
            common = len(expected & reference.shingles(other, n))
            assert len(np.intersect1d(values, others)) == common
        code[text] = values


@settings(deadline=None)
@given(TEXTS)
def test_exact_hash_is_the_hash_of_the_normalised_text(texts):
    plain = [" ".join(reference.words(t)) for t in texts]
    expected = hash_rows_128(*buffers(plain))
    assert np.array_equal(normalised_hash_128(*buffers(texts)), expected)


@pytest.mark.parametrize(
    ("words", "count"), [(0, 0), (1, 1), (12, 1), (13, 1), (14, 2), (113, 101)]
)
def test_number_of_shingles(words, count):
    text = " ".join(f"w{i}" for i in range(words))
    flat, starts = shingle_hashes(*buffers([text]), 13)
    assert len(flat) == len(np.unique(flat)) == count
    assert starts.tolist() == [0, count]


def test_case_counts_punctuation_and_white_space_do_not():
    words = [f"word{i}" for i in range(20)]
    same = [
        " ".join(words),
        "\n\n".join(words) + "!",
        "“" + ",  ".join(words) + "” — $",
        "wo-rd0 " + " ".join(words[1:]),
    ]
    other = [" ".join(words).title(), " ".join(words[::-1]), " ".join(words[:-1])]
    flat, starts = shingle_hashes(*buffers(same + other), 13)
    sets = [row.tolist() for row in rows(flat, starts)]
    assert sets[0] == sets[1] == sets[2] == sets[3]
    assert not set(sets[0]) & set(sets[4])
    assert not set(sets[0]) & set(sets[5])
    assert sets[6] == sets[0][:-1]
    exact = normalised_hash_128(*buffers(same + other)).tolist()
    assert exact[0] == exact[1] == exact[2] == exact[3]
    assert len({tuple(e) for e in exact}) == 4


def test_known_answers_freeze_the_shingles():
    text = "The quick brown fox jumps over the lazy dog, and then it sleeps until noon."
    flat, _ = shingle_hashes(*buffers([text, "Two words"]), 13)
    assert flat.tolist() == [
        7344417560088462155,
        4899775680427930064,
        4976024105225718739,
        2495657289994370220,
    ]


def test_a_shingle_has_a_word():
    with pytest.raises(ValueError, match="at least one word"):
        shingle_hashes(*buffers(["a"]), 0)
