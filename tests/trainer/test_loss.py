"""Chunked cross-entropy against the one that holds all logits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from massivetext.trainer import loss
from massivetext.trainer.loss import PADDING, chunks_of, cross_entropy

Z_LOSS = 0.03  # large enough to be seen in every gradient


def whole(hidden, embedding, targets, z_loss=0.0):
    scores = jnp.einsum(
        "btd,vd->btv",
        hidden,
        embedding.astype(hidden.dtype),
        preferred_element_type=jnp.float32,
    )
    nll = optax.softmax_cross_entropy_with_integer_labels(scores, jnp.maximum(targets, 0))
    z = z_loss * jax.nn.logsumexp(scores, axis=-1) ** 2
    real = targets != PADDING
    return jnp.sum(nll * real), jnp.sum(real), jnp.sum(z * real)


def total(function, z_loss=0.0):
    def mean(hidden, embedding, targets):
        nll, count, z = function(hidden, embedding, targets, z_loss)
        return (nll + z) / count

    return jax.jit(jax.value_and_grad(mean, (0, 1)))


def data(batch=4, length=6, d=5, vocab=12, dtype=jnp.float32):
    rng = np.random.default_rng(3)
    hidden = jnp.asarray(rng.normal(size=(batch, length, d)), dtype)
    embedding = jnp.asarray(rng.normal(size=(vocab, d)), jnp.float32)
    targets = rng.integers(0, vocab, (batch, length)).astype(np.int32)
    targets[1, 4:] = PADDING
    return hidden, embedding, jnp.asarray(targets)


def cut(monkeypatch, tokens, vocab=12):
    """Let chunks have so many tokens."""
    monkeypatch.setattr(loss, "CHUNK_BYTES", 4 * vocab * tokens)


@pytest.mark.parametrize("z_loss", [0.0, Z_LOSS])
@pytest.mark.parametrize("tokens", [4, 12, 24])  # 6, 2 and 1 chunks
def test_equal_to_the_whole_for_every_chunk(tokens, z_loss, monkeypatch):
    cut(monkeypatch, tokens)
    hidden, embedding, targets = data()
    got, wanted = (jax.jit(f, static_argnums=3)(*data(), z_loss) for f in (cross_entropy, whole))
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert got[1] == 22
    value, gradients = total(cross_entropy, z_loss)(hidden, embedding, targets)
    wanted_value, wanted_gradients = total(whole, z_loss)(hidden, embedding, targets)
    np.testing.assert_allclose(value, wanted_value, rtol=1e-6)
    for a, b in zip(gradients, wanted_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max())
    assert not np.any(gradients[0][1, 4:])  # padding gives no gradient


def test_a_length_that_no_near_number_divides_is_padded(monkeypatch):
    cut(monkeypatch, 12)
    operands = data(length=7)
    assert chunks_of(4, 7, 12, 5) == 3
    value, gradients = total(cross_entropy, Z_LOSS)(*operands)
    wanted_value, wanted_gradients = total(whole, Z_LOSS)(*operands)
    np.testing.assert_allclose(value, wanted_value, rtol=1e-6)
    for a, b in zip(gradients, wanted_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max())


def test_chunks():
    # 32 MiB of float32 hold 262 tokens of 32,000: 8 of 256 fill a sequence of 2,048 evenly.
    assert chunks_of(1, 262, 32_000, 512) == 1
    assert chunks_of(1, 263, 32_000, 512) == 2
    assert chunks_of(1, 2048, 32_000, 512) == 8
    assert chunks_of(2, 2048, 32_000, 512) == 16
    # A wider model takes half as many tokens as it is wide.
    assert chunks_of(2, 2048, 32_000, 2048) == 4
    # Every device has its own part of a chunk.
    assert chunks_of(16, 2048, 32_000, 2048, devices=8) == 4
    # One position of every sequence is the least there is.
    assert chunks_of(10_000, 6, 32_000, 512) == 6


def test_gradient_times_what_comes_from_above():
    hidden, embedding, targets = data()
    grad = jax.grad(lambda h: -3.0 * cross_entropy(h, embedding, targets)[0])(hidden)
    wanted = jax.grad(lambda h: -3.0 * whole(h, embedding, targets)[0])(hidden)
    np.testing.assert_allclose(grad, wanted, atol=2e-6)


def test_losses_in_other_proportions_have_no_gradient():
    hidden, embedding, targets = data()
    for part in (0, 2):
        grad = jax.grad(lambda h, i=part: cross_entropy(h, embedding, targets, Z_LOSS)[i])(hidden)
        assert np.all(np.isnan(grad))


@pytest.mark.parametrize("tokens", [8, 1000])
def test_bfloat16_products_and_float32_sums(tokens, monkeypatch):
    cut(monkeypatch, tokens)
    operands = data(dtype=jnp.bfloat16)
    value, (of_hidden, of_embedding) = total(cross_entropy, Z_LOSS)(*operands)
    wanted, (wanted_hidden, wanted_embedding) = total(whole, Z_LOSS)(*operands)
    assert (value.dtype, of_hidden.dtype, of_embedding.dtype) == ("float32", "bfloat16", "float32")
    np.testing.assert_allclose(value, wanted, rtol=1e-6)  # logits and softmax are float32 in both
    for a, b in ((of_hidden, wanted_hidden), (of_embedding, wanted_embedding)):
        b = np.asarray(b, np.float32)
        np.testing.assert_allclose(np.asarray(a, np.float32), b, atol=0.02 * np.abs(b).max())


def test_the_gradient_of_a_bfloat16_embedding_is_rounded_once(monkeypatch):
    """Halves that bfloat16 would lose against 256 add up."""
    cut(monkeypatch, 1, vocab=2)
    hidden = jnp.ones((1, 513, 1), jnp.bfloat16).at[0, 0].set(256)
    embedding = jnp.zeros((2, 1), jnp.bfloat16)
    targets = jnp.zeros((1, 513), jnp.int32)
    grad = jax.jit(jax.grad(lambda e: cross_entropy(hidden, e, targets)[0]))(embedding)
    assert grad.dtype == jnp.bfloat16
    np.testing.assert_array_equal(grad, [[-384.0], [384.0]])  # (256 + 512) / 2


def test_nothing_but_padding_is_zero():
    hidden, embedding, targets = data()
    targets = jnp.full_like(targets, PADDING)
    assert [float(x) for x in cross_entropy(hidden, embedding, targets, Z_LOSS)] == [0.0, 0.0, 0.0]

    def both(hidden, embedding):
        nll, _, z = cross_entropy(hidden, embedding, targets, Z_LOSS)
        return nll + z

    gradients = jax.grad(both, (0, 1))(hidden, embedding)
    assert not np.any(gradients[0])
    assert not np.any(gradients[1])


@pytest.mark.parametrize("target", [12, 70_000, -2])
def test_a_target_outside_of_the_vocabulary_is_nan(target):
    hidden, embedding, targets = data()
    nll, count, _ = cross_entropy(hidden, embedding, targets.at[2, 3].set(target))
    assert np.isnan(nll)
    assert count == 22


def test_large_logits_do_not_overflow():
    hidden, embedding, targets = data()
    value, gradients = total(cross_entropy, 1e-4)(200 * hidden, embedding, targets)
    wanted, wanted_gradients = total(whole, 1e-4)(200 * hidden, embedding, targets)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(gradients[0], wanted_gradients[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [512, 768])
def test_temporary_memory(width):
    """4,096 tokens x 32,000 have 524 MB of logits; loss and gradient take under 200 MB."""
    hidden = jax.ShapeDtypeStruct((2, 2048, width), jnp.float32)
    embedding = jax.ShapeDtypeStruct((32_000, width), jnp.float32)
    targets = jax.ShapeDtypeStruct((2, 2048), jnp.int32)
    compiled = total(cross_entropy, 1e-4).lower(hidden, embedding, targets).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 200e6
    without = jax.jit(cross_entropy).lower(hidden, embedding, targets).compile()
    assert without.memory_analysis().temp_size_in_bytes < 100e6


@pytest.mark.skipif(jax.device_count() < 8, reason="needs 8 devices, as the conftest makes them")
@pytest.mark.parametrize("shape", [(2, 2, 2), (1, 1, 4)])
@pytest.mark.parametrize("tokens", [1, 1000])
def test_equal_on_every_mesh(shape, tokens, monkeypatch):
    cut(monkeypatch, tokens, vocab=12)
    hidden, embedding, targets = data(batch=8, d=8)
    devices = jax.devices()[: int(np.prod(shape))]
    mesh = jax.make_mesh(
        shape, ("data", "fsdp", "tensor"), devices=devices, axis_types=(AxisType.Auto,) * 3
    )
    batch = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    table = NamedSharding(mesh, PartitionSpec("tensor", "fsdp"))

    def on_mesh(*operands):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return total(cross_entropy, Z_LOSS)(*operands)

    places = (batch, table, batch)
    step = jax.jit(on_mesh, in_shardings=places, out_shardings=(None, places[:2]))
    value, gradients = step(hidden, embedding, targets)
    wanted, wanted_gradients = total(whole, Z_LOSS)(hidden, embedding, targets)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    for a, b in zip(gradients, wanted_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max())


@pytest.mark.skipif(jax.device_count() < 8, reason="needs 8 devices, as the conftest makes them")
def test_gradients_of_the_embedding_meet_once(monkeypatch):
    """No collective in the loop over chunks has the size of the embedding."""
    vocab, d = 24, 16
    cut(monkeypatch, 1, vocab)
    mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)

    def place(shape, dtype, *axes):
        return jax.ShapeDtypeStruct(
            shape, dtype, sharding=NamedSharding(mesh, PartitionSpec(*axes))
        )

    def on_mesh(*operands):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return total(cross_entropy)(*operands)

    lowered = jax.jit(on_mesh).lower(
        place((8, 128, d), jnp.float32, ("data", "fsdp")),
        place((vocab, d), jnp.float32, "tensor", "fsdp"),
        place((8, 128), jnp.int32, ("data", "fsdp")),
    )
    lines = lowered.compile().as_text().splitlines()
    collectives = [s for s in lines if " all-reduce(" in s or " all-gather(" in s]
    in_loop = [s for s in collectives if "while/body" in s]
    assert in_loop  # the vocabulary is split, so every chunk's softmax is
    assert not [s for s in in_loop if f"{d},{vocab // 2}]" in s or f"{vocab // 2},{d}]" in s]
