"""When a loss is a spike, and that whatever a rewind needs is still there."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from massivetext.config_train import Spikes, Train
from massivetext.trainer.spikes import LossWindow, checkpoint_due, rewind_target, steps_to_keep

SPIKES = Spikes(deviations=2.0, window=8, rewind=10)


def window(losses, spikes=SPIKES):
    return LossWindow(spikes, losses)


def test_more_than_so_many_deviations_above_the_mean():
    losses = [1.0, 3.0] * 4  # mean 2, deviation 1
    assert not window(losses).is_spike(4.0)
    assert window(losses).is_spike(math.nextafter(4.0, 5.0))
    assert not window(losses).is_spike(-100.0)


def test_half_a_window_is_needed():
    assert not window([1.0, 3.0, 1.0]).is_spike(100.0)
    assert window([1.0, 3.0, 1.0, 3.0]).is_spike(100.0)


def test_only_the_last_losses_count():
    judge = window([])
    for loss in [1000.0] * 3 + [1.0, 3.0] * 4:
        judge.admit(loss)
    assert list(judge.losses) == [1.0, 3.0] * 4
    assert judge.is_spike(4.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_neither_spikes_nor_poisons(bad):
    """One NaN in the mean makes every comparison false: a spike would never be seen again."""
    judge = window([1.0, 3.0] * 4)
    for _ in range(20):
        assert not judge.is_spike(bad)
        judge.admit(bad)
    assert list(judge.losses) == [1.0, 3.0] * 4
    assert judge.is_spike(4.5)
    assert not judge.is_spike(3.5)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=30), st.floats(0, 40))
def test_agrees_with_numpy(losses, loss):
    judge = window([])
    for value in losses:
        judge.admit(value)
    last = np.array(losses[-8:])
    limit = last.mean() + 2.0 * last.std()
    if len(last) < 4:
        assert not judge.is_spike(loss)
    elif abs(loss - limit) > 1e-9:
        assert judge.is_spike(loss) == (loss > limit)


def plan(every, rewind, evaluate=0):
    return Train(
        checkpoint_every=every, evaluate_every=evaluate, spikes=Spikes(rewind=rewind, window=8)
    )


def test_the_newest_checkpoint_that_is_old_enough():
    for spike, to in ((109, 0), (110, 10), (119, 10), (120, 20)):
        assert rewind_target(plan(10, 100), spike, range(10, spike, 10)) == to
    assert rewind_target(plan(10, 0), 25, [10, 20]) == 20


def test_a_checkpoint_of_a_signal_is_no_target():
    assert rewind_target(plan(10, 5), 28, [10, 20, 23]) == 20
    assert steps_to_keep(plan(10, 5), [10, 20, 23]) == {10, 20, 23}  # 24 - 5 is before 20


def test_the_oldest_is_better_than_the_start():
    assert rewind_target(plan(10, 100), 250, [200, 240]) == 200
    assert rewind_target(plan(1000, 100), 250, []) == 0


def test_without_spikes_nothing_more_is_kept():
    assert steps_to_keep(Train(), [100, 200]) == set()


@given(
    st.integers(1, 12),
    st.integers(0, 40),
    st.integers(0, 12),
    st.sets(st.integers(1, 80), max_size=5),
    st.integers(1, 80),
)
@example(every=2, rewind=0, evaluate=0, signals={1}, spike=2)
def test_what_a_rewind_needs_is_kept(every, rewind, evaluate, signals, spike):
    """Removing what may go, save by save, never changes where a spike leads to."""
    config = plan(every, rewind, evaluate)
    ever = [n for n in range(1, spike) if checkpoint_due(config, n) or n in signals]
    left = []
    for step in ever:
        left.append(step)
        kept = steps_to_keep(config, left) | {step}
        left = [n for n in left if n in kept]
    undisturbed = [n for n in ever if checkpoint_due(config, n)]
    target = rewind_target(config, spike, left)
    assert target == rewind_target(config, spike, undisturbed)
    assert target <= max(0, spike - rewind)
    if left:  # no more than lie within the rewind, one before, and the last
        assert len([n for n in left[:-1] if n <= left[-1] + 1 - rewind]) <= 1
