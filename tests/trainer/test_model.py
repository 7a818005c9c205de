"""The parameter table against the published sizes; the decoder's structure."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from massivetext.config import Train
from massivetext.errors import ConfigError
from massivetext.presets import MODELS
from massivetext.trainer.flops import flops_per_token, forward_flops
from massivetext.trainer.model import hidden_states, logits, rms_norm
from massivetext.trainer.parameters import (
    Dimensions,
    abstract,
    decay_mask,
    dimensions,
    initialise,
    parameter_count,
    table,
)

SIZE = Dimensions("gopher", layers=2, heads=2, kv_size=4, d_model=12, ffw=20, vocab_size=31)
# Gopher's Table 1 and Chinchilla's Table A9, in millions, matrices alone.
MATRICES_ONLY = {
    "gopher-44m": 43.6,
    "gopher-117m": 116.6,
    "gopher-417m": 417.2,
    "gopher-1.4b": 1374,
    "gopher-7.1b": 7110,
    "gopher-280b": 279_700,
    "chinchilla-70b": 70_060,
}


def formula(s: Dimensions) -> int:
    """Count as Chinchilla's Table A9 does, written apart from the table."""
    d, f, a = s.d_model, s.ffw, s.heads * s.kv_size
    layer = 5 * d * a + 2 * d * f + 3 * a + d + (d + f) + 2 * a
    return s.vocab_size * d + s.layers * layer


@pytest.mark.parametrize("name", MODELS)
def test_every_preset_has_the_published_number_of_parameters(name):
    size = dimensions(Train(model=name), 32_000)
    assert size.ffw == 4 * size.d_model
    assert parameter_count(size) == formula(size)
    matrices = sum(math.prod(row.shape) for row in table(size).values() if row.decay)
    assert matrices == pytest.approx(MATRICES_ONLY[name] * 1e6, rel=1.2e-3)
    norms = size.d_model * (2 * size.layers + 1)
    assert parameter_count(size, norms=True) == formula(size) + norms


def test_the_smallest_preset_to_the_last_parameter():
    # 32000·512 + 8·(5·512·512 + 2·512·2048 + 3·512 + 512 + 512 + 2048 + 2·512)
    assert parameter_count(dimensions(Train(model="gopher-44m"), 32_000)) == 43_692_032


def test_initialisation_is_what_the_table_says():
    params = initialise(SIZE, 7)
    shapes = {name: (x.shape, x.dtype) for name, x in params.items()}
    assert shapes == {name: (x.shape, x.dtype) for name, x in abstract(SIZE).items()}
    assert sum(x.size for x in params.values()) == parameter_count(SIZE, norms=True)
    for name, row in table(SIZE).items():
        assert len(row.shape) == len(row.axes)
        assert row.decay == (row.scale > 0), name
        if row.scale == 0:
            assert np.all(np.asarray(params[name]) == row.fill)
    assert decay_mask(SIZE)["query"]
    assert not decay_mask(SIZE)["content_bias"]
    again = initialise(SIZE, 7)
    assert all(np.array_equal(params[name], again[name]) for name in params)
    assert not np.array_equal(params["query"], initialise(SIZE, 8)["query"])
    assert not np.array_equal(params["query"], params["key"])


def test_overrides():
    small = Train(override={"layers": 3, "d_model": 10})
    size = dimensions(small, 100)
    assert (size.layers, size.heads, size.kv_size, size.d_model, size.ffw) == (3, 16, 32, 10, 40)
    assert dimensions(Train(override={"ffw": 9}), 100).ffw == 9
    with pytest.raises(ConfigError, match="d_model is 7; it must be even"):
        dimensions(Train(override={"d_model": 7}), 100)


def test_no_token_sees_a_later_one():
    """By gradient: hidden state t depends on the embeddings of tokens 0..t and no others."""
    params = initialise(SIZE, 1)
    length = 6
    tokens = jnp.arange(length)[None]

    @jax.jit
    @jax.grad
    def gradient_of(embedding, t):
        return jnp.sum(hidden_states({**params, "embedding": embedding}, tokens, SIZE)[0, t] ** 3)

    for t in range(length):
        gradient = gradient_of(params["embedding"], t)
        touched = np.abs(np.asarray(gradient)[:length]).sum(axis=-1) > 0
        assert touched.tolist() == [i <= t for i in range(length)]


def test_a_longer_context_agrees_on_its_prefix():
    params = initialise(SIZE, 1)
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 31, (2, 300)))
    long = hidden_states(params, tokens, SIZE)
    short = hidden_states(params, tokens[:, :70], SIZE)
    np.testing.assert_allclose(long[:, :70], short, atol=2e-5)
    assert np.all(np.isfinite(long))


def test_precisions_and_the_starting_distribution():
    params = initialise(SIZE, 1)
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 31, (4, 20)))
    exact = hidden_states(params, tokens, SIZE)
    mixed = hidden_states(params, tokens, SIZE, "mixed")
    assert (exact.dtype, mixed.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_allclose(mixed.astype(jnp.float32), exact, atol=0.1)
    scores = logits(params, mixed)
    assert scores.dtype == jnp.float32
    # Variance 1 at any width: a start close to the uniform distribution.
    assert 0.7 < float(jnp.std(logits(params, exact))) < 1.3


def test_rms_norm():
    x = jnp.array([[3.0, 4.0]])
    expected = np.array([[3.0, 8.0]]) / math.sqrt(12.5)
    np.testing.assert_allclose(rms_norm(x, jnp.array([1.0, 2.0])), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("layers", "d", "heads", "kv", "ratio"),
    [
        (10, 640, 10, 64, 1.03),
        (20, 1024, 16, 64, 1.10),
        (24, 1280, 10, 128, 1.08),
        (26, 1792, 14, 128, 1.04),
        (28, 2048, 16, 128, 1.03),
        (40, 3584, 28, 128, 0.99),
    ],
)
def test_flops_reproduce_table_a4(layers, d, heads, kv, ratio):
    """Chinchilla's Table A4: operations over 6·N·D, which leaves out embedding and logits."""
    size = Dimensions("gopher", layers, heads, kv, d, 4 * d, 32_000)
    measured = flops_per_token(size, 2048, embedding=False) / (6 * parameter_count(size))
    assert measured == pytest.approx(ratio, abs=0.011)


def test_flops_by_hand():
    size = Dimensions("gopher", 1, 1, 2, 4, 8, 10)
    # S = 3: QKV 144, scores 36, softmax 27, reduce 36, out 48, dense 384
    assert forward_flops(size, 3, embedding=False) == 144 + 36 + 27 + 36 + 48 + 384
    assert forward_flops(size, 3) - forward_flops(size, 3, embedding=False) == 480
