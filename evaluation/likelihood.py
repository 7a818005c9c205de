"""How likely a model finds given continuations: what tasks and lm-eval's harness are made of."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from massivetext.errors import InputError
from massivetext.trainer.model import hidden_states, logits
from massivetext.trainer.parameters import Dimensions, Params

from .trained import Trained

MIN_LENGTH, MIN_TARGETS = 32, 8  # shorter ones share a compiled shape
CHUNK_LOGITS = 1 << 24  # float32 logits that exist at a time: 64 MiB


class Request(NamedTuple):
    """Tokens, and the tokens that may follow them. Neither is empty."""

    context: Sequence[int]
    target: Sequence[int]


class Likelihood(NamedTuple):
    """Of one target: its summed negative log-likelihood, and whether greedy choice gives it."""

    nats: float
    greedy: bool
    truncated: bool  # the beginning of the context did not fit and was left out


def encode_pair(trained: Trained, context: str, target: str) -> Request:
    """Return the tokens of `context`, after an end of text, and of `target` after those.

    White space at the end of the context goes to the target: tokens begin with their space. The two
    are encoded as one text and cut where the context ends, or, where a token crosses that joint,
    each by itself.
    """
    stripped = context.rstrip()
    target = context[len(stripped) :] + target
    encode = trained.tokenizer.encode
    before, whole = encode(stripped), encode(stripped + target)
    if np.array_equal(whole[: len(before)], before) and len(whole) > len(before):
        after = whole[len(before) :]
    else:
        after = encode(target)
    return Request([trained.tokenizer.eos_id, *before.tolist()], after.tolist())


def likelihoods(trained: Trained, requests: Sequence[Request]) -> list[Likelihood]:
    """Return the likelihood of every request, in their order.

    Long contexts lose their beginning. Requests are computed by falling length, padded to powers of
    two, so that any number of them takes few compilations.

    Raises:
      InputError: a target alone is longer than the model's context.
    """
    found: list[Likelihood | None] = [None] * len(requests)
    by_length: dict[int, list[int]] = {}
    for i, (context, target) in enumerate(requests):
        if len(target) > trained.context:
            raise InputError(
                f"a target of {len(target):,} tokens is longer than the model's context of "
                f"{trained.context:,}"
            )
        length = min(len(context) + len(target) - 1, trained.context)
        padded = min(_power_of_two(length, MIN_LENGTH), trained.context)
        by_length.setdefault(padded, []).append(i)
    for length in sorted(by_length, reverse=True):  # what needs most memory fails first
        members = by_length[length]
        # As many tokens at a time as training computed.
        fits = trained.batch_size * max(1, trained.context // length)
        rows = min(fits, _power_of_two(len(members), 1))
        for start in range(0, len(members), rows):
            part = members[start : start + rows]
            batch = [requests[i] for i in part]
            for i, likelihood in zip(part, _batch(trained, batch, rows, length), strict=True):
                found[i] = likelihood
    return [likelihood for likelihood in found if likelihood is not None]


def _batch(trained: Trained, batch: list[Request], rows: int, length: int) -> list[Likelihood]:
    width = _power_of_two(max(len(target) for _, target in batch), MIN_TARGETS)
    tokens = np.zeros((rows, length), np.int32)
    places = np.zeros((rows, width), np.int32)
    targets = np.zeros((rows, width), np.int32)
    for row, (context, target) in enumerate(batch):
        seen = np.array([*context, *target][-length - 1 :], np.int32)
        end = len(seen) - 1
        tokens[row, :end] = seen[:-1]
        places[row, : len(target)] = range(end - len(target), end)
        targets[row, : len(target)] = target
    nats, greedy = map(
        np.asarray,
        _score(trained.params, tokens, places, targets, trained.size, trained.precision),
    )
    return [
        Likelihood(
            nats=float(nats[row, : len(target)].sum(dtype=np.float64)),
            greedy=bool(greedy[row, : len(target)].all()),
            truncated=len(context) + len(target) > length + 1,
        )
        for row, (context, target) in enumerate(batch)
    ]


@partial(jax.jit, static_argnames=("size", "precision"))
def _score(
    params: Params,
    tokens: jax.Array,
    places: jax.Array,
    targets: jax.Array,
    size: Dimensions,
    precision: str,
) -> tuple[jax.Array, jax.Array]:
    """Return nats and whether greedy, both [B, W], of the targets that follow `places` [B, W]."""
    rows, width = places.shape
    hidden = hidden_states(params, tokens, size, precision)
    hidden = jnp.take_along_axis(hidden, places[..., None], axis=1)
    chunk = max(1, min(width, CHUNK_LOGITS // (rows * size.vocab_size)))
    chunk = 1 << (chunk.bit_length() - 1)  # a power of two divides the width, which is one

    def chunked(array: jax.Array) -> jax.Array:
        return jnp.moveaxis(array.reshape(rows, width // chunk, chunk, *array.shape[2:]), 1, 0)

    def whole(array: jax.Array) -> jax.Array:
        return jnp.moveaxis(array, 0, 1).reshape(rows, width)

    def score(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        h, target = part
        scores = logits(params, h)
        chosen = jnp.take_along_axis(scores, target[..., None], axis=-1)[..., 0]
        nats = jax.nn.logsumexp(scores, axis=-1) - chosen
        return nats, jnp.argmax(scores, axis=-1) == target

    nats, greedy = jax.lax.map(score, (chunked(hidden), chunked(targets)))
    return whole(nats), whole(greedy)


def _power_of_two(count: int, least: int) -> int:
    """Return the smallest power of two that is at least `count` and `least`."""
    return 1 << (max(count, least) - 1).bit_length()
