"""The cached forward pass against the whole one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from massivetext.errors import ConfigError
from massivetext.evaluation.cache import empty_cache, extend
from massivetext.trainer.model import hidden_states

from ..trainer.test_model import EVERY, noisy, some_tokens, tiny_size

LENGTH, ROOM = 9, 12
CHUNKS = (4, 5)


@pytest.mark.parametrize(("family", "positions"), EVERY)
def test_equal_to_the_whole_token_by_token_and_in_chunks(family, positions):
    size = tiny_size(family, positions, qk_norm=family == "palm")
    tokens = some_tokens(length=LENGTH)

    @jax.jit
    def three_ways(params):
        whole = hidden_states(params, tokens, size)
        empty = empty_cache(size, 2, ROOM, jnp.float32)

        def one(cache, token):
            hidden, cache = extend(params, cache, token[:, None], size)
            return cache, hidden[:, 0]

        last, single = jax.lax.scan(one, empty, tokens.T)
        chunks, cache, at = [], empty, 0
        for n in CHUNKS:
            hidden, cache = extend(params, cache, tokens[:, at : at + n], size)
            chunks.append(hidden)
            at += n
        ends = last["length"], cache["length"]
        return whole, jnp.moveaxis(single, 0, 1), jnp.concatenate(chunks, axis=1), ends

    whole, single, chunks, ends = three_ways(noisy(size))
    np.testing.assert_allclose(single, whole, atol=1e-5)
    np.testing.assert_allclose(chunks, whole, atol=1e-5)
    assert [int(end) for end in ends] == [LENGTH, LENGTH]


def test_a_cache_filled_to_the_last_position_and_a_prompt_of_several_blocks():
    size = tiny_size("gopher", layers=1)
    params, tokens = noisy(size), some_tokens(1, 601)
    step = jax.jit(extend, static_argnames=("size", "precision"))
    first, cache = step(params, empty_cache(size, 1, 601, jnp.float32), tokens[:, :600], size)
    last, cache = step(params, cache, tokens[:, 600:], size)
    assert int(cache["length"]) == 601
    whole = jax.jit(hidden_states, static_argnames="size")(params, tokens, size)
    np.testing.assert_allclose(jnp.concatenate([first, last], axis=1), whole, atol=2e-5)


def test_in_bfloat16():
    size = tiny_size("palm")
    params, tokens = noisy(size), some_tokens()
    empty = empty_cache(size, 2, 6, jnp.bfloat16)
    hidden, cache = jax.jit(extend, static_argnames=("size", "precision"))(
        params, empty, tokens, size, "mixed"
    )
    assert {cache[name].dtype for name in ("key", "value")} == {jnp.dtype(jnp.bfloat16)}
    assert cache["key"].shape == (2, 2, 6, 1, 6)
    assert hidden.dtype == jnp.bfloat16
    whole = hidden_states(params, tokens, size, "mixed").astype(jnp.float32)
    np.testing.assert_allclose(hidden.astype(jnp.float32), whole, atol=0.02)


def test_no_room_behind_the_learned_positions():
    size = tiny_size("gpt3")
    assert empty_cache(size, 1, 16, jnp.float32)["key"].shape == (2, 1, 16, 4, 6)
    with pytest.raises(ConfigError, match="17 tokens are longer than the 16 learned positions"):
        empty_cache(size, 1, 17, jnp.float32)
