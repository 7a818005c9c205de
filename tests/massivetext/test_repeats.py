from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import repeats

LOW_HALF = np.uint64(2**32 - 1)

# Few keys that repeat, many that do not, and keys equal in their low or high half.
_KEYS = (
    st.lists(st.integers(0, 5), max_size=200)
    | st.lists(st.integers(0, 2**64 - 1), max_size=200)
    | st.lists(st.sampled_from([k << 32 for k in range(50)] + list(range(50))), max_size=300)
)


def check(keys: np.ndarray, left: int, most: int, entries: np.ndarray, items: np.ndarray) -> None:
    counts = Counter(keys.tolist())
    kept = [place for place, key in enumerate(keys.tolist()) if counts[key] > 1]
    assert items[:left].tolist() == kept
    assert most == max((count for count in counts.values() if count > 1), default=0)
    assert (entries[:left] & LOW_HALF).tolist() == [counts[int(keys[place])] for place in kept]
    # Equal numbers, equal keys; and the other way round.
    numbers = (entries[:left] >> np.uint64(32)).tolist()
    assert all(number < len(keys) for number in numbers)
    pairs = set(zip(numbers, keys[kept].tolist(), strict=True))
    assert len(pairs) == len(set(numbers)) == len(set(keys[kept].tolist()))


def run(keys: np.ndarray) -> None:
    entries, items = keys.copy(), np.arange(len(keys), dtype=np.uint32)
    left, most = repeats.repeated(entries, items, len(keys), repeats.scratch(len(keys)))
    check(keys, left, most, entries, items)


def run_by_part(keys: np.ndarray) -> None:
    entries, items = keys.copy(), np.arange(len(keys), dtype=np.uint32)
    repeats._number_by_part(entries, len(keys), repeats.scratch(len(keys)))
    counts = (entries & LOW_HALF).astype(np.int64)
    repeated = counts > 1
    most = counts[repeated].max(initial=0)
    check(keys, repeated.sum(), most, entries[repeated], items[repeated])


@given(_KEYS)
@settings(max_examples=300, deadline=None)
def test_agrees_with_a_counter(keys):
    run(np.array(keys, np.uint64))


@given(_KEYS)
@settings(max_examples=300, deadline=None)
def test_partitions_agree_with_a_counter(keys):
    run_by_part(np.array(keys, np.uint64))


@pytest.mark.parametrize("n", [2, 1_000, 300_000])
@pytest.mark.parametrize("copies", [1, 2, 7])
def test_many_keys(n, copies):
    random = np.random.default_rng(0)
    keys = random.permutation(np.repeat(random.integers(0, 2**63, n // copies + 1), copies))
    for check_keys in (run, run_by_part):
        check_keys(keys.astype(np.uint64))


def test_a_table_that_is_too_small_is_begun_anew():
    keys = np.arange(10_000, dtype=np.uint64)
    expected = keys.copy()
    table = np.empty((64, 2), np.uint64)
    assert repeats._number(keys, 0, len(keys), 5, 64, table) == 10_005
    assert (keys >> np.uint64(32)).tolist() == (expected + np.uint64(5)).tolist()
    assert set((keys & LOW_HALF).tolist()) == {1}


def test_more_keys_than_are_filtered():
    n = repeats._FILTERED_KEYS + 2
    entries = np.arange(n, dtype=np.uint64) // np.uint64(2)
    entries[-1] = n
    items = np.arange(n, dtype=np.uint32)
    left, most = repeats.repeated(entries, items, n, repeats.scratch(n))
    assert (left, most) == (n - 2, 2)
    assert np.array_equal(items[:left], np.arange(left))
    numbers = (entries[:left] >> np.uint64(32)).reshape(-1, 2)
    assert (numbers[:, 0] == numbers[:, 1]).all()
    assert len(np.unique(numbers[:, 0])) == left // 2
