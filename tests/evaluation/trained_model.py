"""Tiny decoders of every kind that know a little, with a tokenizer of bytes and a few words."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax

from massivetext.config import Train
from massivetext.config_train import Override
from massivetext.evaluation.trained import Trained
from massivetext.tokenizer.encode import Tokenizer
from massivetext.trainer.loss import cross_entropy
from massivetext.trainer.model import hidden_states
from massivetext.trainer.parameters import Dimensions, Params, dimensions, initialise, table

from ..tokenizer.models import handmade

CONTEXT = 32
TEXT = "one two three four five six seven eight nine ten. "
WORDS = ["\u2581" + word for word in TEXT.rstrip(". ").split()]
SIZES = [
    ("gopher-44m", "relative"),
    ("palm-8b", "rotary"),
    ("gpt3-125m", "learned"),
]


@cache
def tokenizer() -> Tokenizer:
    """Every byte a token, and " one" ... " ten" as far as their merges exist."""
    pieces: dict[str, float] = {}
    for word in WORDS:
        for end in range(2, len(word) + 1):
            pieces.setdefault(word[:end], -float(len(pieces)))
    letters = [(letter, -1000.0) for letter in sorted({x for word in WORDS for x in word})]
    return handmade([*pieces.items(), *letters])


def size_of(model: str, positions: str) -> Dimensions:
    override = Override(layers=2, heads=2, kv_size=8, d_model=16, positions=positions)
    return dimensions(Train(model=model, override=override), tokenizer().vocab_size, CONTEXT)


@cache
def learned(model: str = "gopher-44m", positions: str = "relative") -> tuple[Dimensions, Params]:
    """Return a decoder: Gopher's after some steps on `TEXT`, another one of random parameters."""
    size = size_of(model, positions)
    if (model, positions) != SIZES[0]:
        return size, _random(size)
    tokens = jnp.array(tokenizer().encode(TEXT * 20).astype("int32"))
    count = len(tokens) // 25 * 25 - 25
    rows = jnp.stack([tokens[start : start + 26] for start in range(0, count, 25)])
    params = initialise(size, 1)
    update = optax.adam(2e-2)
    moments = update.init(params)

    def loss(params):
        hidden = hidden_states(params, rows[:, :-1], size)
        nats, targets, _ = cross_entropy(hidden, params["embedding"], rows[:, 1:])
        return nats / targets

    @jax.jit
    def step(params, moments):
        change, moments = update.update(jax.grad(loss)(params), moments, params)
        return optax.apply_updates(params, change), moments

    for _ in range(25):
        params, moments = step(params, moments)
    return size, params


def _random(size: Dimensions) -> Params:
    """Return parameters none of which is 0 or 1, large enough that texts vary."""
    rng = np.random.default_rng(3)
    return {
        name: jnp.array(2 * row.scale * noise if row.decay else row.fill + 0.3 * noise)
        for name, row in table(size).items()
        for noise in [rng.standard_normal(row.shape, np.float32)]
    }


def trained(model: str = "gopher-44m", positions: str = "relative", batch_size: int = 4) -> Trained:
    """Return that decoder as `trained.load` would, without a folder."""
    size, params = learned(model, positions)
    shards = SimpleNamespace(sequence_length=CONTEXT, manifest={}, folder=Path("shards"))
    made = Trained(Path("out"), shards, size, params, 25, "float32", batch_size)
    made.__dict__["tokenizer"] = tokenizer()
    return made
