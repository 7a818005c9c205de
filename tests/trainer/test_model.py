"""The decoder of every family: what it computes, and that no token sees a later one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from massivetext.errors import ConfigError
from massivetext.presets import POSITIONS
from massivetext.trainer.families import FAMILIES
from massivetext.trainer.model import hidden_states, logits
from massivetext.trainer.parameters import Dimensions, initialise

LENGTH = 6
EVERY = [(family, positions) for family in FAMILIES for positions in POSITIONS]


def tiny_size(family, positions=None, **changes) -> Dimensions:
    record = FAMILIES[family]
    values = {
        "layers": 2,
        "heads": 4,
        "kv_heads": record.kv_heads or 4,
        "kv_size": 6,
        "d_model": 12,
        "ffw": 20,
        "vocab_size": 31,
        "positions": positions or record.positions,
        "qk_norm": False,
        "context": 16,
    }
    return Dimensions(family, **(values | changes))


def some_tokens(batch=2, length=LENGTH, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, 31, (batch, length)))


def noisy(size, seed=1):
    """Parameters none of which is at its first value: zero biases would hide a mistake."""
    rng = np.random.default_rng(seed)
    return {
        name: x + jnp.asarray(rng.normal(size=x.shape, scale=0.2), jnp.float32)
        for name, x in initialise(size, seed).items()
    }


run = jax.jit(hidden_states, static_argnames=("size", "precision", "remat"))


@pytest.mark.parametrize(("family", "positions"), EVERY)
def test_no_token_sees_a_later_one(family, positions):
    """By gradient: hidden state t depends on the embeddings of tokens 0..t and no others."""
    size = tiny_size(family, positions, layers=1, qk_norm=True)
    params = noisy(size)
    tokens = jnp.arange(LENGTH)[None]

    @jax.jit
    @partial(jax.vmap, in_axes=(None, 0))
    @jax.grad
    def gradient_of(embedding, t):
        hidden = hidden_states({**params, "embedding": embedding}, tokens, size, remat="none")
        return jnp.sum(hidden[0, t] ** 3)

    gradients = gradient_of(params["embedding"], jnp.arange(LENGTH))
    touched = np.abs(np.asarray(gradients)[:, :LENGTH]).sum(axis=-1) > 0
    np.testing.assert_array_equal(touched, np.tri(LENGTH, dtype=bool))


@pytest.mark.parametrize("positions", ["relative", "rotary", "alibi", "none"])
def test_a_longer_context_agrees_on_its_prefix(positions):
    """Longer than the context trained with, and than one block of attention."""
    size = tiny_size("gopher", positions, context=70)
    params = initialise(size, 1)
    tokens = some_tokens(length=300)
    long = run(params, tokens, size)
    np.testing.assert_allclose(long[:, :70], run(params, tokens[:, :70], size), atol=2e-5)
    assert np.all(np.isfinite(long))


def test_learned_positions_end():
    size = tiny_size("gpt3")
    params = initialise(size, 1)
    assert run(params, some_tokens(length=16), size).shape == (2, 16, 12)
    with pytest.raises(ConfigError, match="17 tokens are longer than the 16 learned positions"):
        hidden_states(params, some_tokens(length=17), size)


def test_order_matters_but_for_none():
    """With `none` a permutation of the past leaves the last token's first layer as it was."""
    for positions in POSITIONS:
        size = tiny_size("gopher", positions, layers=1)
        params = noisy(size)
        one = run(params, jnp.array([[3, 4, 5, 6]]), size)[0, -1]
        other = run(params, jnp.array([[5, 3, 4, 6]]), size)[0, -1]
        same = np.allclose(one, other, atol=1e-5)
        assert same == (positions == "none"), positions


@pytest.mark.parametrize("family", FAMILIES)
def test_precisions_and_the_starting_distribution(family):
    size = tiny_size(family)
    params = initialise(size, 1)
    tokens = some_tokens(4, 16)
    exact, mixed = run(params, tokens, size), run(params, tokens, size, "mixed")
    assert (exact.dtype, mixed.dtype) == (jnp.float32, jnp.bfloat16)
    scores = logits(params, exact)
    rounded = logits(params, mixed)
    assert rounded.dtype == jnp.float32
    assert float(jnp.std(rounded - scores)) < 0.03 * float(jnp.std(scores))
    half = {name: x.astype(jnp.bfloat16) for name, x in params.items()}
    low = run(half, tokens, size, "bfloat16")
    assert low.dtype == jnp.bfloat16
    assert float(jnp.std(logits(half, low) - scores)) < 0.03 * float(jnp.std(scores))
    # Variance 1 at any width: a start close to the uniform distribution. GPT-2's is narrower.
    expected = 3**-0.5 if family == "gpt3" else 1.0
    assert 0.7 * expected < float(jnp.std(scores)) < 1.3 * expected


