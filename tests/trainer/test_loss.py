"""Chunked cross-entropy against the one that holds all logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from massivetext.trainer import loss
from massivetext.trainer.loss import PADDING, cross_entropy


def whole(hidden, embedding, targets):
    log_p = jax.nn.log_softmax(hidden @ embedding.T, axis=-1)
    nll = -jnp.take_along_axis(log_p, jnp.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    return jnp.sum(nll * (targets != PADDING))


def data(batch=3, length=7, d=5, vocab=11):
    rng = np.random.default_rng(3)
    hidden = jnp.asarray(rng.normal(size=(batch, length, d)), jnp.float32)
    embedding = jnp.asarray(rng.normal(size=(vocab, d)), jnp.float32)
    targets = rng.integers(0, vocab, (batch, length)).astype(np.int32)
    targets[1, 4:] = PADDING
    return hidden, embedding, jnp.asarray(targets)


@pytest.mark.parametrize("tokens", [1, 3, 6, 9, 21, 1000])
def test_equal_to_the_whole_for_every_chunk(tokens, monkeypatch):
    monkeypatch.setattr(loss, "CHUNK_TOKENS", tokens)
    hidden, embedding, targets = data()
    nll, count = cross_entropy(hidden, embedding, targets)
    np.testing.assert_allclose(nll, whole(hidden, embedding, targets), rtol=1e-6)
    assert count == 18
    got = jax.grad(lambda h, e: cross_entropy(h, e, targets)[0], (0, 1))(hidden, embedding)
    wanted = jax.grad(lambda h, e: whole(h, e, targets), (0, 1))(hidden, embedding)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert not np.any(got[0][1, 4:])  # padding gives no gradient


def test_bfloat16_keeps_float32_sums():
    hidden, embedding, targets = data()
    nll, _ = cross_entropy(hidden.astype(jnp.bfloat16), embedding, targets)
    assert nll.dtype == jnp.float32
    np.testing.assert_allclose(nll, whole(hidden, embedding, targets), rtol=2e-2)


def test_nothing_but_padding_is_zero():
    hidden, embedding, targets = data()
    nll, count = cross_entropy(hidden, embedding, jnp.full_like(targets, PADDING))
    assert (float(nll), float(count)) == (0.0, 0.0)
