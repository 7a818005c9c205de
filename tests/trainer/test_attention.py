"""Attention and the encodings of positions against their definitions, written out with loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from massivetext.trainer import attention
from massivetext.trainer.attention import Relative, relative_shift
from massivetext.trainer.layers import (
    alibi_slopes,
    layer_norm,
    rms_norm,
    rotary_angles,
    rotate,
    sinusoid,
)

# One compilation instead of one for each operation.
causal_attention = jax.jit(attention.causal_attention, static_argnames="max_block")
cached_attention = jax.jit(attention.cached_attention, static_argnames="max_block")


def by_definition(q, k, v, extra):
    """Softmax over j <= i of q_i·k_j / sqrt(K) + extra(b, h, i, j), in float64, head by head."""
    batch, length, heads, size = q.shape
    share = heads // k.shape[2]
    out = np.zeros_like(q)
    for b in range(batch):
        for h in range(heads):
            keys, values = k[b, :, h // share], v[b, :, h // share]
            for i in range(length):
                scores = [
                    q[b, i, h] @ keys[j] / np.sqrt(size) + extra(b, h, i, j) for j in range(i + 1)
                ]
                weights = np.exp(scores - np.max(scores))
                out[b, i, h] = weights / weights.sum() @ values[: i + 1]
    return out


def inputs(length, batch=2, heads=2, kv_heads=None, size=3, seed=0):
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(batch, length, heads, size))
    k, v = rng.normal(size=(2, batch, length, kv_heads or heads, size))
    return q, k, v


def relative_inputs(length, heads=2, size=3, d_model=8, seed=1):
    rng = np.random.default_rng(seed)
    u, w = rng.normal(size=(2, heads, size))
    project = rng.normal(size=(d_model, heads, size))
    distances = np.arange(length)[::-1]
    position = np.einsum("td,dhk->thk", np.asarray(sinusoid(distances, d_model)), project)
    return Relative(position, u, w), project


def float32(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


@pytest.mark.parametrize(
    ("length", "block", "kv_heads"),
    [
        (11, 1, 2),
        (11, 2, 1),
        (11, 100, 2),
        (11, 100, 1),
        (1, 100, 2),
        (5, 3, 2),
        (16, 2, 2),
        (17, 4, 2),
    ],
)
def test_relative_equals_the_definition_for_every_block(length, block, kv_heads):
    d_model = 8
    q, k, v = inputs(length, kv_heads=kv_heads)
    bias, project = relative_inputs(length, d_model=d_model)

    def extra(b, h, i, j):
        """The formula of Transformer-XL, section 3.3, less q·k."""
        frequency = 10000.0 ** (-np.arange(0, d_model, 2) / d_model)
        r = np.concatenate([np.sin((i - j) * frequency), np.cos((i - j) * frequency)])
        turned = np.einsum("d,dhk->hk", r, project)[h]
        key = k[b, j, 0 if kv_heads == 1 else h]
        content = bias.content_bias[h] @ key
        return (content + (q[b, i, h] + bias.position_bias[h]) @ turned) / np.sqrt(3)

    np.testing.assert_allclose(
        causal_attention(*float32((q, k, v, bias)), max_block=block),
        by_definition(q, k, v, extra),
        atol=1e-5,
    )


@pytest.mark.parametrize(("length", "block"), [(11, 2), (11, 100), (17, 4)])
def test_alibi_equals_the_definition_for_every_block(length, block):
    q, k, v = inputs(length, heads=3, kv_heads=3)
    slopes = alibi_slopes(3)
    expected = by_definition(q, k, v, lambda b, h, i, j: slopes[h] * (j - i))
    actual = causal_attention(*float32((q, k, v, np.array(slopes))), max_block=block)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_slopes():
    assert alibi_slopes(1) == [2.0**-8]
    assert alibi_slopes(8) == [2.0**-n for n in range(1, 9)]
    # The authors' example: 12 heads have the 8 slopes of 8 heads, then every other one of 16.
    assert alibi_slopes(12) == [*alibi_slopes(8), *alibi_slopes(16)[0:8:2]]
    assert alibi_slopes(12)[8:] == [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    for heads in range(1, 130):
        slopes = alibi_slopes(heads)
        assert len(slopes) == heads == len(set(slopes))
        assert all(0 < slope < 1 for slope in slopes)
    assert alibi_slopes(96)[:64] == alibi_slopes(64)
    assert alibi_slopes(96)[64:] == alibi_slopes(128)[0::2][:32]


@pytest.mark.parametrize(
    ("heads", "kv_heads", "block"), [(4, 2, 100), (6, 2, 2), (4, 1, 2), (4, 4, 2)]
)
def test_shared_keys_equal_repeated_ones(heads, kv_heads, block):
    q, k, v = inputs(9, heads=heads, kv_heads=kv_heads)
    shared = causal_attention(*float32((q, k, v)), max_block=block)
    repeated = [np.repeat(x, heads // kv_heads, axis=2) for x in (k, v)]
    np.testing.assert_allclose(
        shared, causal_attention(*float32((q, *repeated)), max_block=block), atol=1e-6
    )
    np.testing.assert_allclose(shared, by_definition(q, k, v, lambda *_: 0.0), atol=1e-5)


def test_gradients_do_not_depend_on_the_block():
    bias, _ = relative_inputs(12)
    args = float32((*inputs(12), bias))

    def gradients(block):
        def value(*a):
            return jnp.sum(causal_attention(*a, max_block=block) ** 2)

        return jax.tree.leaves(jax.jit(jax.grad(value, argnums=range(4)))(*args))

    for one, other in zip(gradients(256), gradients(2), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(("start", "block"), [(0, 100), (0, 3), (1, 2), (6, 3), (10, 1)])
def test_attention_to_a_cache_equals_the_last_rows_of_a_whole(start, block):
    """With room left over in the cache, which holds anything at all."""
    length, room = 11, 14
    q, k, v = inputs(length)
    bias, _ = relative_inputs(length)
    whole = causal_attention(*float32((q, k, v, bias)))
    padded = [
        np.pad(x, [(0, 0), (0, room - length), (0, 0), (0, 0)], constant_values=9.0) for x in (k, v)
    ]
    longest, _ = relative_inputs(room)
    rows = np.pad(longest.position, [(0, room - 1), (0, 0), (0, 0)])
    args = float32((*padded, bias._replace(position=rows)))
    part = cached_attention(float32(q[:, start:]), jnp.int32(start), *args, max_block=block)
    np.testing.assert_allclose(part, whole[:, start:], atol=1e-6)


@pytest.mark.parametrize(("q", "s"), [(1, 1), (1, 5), (4, 4), (3, 7)])
def test_shift_puts_each_distance_under_its_key(q, s):
    distance = np.broadcast_to(np.arange(s - 1, -1, -1), (q, s))
    shifted = np.asarray(relative_shift(jnp.asarray(distance)))
    for a in range(q):
        for j in range(s - q + a + 1):
            assert shifted[a, j] == s - q + a - j


@pytest.mark.parametrize("kind", ["relative", "alibi"])
def test_memory_grows_with_the_block_and_not_with_the_square(kind):
    def peak(length, block):
        small = jax.ShapeDtypeStruct((2, 8), jnp.float32)
        wide = jax.ShapeDtypeStruct((length, 2, 8), jnp.float32)
        bias = {
            "relative": Relative(wide, small, small),
            "alibi": jax.ShapeDtypeStruct((2,), jnp.float32),
        }[kind]
        args = [jax.ShapeDtypeStruct((1, length, 2, 8), jnp.float32)] * 3
        value = lambda *a: jnp.sum(causal_attention(*a, max_block=block) ** 2)  # noqa: E731
        compiled = jax.jit(jax.grad(value, argnums=range(3))).lower(*args, bias).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # A dense score matrix of 2048 takes 32 MiB for each of its copies.
    assert peak(2048, 64) < 32 * 2**20 < peak(2048, 2048)


def test_rotary_scores_depend_on_the_distance_alone():
    rng = np.random.default_rng(0)
    q, k = (jnp.asarray(rng.normal(size=8), jnp.float32) for _ in range(2))

    @jax.jit
    def score(i, j):
        turned = [
            rotate(x[None, None, None], rotary_angles(jnp.array([at]), 8))[0, 0, 0]
            for x, at in ((q, i), (k, j))
        ]
        return turned[0] @ turned[1]

    assert float(score(7, 3)) == pytest.approx(float(score(104, 100)), abs=1e-4)
    assert float(score(3, 3)) == pytest.approx(float(q @ k), abs=1e-5)
    assert abs(score(7, 3) - score(7, 4)) > 1e-2


def test_rotary_turns_the_halves_of_a_head():
    x = np.random.default_rng(0).normal(size=(1, 5, 1, 6)).astype(np.float32)
    turned = np.asarray(rotate(x, rotary_angles(jnp.arange(10, 15), 6)))
    for t in range(5):
        for m in range(3):
            angle = (10 + t) * 10000.0 ** (-2 * m / 6)
            pair = complex(x[0, t, 0, m], x[0, t, 0, m + 3]) * np.exp(1j * angle)
            assert complex(turned[0, t, 0, m], turned[0, t, 0, m + 3]) == pytest.approx(
                pair, abs=1e-5
            )


def test_rotary_angles_are_float32_whatever_the_activations_are():
    """In bfloat16 the positions 2046 and 2047 are the same number."""
    angles = rotary_angles(jnp.array([2046, 2047], jnp.int32), 8)
    assert angles.dtype == jnp.float32
    x = jnp.ones((1, 2, 1, 8), jnp.bfloat16)
    turned = rotate(x, angles)
    assert turned.dtype == jnp.bfloat16
    exact = rotate(x.astype(jnp.float32), angles)
    np.testing.assert_allclose(turned.astype(jnp.float32), exact, atol=1e-2)
    assert float(jnp.max(jnp.abs(turned[0, 0] - turned[0, 1]))) > 0.1


def test_norms():
    x = jnp.array([[3.0, 4.0]])
    scale = jnp.array([1.0, 2.0])
    np.testing.assert_allclose(rms_norm(x, scale), [[3 / 12.5**0.5, 8 / 12.5**0.5]], rtol=1e-5)
    np.testing.assert_allclose(layer_norm(x, scale), [[-1.0, 2.0]], rtol=1e-5)
    np.testing.assert_allclose(layer_norm(x, scale, scale), [[0.0, 4.0]], rtol=1e-5, atol=1e-5)
    for norm in (rms_norm, layer_norm):
        assert norm(x.astype(jnp.bfloat16), scale).dtype == jnp.bfloat16
        np.testing.assert_allclose(norm(1000 * x, scale), norm(x, scale), rtol=1e-5)


@pytest.mark.parametrize(
    ("backend", "dtype", "size", "bias", "fused"),
    [
        ("gpu", jnp.bfloat16, 128, None, True),
        ("gpu", jnp.bfloat16, 136, None, False),
        ("gpu", jnp.bfloat16, 12, None, False),
        ("gpu", jnp.float32, 128, None, False),
        ("cpu", jnp.bfloat16, 128, None, False),
        ("gpu", jnp.bfloat16, 128, "slopes", False),
    ],
)
def test_when_the_kernel_of_cudnn_is_taken(monkeypatch, backend, dtype, size, bias, fused):
    calls = []

    def kernel(query, key, value, **options):
        calls.append(options)
        return query

    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax.nn, "dot_product_attention", kernel)
    shape = jax.ShapeDtypeStruct((1, 4, 2, size), dtype)
    slopes = jnp.array(alibi_slopes(2)) if bias else None
    jax.eval_shape(lambda *a: attention.causal_attention(*a, slopes), shape, shape, shape)
    assert calls == [{"is_causal": True, "implementation": "cudnn"}] * fused


def test_what_is_asked_of_cudnn_is_what_ours_computes():
    """By the reference implementation of the same call, with keys that heads share."""
    q, k, v = float32(inputs(9, heads=4, kv_heads=2, size=8))
    theirs = jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation="xla")
    np.testing.assert_allclose(causal_attention(q, k, v), theirs, atol=1e-6)
