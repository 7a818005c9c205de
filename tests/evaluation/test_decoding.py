"""The choice of a token: exact small distributions, and slow references on random ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from massivetext.errors import ConfigError
from massivetext.evaluation.decoding import Decoding, ban, choices, contrast, sample

SHARES = [0.1, 0.2, 0.3, 0.4]


def probabilities(shares, how, banned=()):
    """The exact probability of each token."""
    logits = ban(jnp.log(jnp.array(shares)), banned)
    tokens, weights = choices(logits, how)
    found = np.zeros(len(shares))
    found[np.asarray(tokens)] = jax.nn.softmax(weights)
    return found


@pytest.mark.parametrize(
    ("how", "banned", "expected"),
    [
        (Decoding(1, 0), (), SHARES),
        (Decoding(1, 0), (3,), [1 / 6, 2 / 6, 3 / 6, 0]),
        (Decoding(1, 2), (), [0, 0, 3 / 7, 4 / 7]),
        (Decoding(1, 2), (3,), [0, 2 / 5, 3 / 5, 0]),
        (Decoding(0.5, 2), (3,), [0, 4 / 13, 9 / 13, 0]),
        (Decoding(1, 99), (), SHARES),
        (Decoding(1, 1), (), [0, 0, 0, 1]),
        (Decoding(1, 0, 0.39), (), [0, 0, 0, 1]),
        (Decoding(1, 0, 0.41), (), [0, 0, 3 / 7, 4 / 7]),
        (Decoding(1, 0, 0.69), (), [0, 0, 3 / 7, 4 / 7]),
        (Decoding(1, 0, 0.71), (), [0, 2 / 9, 3 / 9, 4 / 9]),
        (Decoding(1, 0, 0.89), (), [0, 2 / 9, 3 / 9, 4 / 9]),
        (Decoding(1, 0, 0.91), (), SHARES),
        # top-p counts what temperature and top-k leave: 3/7 and 4/7, then 9/25 and 16/25.
        (Decoding(1, 2, 0.56), (), [0, 0, 0, 1]),
        (Decoding(1, 2, 0.58), (), [0, 0, 3 / 7, 4 / 7]),
        (Decoding(0.5, 2, 0.63), (), [0, 0, 0, 1]),
        (Decoding(0.5, 2, 0.65), (), [0, 0, 9 / 25, 16 / 25]),
        (Decoding(1e-30, 0), (), [0, 0, 0, 1]),
    ],
)
def test_what_is_drawn_among(how, banned, expected):
    np.testing.assert_allclose(probabilities(SHARES, how, banned), expected, atol=1e-6)


def test_of_equals_the_smaller_token_stays():
    assert probabilities([0.25] * 4, Decoding(1, 2)).tolist() == [0.5, 0.5, 0, 0]
    assert probabilities([0.25] * 4, Decoding(1, 0, 0.3)).tolist() == [0.5, 0.5, 0, 0]
    assert int(sample(jnp.zeros(4), jax.random.key(0), Decoding(0))) == 0


def slow(logits, how):
    """Top-k and top-p, token by token, in double precision."""
    scaled = np.float64(logits) / how.temperature
    weights = np.exp(scaled - scaled.max())
    order = sorted(range(len(logits)), key=lambda token: (-scaled[token], token))
    kept = order[: how.top_k or None]
    total, reached, some = sum(weights[token] for token in kept), 0.0, []
    for token in kept:
        # A threshold that rounding could move decides nothing.
        assume(abs(reached - how.top_p) > 1e-4)
        if reached < how.top_p:
            some.append(token)
        reached += weights[token] / total
    found = np.zeros(len(logits))
    found[some] = weights[some] / weights[some].sum()
    return found


@settings(max_examples=60, deadline=None)
@given(
    logits=st.lists(st.integers(-40, 40).map(lambda x: x / 8), min_size=12, max_size=12),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 5, 12]),
    top_p=st.sampled_from([0.05, 0.4, 0.83, 1.0]),
)
def test_the_distribution_is_that_of_the_slow_one(logits, temperature, top_k, top_p):
    how = Decoding(temperature, top_k, top_p)
    tokens, weights = choices(jnp.array(logits, jnp.float32), how)
    found = np.zeros(len(logits))
    found[np.asarray(tokens)] = jax.nn.softmax(weights)
    np.testing.assert_allclose(found, slow(logits, how), atol=1e-5)


def test_draws_follow_the_distribution():
    logits, how = jnp.log(jnp.array(SHARES)), Decoding(0.5, 3, 0.99)
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = jax.vmap(lambda key: sample(logits, key, how))(keys)
    shares = np.bincount(np.asarray(drawn), minlength=4) / len(keys)
    np.testing.assert_allclose(shares, np.array([0, 4, 9, 16]) / 29, atol=0.03)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1; it must be at least 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"top_k": -1}, "top-k is -1; it must be at least 0"),
        ({"top_p": 0.0}, "top-p is 0.0; it must be more than 0 and at most 1"),
        ({"top_p": 1.01}, r"top-p is 1\.01"),
        ({"contrastive": -0.01}, "contrastive is -0.01; it must be between 0 and 1"),
        ({"contrastive": 1.01}, r"contrastive is 1\.01"),
        ({"candidates": 0}, "candidates is 0; it must be at least 1"),
    ],
)
def test_nonsense_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Decoding(**values)


def test_the_edges_are_not_nonsense():
    for contrastive in (0.0, 1.0, None):
        Decoding(temperature=0, top_k=0, top_p=1, contrastive=contrastive, candidates=1)


# Candidate 0 repeats the text so far (cosine 1), candidate 1 is at right angles to it (cosine 0).
REPEATS = (jnp.array([[3.0, 0.0], [0.0, 2.0]]), jnp.array([[5.0, 0.0], [0.0, 7.0]]))


@pytest.mark.parametrize(
    ("alpha", "expected"),
    # (1-a)·0.8 - a against (1-a)·0.2: equal at a = 3/8
    [(0.0, 0), (0.37, 0), (0.38, 1), (1.0, 1)],
)
def test_contrastive_search_weighs_likelihood_against_likeness(alpha, expected):
    state, seen = REPEATS
    assert int(contrast(jnp.array([0.8, 0.2]), state, seen, 1, alpha)) == expected


def test_contrastive_search_looks_at_the_text_alone():
    state, seen = REPEATS
    # The second row is not of the text yet; once it is, both candidates repeat something.
    assert int(contrast(jnp.array([0.5, 0.5]), state, seen, 1, 0.5)) == 1
    assert int(contrast(jnp.array([0.5, 0.5]), state, seen, 2, 0.5)) == 0
    zero = jnp.zeros_like(state)
    assert int(contrast(jnp.array([0.4, 0.6]), zero, seen, 2, 0.5)) == 1


numbers = st.integers(-9, 9).map(float)


@settings(max_examples=60, deadline=None)
@given(
    state=st.lists(st.tuples(numbers, numbers, numbers), min_size=4, max_size=4),
    seen=st.lists(st.tuples(numbers, numbers, numbers), min_size=5, max_size=5),
    count=st.integers(1, 5),
    probability=st.lists(st.integers(0, 16).map(lambda x: x / 16), min_size=4, max_size=4),
    alpha=st.sampled_from([0.0, 0.25, 0.6, 1.0]),
)
def test_contrastive_search_is_the_slow_one(state, seen, count, probability, alpha):
    def cosine(a, b):
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return float(np.dot(a, b) / lengths) if lengths else 0.0

    scores = [
        (1 - alpha) * p - alpha * max(cosine(h, other) for other in seen[:count])
        for p, h in zip(probability, state, strict=True)
    ]
    found = int(contrast(jnp.array(probability), jnp.array(state), jnp.array(seen), count, alpha))
    assert scores[found] == pytest.approx(max(scores), abs=1e-5)
