"""Hashes are frozen: a change of any number here would silently change every dataset."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.document import text_buffers
from massivetext.hashing import hash_rows, hash_rows_128, hash_string

KNOWN = [
    ("", 0, 4544133393846370391),
    ("", 1, 2499068183163122876),
    ("a", 0, 17661477341332102692),
    ("abc", 1, 9478082256889333709),
    ("12345678", 7, 8659726289260164567),
    ("123456789", 7, 11883438307406962085),
    ("hello wörld", 1, 16703355604927801712),
    ("the quick brown fox jumps over the lazy dog", 18446744073709551615, 6418975956899024954),
]


@pytest.mark.parametrize(("text", "seed", "value"), KNOWN)
def test_known_answers(text, seed, value):
    assert hash_string(text, seed) == value


def test_known_answers_of_128_bits():
    data, offsets = text_buffers(pa.array(["", "abc", "the quick brown fox"]))
    assert hash_rows_128(data, offsets).tolist() == [
        [4544133393846370391, 4603100733138388605],
        [10791270957728474679, 7382337150322154034],
        [4088830583039069715, 9504735489299370670],
    ]


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1), st.integers(0, 2**64 - 1))
def test_rows_equal_strings_wherever_they_lie(texts, seed):
    column = pa.array(["before", *texts], pa.large_string()).slice(1)
    data, offsets = text_buffers(column)
    values = hash_rows(data, offsets, seed)
    assert values.tolist() == [hash_string(text, seed) for text in texts]
    assert hash_rows_128(data, offsets)[:, 0].tolist() == hash_rows(data, offsets, 0).tolist()


def test_seeds_wrap_and_matter():
    assert hash_string("x", 1) == hash_string("x", 1 + 2**64) != hash_string("x", 2)


@pytest.mark.parametrize("half", [0, 1])
def test_no_collision_and_even_bits_among_similar_rows(half):
    texts = [f"{'a' * (i % 9)}{i}{chr(0) * (i % 3)}" for i in range(200_000)]
    data, offsets = text_buffers(pa.array(texts))
    values = hash_rows_128(data, offsets)[:, half]
    assert len(np.unique(values)) == len(set(texts)) == len(texts)
    bits = (values[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.005


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=64), st.integers(0, 511))
def test_one_flipped_bit_changes_about_half_of_the_hash(row, bit):
    flipped = bytearray(row)
    flipped[bit // 8 % len(row)] ^= 1 << bit % 8
    data = np.frombuffer(row + bytes(flipped), np.uint8)
    offsets = np.array([0, len(row), 2 * len(row)], np.int64)
    for a, b in (hash_rows(data, offsets, 3), hash_rows_128(data, offsets)[:, 1]):
        assert 8 <= int(a ^ b).bit_count() <= 56
