"""Which subset to train on next, as a bandit: Exp3 with the loss as its reward.

Online Data Mixing (Albalak et al. 2023, 2312.02406): after t updates the policy over K subsets is

    pi(i) = (1 - K e_t) exp(e_{t-1} R_i) / sum_j exp(e_{t-1} R_j) + e_t
    e_t = min(1 / K, sqrt(ln K / (K t))),  e_0 = 1 / K

and R_i the reward so far. We take that of the released code: the loss / 10 of a batch of subset i,
divided by the probability it was drawn with, is added to R_i; the paper describes a moving average.
There a batch is of one subset. Here each of a batch's B sequences is drawn on its own, and the mean
of what they would add is added: the same in expectation, less noisy by far in short runs, and with
B = 1 the same.

A high loss is taken for much that is left to learn. Noise has a high loss too.
"""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# What makes losses rewards from 0 to about 1.
REWARD_SCALE = 10.0

_SALT = 0x6F6E6C696E65


def exploration(count: int, updates: int) -> float:
    """Return e_t of `count` subsets after `updates` updates: the least probability of each."""
    if not updates:
        return 1 / count
    return min(1 / count, math.sqrt(math.log(count) / (count * updates)))


def policy(rewards: Floats, updates: int) -> Floats:
    """Return the probabilities, [K], to draw each subset with, after `updates` updates."""
    count = len(rewards)
    if not updates:
        return np.full(count, 1 / count)
    least = exploration(count, updates)
    scaled = exploration(count, updates - 1) * rewards
    gibbs = np.exp(scaled - scaled.max())
    return np.asarray((1 - count * least) * gibbs / gibbs.sum() + least)


def draw(probabilities: Floats, size: int, seed: int, step: int) -> Integers:
    """Return the subset of each of the `size` sequences of a step: a function of seed and step."""
    # 2^64 draws lie between two steps.
    counter = np.array([0, step, 0, 0], np.uint64)
    random = np.random.Philox(key=np.array([seed, _SALT], np.uint64), counter=counter)
    bounds = np.cumsum(probabilities)
    places = np.random.Generator(random).random(size) * bounds[-1]
    # Rounding could make the last place the last bound.
    return np.minimum(np.searchsorted(bounds, places, side="right"), len(bounds) - 1)


def rewarded(rewards: Floats, probabilities: Floats, drawn: Integers, losses: Floats) -> Floats:
    """Return the rewards, [K], after a batch.

    Args:
      probabilities: those that the batch was drawn with, [K].
      drawn, losses: subset and mean loss (nats per target) of each of its sequences, [B].
    """
    added = losses / REWARD_SCALE / probabilities[drawn] / len(drawn)
    return rewards + np.bincount(drawn, added, minlength=len(rewards))