def test_what_is_kept_for_the_backward_pass_changes_no_gradient():
    size = tiny_size("gopher")
    params, tokens = noisy(size), some_tokens()

    def gradients(remat):
        def value(params):
            return jnp.sum(hidden_states(params, tokens, size, remat=remat) ** 2)

        return jax.jit(jax.grad(value))(params)

    none, matrices, full = (gradients(remat) for remat in ("none", "matrices", "full"))
    # The gradients of some biases are zero but for rounding: compare with the largest of all.
    largest = max(float(jnp.max(jnp.abs(x))) for x in none.values())
    for name, expected in none.items():
        for other in (matrices, full):
            np.testing.assert_allclose(other[name], expected, atol=1e-6 * largest, err_msg=name)


def test_remat_keeps_less():
    size = tiny_size("gpt3", layers=4, d_model=64, ffw=256, kv_size=16, context=128)
    params = jax.eval_shape(lambda: initialise(size, 0))
    tokens = jax.ShapeDtypeStruct((4, 128), jnp.int32)

    def temporary(remat):
        def value(params, tokens):
            return jnp.sum(hidden_states(params, tokens, size, remat=remat) ** 2)

        compiled = jax.jit(jax.grad(value)).lower(params, tokens).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary("full") < temporary("matrices") < temporary("none")


# Slow and plain: one token, one head at a time, in float64.


def reference_norm(x, scale, bias):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * scale + bias


def reference_attention(q, k, v):
    """One sequence: q [T, H, K]; k, v [T, G, K]."""
    length, heads, width = q.shape
    out = np.zeros((length, heads, width))
    for h in range(heads):
        g = h * k.shape[1] // heads
        for i in range(length):
            scores = k[: i + 1, g] @ q[i, h] / np.sqrt(width)
            weights = np.exp(scores - scores.max())
            out[i, h] = weights / weights.sum() @ v[: i + 1, g]
    return out


def reference_rotary(x):
    length, _, width = x.shape
    half = width // 2
    angle = np.arange(length)[:, None] * 10000.0 ** (-2 * np.arange(half) / width)
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)[:, None, :]
    return np.concatenate([turned.real, turned.imag], axis=-1)


def reference_palm(p, tokens, size):
    x = p["embedding"][tokens]
    for n in range(size.layers):
        h = reference_norm(x, p["block_norm"][n], 0)
        q, k, v = (np.tensordot(h, p[name][n], ([1], [0])) for name in ("query", "key", "value"))
        attended = reference_attention(reference_rotary(q), reference_rotary(k), v)
        gate = h @ p["gate"][n]
        ffw = (gate / (1 + np.exp(-gate)) * (h @ p["up"][n])) @ p["down"][n]
        x = x + ffw + np.tensordot(attended, p["output"][n], ([1, 2], [0, 1]))
    return reference_norm(x, p["final_norm"], 0) @ p["embedding"].T / np.sqrt(size.d_model)


def reference_gpt3(p, tokens, size):
    x = p["embedding"][tokens] + p["position_embedding"][: len(tokens)]
    for n in range(size.layers):
        h = reference_norm(x, p["attention_norm"][n], p["attention_norm_bias"][n])
        q, k, v = (
            np.tensordot(h, p[name][n], ([1], [0])) + p[f"{name}_bias"][n]
            for name in ("query", "key", "value")
        )
        attended = reference_attention(q, k, v)
        x = x + np.tensordot(attended, p["output"][n], ([1, 2], [0, 1])) + p["output_bias"][n]
        h = reference_norm(x, p["ffw_norm"][n], p["ffw_norm_bias"][n])
        up = h @ p["up"][n] + p["up_bias"][n]
        # GPT-2's form of GELU
        gelu = 0.5 * up * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3)))
        x = x + gelu @ p["down"][n] + p["down_bias"][n]
    return reference_norm(x, p["final_norm"], p["final_norm_bias"]) @ p["embedding"].T


@pytest.mark.parametrize(
    ("family", "reference"), [("palm", reference_palm), ("gpt3", reference_gpt3)]
)
def test_equal_to_a_plain_reference(family, reference):
    size = tiny_size(family)
    params, tokens = noisy(size), some_tokens(length=9)
    hidden = run(params, tokens, size)
    actual = logits(params, hidden)
    wide = {name: np.asarray(x, np.float64) for name, x in params.items()}
    for b in range(2):
        expected = reference(wide, np.asarray(tokens[b]), size)
        np.testing.assert_allclose(actual[b], expected, rtol=1e-5, atol=1e-5)
    matrix = params["embedding"]
    np.testing.assert_allclose(hidden @ matrix.T, actual, atol=1e-5)


def test_normed_queries_and_keys_bound_the_scores():
    """Scaling the projections of queries and keys changes nothing once they are normed."""
    size = tiny_size("palm", qk_norm=True, layers=1)
    params, tokens = noisy(size), some_tokens()
    larger = {**params, "query": 50 * params["query"], "key": 9 * params["key"]}
    np.testing.assert_allclose(run(larger, tokens, size), run(params, tokens, size), atol=1e-4)
    other = {**params, "query_norm": 3 * params["query_norm"]}
    assert not np.allclose(run(other, tokens, size), run(params, tokens, size), atol=1e-2)
