"""Relative attention against its definition, written out with loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from massivetext.trainer.attention import relative_attention, relative_shift, sinusoid


def by_definition(q, k, v, position_of, u, w):
    """The formula of Transformer-XL, section 3.3, in float64; `position_of(distance)` is W_R r."""
    batch, length, heads, size = q.shape
    out = np.zeros_like(q)
    for b in range(batch):
        for h in range(heads):
            for i in range(length):
                scores = [
                    ((q[b, i, h] + u[h]) @ k[b, j, h] + (q[b, i, h] + w[h]) @ position_of(i - j)[h])
                    / np.sqrt(size)
                    for j in range(i + 1)
                ]
                weights = np.exp(scores - np.max(scores))
                out[b, i, h] = weights / weights.sum() @ v[b, : i + 1, h]
    return out


def inputs(length, batch=2, heads=2, size=3, d_model=8, seed=0):
    rng = np.random.default_rng(seed)
    q, k, v = rng.normal(size=(3, batch, length, heads, size))
    u, w = rng.normal(size=(2, heads, size))
    project = rng.normal(size=(d_model, heads, size))
    position = np.einsum("td,dhk->thk", np.asarray(sinusoid(length, d_model)), project)
    return q, k, v, position, u, w, project


@pytest.mark.parametrize(
    ("length", "block"), [(11, 1), (11, 2), (11, 100), (1, 100), (4, 1), (5, 3), (16, 2)]
)
def test_equal_to_the_definition_for_every_block(length, block):
    d_model = 8
    q, k, v, position, u, w, project = inputs(length, d_model=d_model)

    def position_of(distance):
        frequency = 10000.0 ** (-np.arange(0, d_model, 2) / d_model)
        r = np.concatenate([np.sin(distance * frequency), np.cos(distance * frequency)])
        return np.einsum("d,dhk->hk", r, project)

    args = [jnp.asarray(x, jnp.float32) for x in (q, k, v, position, u, w)]
    np.testing.assert_allclose(
        relative_attention(*args, max_block=block),
        by_definition(q, k, v, position_of, u, w),
        atol=1e-5,
    )


def test_gradients_do_not_depend_on_the_block():
    args = [jnp.asarray(x, jnp.float32) for x in inputs(12)[:6]]

    def gradients(block):
        def value(*a):
            return jnp.sum(relative_attention(*a, max_block=block) ** 2)

        return jax.jit(jax.grad(value, argnums=range(6)))(*args)

    for one, other in zip(gradients(256), gradients(1), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(("q", "s"), [(1, 1), (1, 5), (4, 4), (3, 7)])
def test_shift_puts_each_distance_under_its_key(q, s):
    distance = np.broadcast_to(np.arange(s - 1, -1, -1), (q, s))
    shifted = np.asarray(relative_shift(jnp.asarray(distance)))
    for a in range(q):
        for j in range(s - q + a + 1):
            assert shifted[a, j] == s - q + a - j


def test_memory_grows_with_the_block_and_not_with_the_square():
    def peak(length, block):
        args = [
            jax.ShapeDtypeStruct(s, jnp.float32) for s in [(1, length, 2, 8)] * 3 + [(length, 2, 8)]
        ] + [jax.ShapeDtypeStruct((2, 8), jnp.float32)] * 2
        value = lambda *a: jnp.sum(relative_attention(*a, max_block=block) ** 2)  # noqa: E731
        compiled = jax.jit(jax.grad(value, argnums=range(6))).lower(*args).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # A dense score matrix of 2048 takes 32 MiB for each of its copies.
    assert peak(2048, 64) < 32 * 2**20 < peak(2048, 512)
