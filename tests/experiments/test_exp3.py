"""Exp3 against the formulas one subset at a time, and what its draws must be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.experiments.exp3 import draw, exploration, policy, rewarded


def slow(losses_by_update, count):
    """Play the released code's bandit, one draw an update: [(subset, loss)] -> policy."""
    rewards, previous = [0.0] * count, 1 / count
    probabilities = [1 / count] * count
    for update, (subset, loss) in enumerate(losses_by_update, 1):
        rewards[subset] += loss / 10 / probabilities[subset]
        least = min(1 / count, math.sqrt(math.log(count) / (count * update)))
        total = sum(math.exp(previous * reward) for reward in rewards)
        probabilities = [
            (1 - count * least) * math.exp(previous * reward) / total + least for reward in rewards
        ]
        previous = least
    return probabilities


def play(losses_by_update, count):
    rewards = np.zeros(count)
    for update, (subset, loss) in enumerate(losses_by_update):
        drawn, losses = np.array([subset]), np.array([loss])
        rewards = rewarded(rewards, policy(rewards, update), drawn, losses)
    return policy(rewards, len(losses_by_update))


@given(
    count=st.integers(2, 5),
    pulls=st.lists(st.tuples(st.integers(0, 4), st.floats(0.0, 12.0)), max_size=40),
)
def test_it_is_the_released_bandit(count, pulls):
    pulls = [(subset % count, loss) for subset, loss in pulls]
    ours = play(pulls, count)
    assert ours == pytest.approx(slow(pulls, count), rel=1e-9)
    assert ours.sum() == pytest.approx(1, abs=1e-12)
    assert (ours >= exploration(count, len(pulls)) * (1 - 1e-12)).all()


def test_exploration_is_everything_up_to_k_ln_k_updates():
    # 4 ln 4 = 5.545...
    assert [exploration(4, t) for t in (0, 1, 5)] == [0.25] * 3
    assert exploration(4, 6) == math.sqrt(math.log(4) / 24) < 0.25
    assert policy(np.array([9.0, 0, 0, 0]), 5).tolist() == [0.25] * 4
    assert policy(np.array([9.0, 0, 0, 0]), 6)[0] > 0.25


def test_a_batch_adds_the_mean_of_what_its_sequences_would():
    before, probabilities = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.25, 0.25])
    after = rewarded(before, probabilities, np.array([0, 2, 0, 2]), np.array([1.0, 2.0, 3.0, 4.0]))
    # subset 0: (1 + 3) / 10 / 0.5 / 4; subset 2: (2 + 4) / 10 / 0.25 / 4
    assert after == pytest.approx([1.2, 2.0, 3.6])


def test_rewards_of_any_size_give_probabilities():
    assert policy(np.array([1e6, 0.0]), 100).tolist() == pytest.approx(
        [1 - exploration(2, 100), exploration(2, 100)]
    )


def test_draws_follow_the_policy_and_depend_on_seed_and_step_alone():
    probabilities = np.array([0.2, 0.0, 0.5, 0.3])
    drawn = draw(probabilities, 20_000, 1, 5)
    counts = np.bincount(drawn, minlength=4)
    assert counts[1] == 0
    assert counts / 20_000 == pytest.approx(probabilities, abs=0.015)
    assert (draw(probabilities, 100, 1, 5) == drawn[:100]).all()
    for seed, step in ((2, 5), (1, 6)):
        assert (draw(probabilities, 20_000, seed, step) != drawn).mean() > 0.5
