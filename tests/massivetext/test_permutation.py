"""The permutations: known answers for ever, bijections, every order reachable."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.permutation import MIN_BITS, Permutation, epoch_order, round_keys

MASK = 2**64 - 1


def reference(n, seed, subset, epoch, position):
    """The definition in docs/shards.md, in Python integers."""
    keys = [int(key) for key in round_keys(seed, subset, epoch)]

    def mix(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        return z ^ z >> 31

    bits = max(MIN_BITS, (n - 1).bit_length())
    low_bits, high_bits = bits // 2, bits - bits // 2
    value = position
    while True:
        high, low = value >> low_bits, value % 2**low_bits
        for r in range(0, 8, 2):
            high ^= mix(low + keys[r] & MASK) % 2**high_bits
            low ^= mix(high + keys[r + 1] & MASK) % 2**low_bits
        value = high << low_bits | low
        if value < n:
            return value


def test_known_answers():
    """These never change: shards that exist depend on them."""
    keys = [7326722693034948289, 14000105887643784370]
    assert round_keys(1, "books", 0)[:2].tolist() == keys
    first = Permutation(10, 1, "books", 0)(np.arange(10))
    assert first.tolist() == [2, 8, 1, 3, 5, 0, 4, 7, 9, 6]
    assert Permutation(1000, 1, "massiveweb", 0)(np.arange(4)).tolist() == [877, 548, 185, 190]
    assert Permutation(1000, 1, "massiveweb", 1)(np.arange(4)).tolist() == [316, 148, 638, 885]
    assert Permutation(1099511627777, 9223372036854775807, "wikipedia", 3)(
        np.arange(4)
    ).tolist() == [654369351627, 924458250977, 734457368115, 597454470387]


@given(st.integers(1, 3000), st.integers(0, 2**63 - 1), st.text(max_size=9), st.integers(0, 99))
def test_is_a_bijection_and_agrees_with_the_reference(n, seed, subset, epoch):
    order = Permutation(n, seed, subset, epoch)(np.arange(n))
    assert np.array_equal(np.sort(order), np.arange(n))
    for position in {0, n // 2, n - 1}:
        assert order[position] == reference(n, seed, subset, epoch, position)


@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 2**31, 2**40 + 1, 2**62])
def test_large_and_edge_sizes_agree_with_the_reference(n):
    positions = np.array([0, n // 3, n - 1])
    expected = [reference(n, 7, "news", 3, int(position)) for position in positions]
    assert Permutation(n, 7, "news", 3)(positions).tolist() == expected


def test_all_orders_of_four_are_about_equally_frequent():
    count = 12_000
    orders = Counter(tuple(Permutation(4, s, "c4", 0)(np.arange(4))) for s in range(count))
    assert len(orders) == 24
    chi_square = sum((seen - count / 24) ** 2 / (count / 24) for seen in orders.values())
    assert chi_square < 49.7  # 0.999 quantile at 23 degrees of freedom


def test_neighbours_do_not_stay_neighbours():
    n = 100_000
    order = Permutation(n, 5, "github", 0)(np.arange(n))
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    assert np.count_nonzero(np.abs(np.diff(order)) == 1) < 12  # 2 expected
    assert np.count_nonzero(order == np.arange(n)) < 9  # 1 expected


def test_seed_subset_and_epoch_each_change_the_order():
    args = [(1, "books", 0), (2, "books", 0), (1, "book", 0), (1, "books", 1), (10, "books", 0)]
    orders = {tuple(Permutation(100, *a)(np.arange(100))) for a in args}
    assert len(orders) == len(args)


def test_positions_outside_are_refused():
    permutation = Permutation(5, 1, "a", 0)
    for position in (-1, 5):
        with pytest.raises(IndexError):
            permutation(np.array([position]))
    for n in (0, 2**62 + 1):
        with pytest.raises(ValueError, match="n is"):
            Permutation(n, 1, "a", 0)


def test_uses_run_through_epoch_after_epoch():
    ordinals = np.arange(25)
    sequence, epoch = epoch_order(ordinals, 10, 1, "books")
    assert epoch.tolist() == [0] * 10 + [1] * 10 + [2] * 5
    for number in range(3):
        expected = Permutation(10, 1, "books", number)(np.arange(10))
        assert np.array_equal(sequence[epoch == number], expected[: np.sum(epoch == number)])
    shuffled = np.random.default_rng(0).permutation(25)
    again, epochs = epoch_order(shuffled, 10, 1, "books")
    assert np.array_equal(again, sequence[shuffled])
    assert np.array_equal(epochs, epoch[shuffled])
