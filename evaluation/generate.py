"""Continuing a text with a trained model, which keeps the keys and values of what it has read.

The model reads at most as many tokens as its training sequences had. A longer text slides: when the
window is full, its last half is read again, at positions that start from 0, and leaves the other
half to what follows, so that a new token sees at least the last half window and each is read about
twice. A longer window than in training works with relative, rotary, ALiBi and no positions, where
nothing is learned about a position, if seldom well; with learned ones it is refused.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from massivetext.config import Config
from massivetext.errors import ConfigError
from massivetext.storage import Location
from massivetext.trainer.model import activation_dtype, logits
from massivetext.trainer.parameters import Dimensions, Params, named_seed

from .cache import Cache, empty_cache, extend
from .decoding import Decoding, ban, contrast, sample
from .trained import Trained, load

# cache: of L positions. states: [L, D], the hidden states of the tokens in the cache. last: [D],
# that of the last one.
State = dict[str, Any]


def continue_tokens(
    params: Params,
    size: Dimensions,
    prompt: list[int],
    tokens: int,
    how: Decoding,
    *,
    window: int,
    seed: int,
    eos_id: int,
    banned: tuple[int, ...] = (),
    precision: str = "float32",
) -> Iterator[int]:
    """Yield at most `tokens` tokens that follow `prompt`; an end of text ends them, left out.

    What is computed has few shapes, which all prompts share: powers of two for reading the prompt
    and for the cache, one token for the rest.

    Args:
      prompt: one token or more.
      window: the most tokens that the model reads at once.
      banned: tokens that are never chosen.

    Raises:
      ConfigError: the window is longer than the learned positions, or has no room to look ahead.
    """
    ahead = how.contrastive is not None  # a candidate is read before it is chosen
    if window < 1 + ahead:
        raise ConfigError(f"a window of {window} tokens is too short to continue a text in")
    room = min(window, _power_of_two(len(prompt) + tokens))
    state = _empty(size, room, activation_dtype(precision))
    text = list(prompt)
    held, pending = 0, text[-(room - ahead) :]
    key = jax.random.key(named_seed(seed, "sample"))
    for number in range(tokens):
        if held + len(pending) + ahead > room:
            held, pending = 0, text[-max(1, room // 2) :]
            state["cache"]["length"] = jnp.int32(0)  # what lies beyond is never looked at
        if pending:
            padded = np.zeros((1, min(_power_of_two(len(pending)), room - held)), np.int32)
            padded[0, : len(pending)] = pending
            state = _read(params, state, padded, np.int32(len(pending)), size, precision)
            held += len(pending)
        if ahead:
            chosen, state = _look_ahead(params, state, size, precision, how, banned)
            held, pending = held + 1, []
            token = int(chosen)
        else:
            drawn = _draw(params, state["last"], jax.random.fold_in(key, number), how, banned)
            token = int(drawn)
            pending = [token]
        if token == eos_id:
            return
        text.append(token)
        yield token


def _empty(size: Dimensions, room: int, dtype: jnp.dtype) -> State:
    return {
        "cache": empty_cache(size, 1, room, dtype),
        "states": jnp.zeros((room, size.d_model), dtype),
        "last": jnp.zeros(size.d_model, dtype),
    }


@partial(jax.jit, static_argnames=("size", "precision"), donate_argnames="state")
def _read(
    params: Params,
    state: State,
    tokens: jax.Array,
    count: jax.Array,
    size: Dimensions,
    precision: str,
) -> State:
    """Read the first `count` of `tokens` [1, n].

    The others leave keys and values where the next tokens' will be, and none looks at them before.
    """
    start = state["cache"]["length"]
    hidden, cache = extend(params, state["cache"], tokens, size, precision)
    return {
        "cache": {**cache, "length": start + count},
        "states": jax.lax.dynamic_update_slice_in_dim(state["states"], hidden[0], start, axis=0),
        "last": hidden[0, count - 1],
    }


@partial(jax.jit, static_argnames=("how", "banned"))
def _draw(
    params: Params, last: jax.Array, key: jax.Array, how: Decoding, banned: tuple[int, ...]
) -> jax.Array:
    return sample(ban(logits(params, last), banned), key, how)


@partial(jax.jit, static_argnames=("size", "precision", "how", "banned"), donate_argnames="state")
def _look_ahead(
    params: Params,
    state: State,
    size: Dimensions,
    precision: str,
    how: Decoding,
    banned: tuple[int, ...],
) -> tuple[jax.Array, State]:
    """Return the token that contrastive search chooses, and the state after reading it."""
    assert how.contrastive is not None
    cache: Cache = state["cache"]
    probability = jax.nn.softmax(ban(logits(params, state["last"]), banned))
    top, candidates = jax.lax.top_k(probability, min(how.candidates, probability.size))
    # Each candidate goes on from the same past.
    wide = {x: jnp.repeat(cache[x], len(candidates), axis=1) for x in ("key", "value")}
    hidden, after = extend(params, {**cache, **wide}, candidates[:, None], size, precision)
    chosen = contrast(top, hidden[:, 0], state["states"], cache["length"], how.contrastive)
    kept = {x: jax.lax.dynamic_slice_in_dim(after[x], chosen, 1, axis=1) for x in ("key", "value")}
    last = hidden[chosen, 0]
    return candidates[chosen], {
        "cache": {**after, **kept},
        "states": state["states"].at[cache["length"]].set(last),
        "last": last,
    }


def generate(
    root: Location, config: Config, prompt: str, tokens: int, how: Decoding, seed: int
) -> str:
    """Return `prompt` and what the last checkpoint of `root` continues it with.

    Args:
      prompt: may be empty; it follows an end of text, as every training document does.
      tokens: at most so many are added; fewer when the model ends the text.
      seed: the same seed gives the same text.

    Raises:
      ConfigError: `tokens` is negative; there is no tokenizer, or not that of the shards; or the
        checkpoint is of another model.
      InputError: there are no shards or no checkpoint.
    """
    if tokens < 0:
        raise ConfigError(f"tokens is {tokens}; it must be at least 0")
    trained = load(root, config)
    tokenizer = trained.tokenizer
    added = list(continuation(trained, tokenizer.encode(prompt).tolist(), tokens, how, seed))
    return prompt + tokenizer.decode(np.array(added, tokenizer.dtype))


def continuation(
    trained: Trained, prompt: list[int], tokens: int, how: Decoding, seed: int
) -> Iterator[int]:
    """Yield at most `tokens` tokens that follow an end of text and `prompt`."""
    return continue_tokens(
        trained.params,
        trained.size,
        [trained.tokenizer.eos_id, *prompt],
        tokens,
        how,
        window=trained.context,
        seed=seed,
        eos_id=trained.tokenizer.eos_id,
        banned=trained.banned,
        precision=trained.precision,
    )


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
