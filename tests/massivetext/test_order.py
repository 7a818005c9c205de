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


def staged(stages, available, seed=1):
    names = [f"s{index}" for index in range(len(available))]
    counts = [dict(zip(names, used, strict=True)) for used in stages]
    return Order(counts, dict(zip(names, available, strict=True)), seed)


@st.composite
def plans_in_stages(draw):
    subsets = draw(st.integers(1, 6))
    counts = st.lists(st.integers(0, 60), min_size=subsets, max_size=subsets)
    stages = draw(st.lists(counts.filter(any), min_size=1, max_size=4))
    available = draw(st.lists(st.integers(1, 50), min_size=subsets, max_size=subsets))
    return stages, available


@settings(deadline=None)
@given(plans_in_stages(), st.integers(0, 2**63 - 1))
def test_stages_are_proportional_and_uses_run_through_them(plan_of, seed):
    stages, available = plan_of
    order = staged(stages, available, seed)
    at = order.positions(0, len(order))
    bounds = np.cumsum([0, *map(sum, stages)])
    for stage, used in enumerate(stages):
        assert_proportional(used, at.subset[bounds[stage] : bounds[stage + 1]])
    totals = np.sum(stages, axis=0)
    for index, n in enumerate(available):
        chosen = at.subset == index
        assert np.array_equal(at.epoch[chosen], np.arange(totals[index]) // n)
        for epoch in range(-(-int(totals[index]) // n)):
            got = at.sequence[chosen & (at.epoch == epoch)]
            expected = Permutation(n, seed, f"s{index}", epoch)(np.arange(n))
            assert np.array_equal(got, expected[: len(got)])


def test_across_stages_every_prefix_is_within_one_sequence_of_the_plan():
    stages = [[600, 300, 100], [50, 20, 130], [1, 0, 0], [0, 333, 334]]
    subset, _ = staged(stages, [9, 9, 9]).subset_and_index(0, 1868)
    ideal, bounds = np.zeros(3), 0
    for used in stages:
        total = sum(used)
        steps = np.arange(1, total + 1)[:, None] * np.array(used) / total
        seen = np.stack([np.cumsum(subset == index) for index in range(3)], axis=1)
        assert np.abs(seen[bounds : bounds + total] - (ideal + steps)).max() < 1
        ideal, bounds = ideal + used, bounds + total


def test_one_stage_is_the_order_without_stages():
    plain = order_of([60, 30, 10], [7, 50, 3]).positions(0, 100)
    for got, expected in zip(staged([[60, 30, 10]], [7, 50, 3]).positions(0, 100), plain):
        assert np.array_equal(got, expected)


def test_every_jump_over_stages_gives_what_walking_gives():
    stages = [[50_001, 20_000, 9], [0, 40_000, 5], [90_000, 1, 0]]
    available = [60_000, 7_000, 3]
    whole = staged(stages, available).positions(0, 200_016)
    bounds = [0, 70_009, 70_010, 110_014, 110_015, CHECKPOINT, 2 * CHECKPOINT, 200_016]
    for start in bounds:
        first, stop = max(0, start - 3), min(200_016, start + 50)
        counts = np.bincount(whole.subset[:first], minlength=3)
        order = staged(stages, available)
        assert np.array_equal(order.counts(first), counts)
        for part in (order.positions(first, stop), order.positions(first, stop, counts)):
            for got, expected in zip(part, whole, strict=True):
                assert np.array_equal(got, expected[first:stop])


def test_known_order_in_stages():
    """Never changes: shards that exist depend on it."""
    subset, ordinal = staged([[6, 3, 2, 1], [1, 1, 0, 3]], [9] * 4).subset_and_index(0, 17)
    assert subset[:12].tolist() == [0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 2, 0]
    assert subset[12:].tolist() == [3, 3, 0, 1, 3]
    assert ordinal[12:].tolist() == [1, 2, 6, 3, 3]


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
