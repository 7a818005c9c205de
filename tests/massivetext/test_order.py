"""The training order: proportions at every prefix, and any part of it computed on its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.config import Mixture
from massivetext.mixture import MAX_SEQUENCES, plan, resolve_weights
from massivetext.order import CHECKPOINT, Order
from massivetext.permutation import Permutation
from massivetext.presets import MIXTURES


def assert_proportional(used, subset):
    """Every prefix is strictly within one sequence of each share, and the totals are exact."""
    total = sum(used)
    prefix = np.arange(1, total + 1)
    for index, count in enumerate(used):
        seen = np.cumsum(subset == index)
        assert np.abs(seen * total - prefix * count).max() < total
        assert seen[-1] == count


def order_of(used, available=None, seed=1):
    names = [f"s{index}" for index in range(len(used))]
    counts = dict(zip(names, used, strict=True))
    return Order(counts, dict(zip(names, available or used, strict=True)), seed)


@settings(deadline=None)
@given(st.lists(st.integers(0, 200), min_size=1, max_size=12).filter(any), st.integers(0, 2**63))
def test_proportions_of_random_plans(used, seed):
    subset, ordinal = order_of(used, [max(1, n) for n in used], seed).subset_and_index(0, sum(used))
    assert_proportional(used, subset)
    for index, count in enumerate(used):
        assert np.array_equal(ordinal[subset == index], np.arange(count))


@pytest.mark.parametrize("preset", sorted(MIXTURES))
def test_proportions_of_the_presets_over_a_million_sequences(preset):
    mixture = Mixture(preset=preset, tokens=1_000_000, sequence_length=1)
    weights = resolve_weights(mixture, MIXTURES[preset])
    planned = plan(mixture, weights, dict.fromkeys(weights, 10**6))
    used = [subset.used for subset in planned.subsets]
    subset, _ = order_of(used).subset_and_index(0, 1_000_000)
    assert_proportional(used, subset)


@pytest.mark.parametrize(
    "used",
    [
        [1],
        [1] * 50,
        [10_000, 1],
        [1, 10_000],
        [3333, 3333, 3334],
        [5000, 2500, 1250, 1250],
        [7919, 7907, 3, 2, 1],
        [1] * 40 + [5000],
        [2, 3, 5, 7, 11, 13, 17, 19, 23],
    ],
)
def test_proportions_of_awkward_plans(used):
    subset, _ = order_of(used).subset_and_index(0, sum(used))
    assert_proportional(used, subset)


def test_every_jump_gives_what_walking_gives():
    used = [100_003, 60_000, 7, 40_000]
    total = sum(used)
    order = order_of(used, [50_000, 60_000, 3, 90_000])
    whole = order.positions(0, total)
    bounds = [0, 1, CHECKPOINT - 1, CHECKPOINT, CHECKPOINT + 1, 3 * CHECKPOINT, total - 1, total]
    for start in reversed(bounds):
        fresh = order_of(used, [50_000, 60_000, 3, 90_000])
        stop = min(total, start + 100)
        for part in (order.positions(start, stop), fresh.positions(start, stop)):
            for got, expected in zip(part, whole, strict=True):
                assert np.array_equal(got, expected[start:stop])
        counts = np.bincount(whole.subset[:start], minlength=4)
        assert np.array_equal(order.counts(start), counts)
        handed = fresh.positions(start, stop, counts)
        assert np.array_equal(handed.sequence, whole.sequence[start:stop])
        assert np.array_equal(counts, np.bincount(whole.subset[:start], minlength=4))


def test_the_order_late_in_a_run_of_trillions_of_tokens():
    """No overflow at the largest size: windows computed in Python integers agree."""
    used = [MAX_SEQUENCES - 1_000_001, 1_000_000, 1]
    start = MAX_SEQUENCES - 1000
    counts = np.array([count * start // MAX_SEQUENCES for count in used])
    counts[0] += start - counts.sum()
    subset, _ = order_of(used).subset_and_index(start, MAX_SEQUENCES, counts)
    seen = counts.copy()
    for position, index in enumerate(subset.tolist(), start + 1):
        seen[index] += 1
        for count, total in zip(seen.tolist(), used, strict=True):
            assert abs(count * MAX_SEQUENCES - position * total) < MAX_SEQUENCES
    assert seen.tolist() == used


def test_positions_name_the_sequences_of_the_permutations():
    order = order_of([25, 10], [10, 40], seed=9)
    at = order.positions(0, 35)
    for index, (n, name) in enumerate([(10, "s0"), (40, "s1")]):
        chosen = at.subset == index
        for epoch in set(at.epoch[chosen].tolist()):
            got = at.sequence[chosen & (at.epoch == epoch)]
            expected = Permutation(n, 9, name, epoch)(np.arange(n))
            assert np.array_equal(got, expected[: len(got)])
    assert at.epoch[at.subset == 0].max() == 2


def test_known_order():
    """Never changes: shards that exist depend on it."""
    subset, ordinal = order_of([6, 3, 2, 1], seed=1).subset_and_index(0, 12)
    assert subset.tolist() == [0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 2, 0]
    assert ordinal.tolist() == [0, 0, 1, 0, 2, 1, 3, 0, 4, 2, 1, 5]


def test_equal_weights_do_not_stand_in_lockstep():
    subset, _ = order_of([1000] * 4).subset_and_index(0, 4000)
    assert len({tuple(block) for block in subset.reshape(-1, 4)}) == 24
    other, _ = order_of([1000] * 4, seed=2).subset_and_index(0, 4000)
    assert not np.array_equal(subset, other)


def test_parts_outside_are_refused():
    order = order_of([3, 2])
    assert len(order) == 5
    for start, stop in [(-1, 2), (3, 2), (0, 6)]:
        with pytest.raises(IndexError):
            order.subset_and_index(start, stop)
    with pytest.raises(IndexError):
        order.counts(6)
    with pytest.raises(ValueError, match="too many"):
        order_of([MAX_SEQUENCES, 1])
