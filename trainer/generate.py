"""Sampling from a trained model: temperature, top-k, one token at a time."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from massivetext.config import Config
from massivetext.errors import ConfigError
from massivetext.shards import Shards

from . import checkpoint
from .data import fingerprint
from .model import hidden_states, logits
from .parameters import Dimensions, Params, dimensions, named_seed


def sample(
    logits: jax.Array, key: jax.Array, temperature: float, top_k: int, banned: jax.Array
) -> jax.Array:
    """Return one token drawn from `logits` [V].

    Args:
      temperature: divides the logits; 0 takes the most likely token.
      top_k: draw among the k most likely tokens; 0 draws among all.
      banned: int [n], tokens that are never drawn.
    """
    logits = logits.at[banned].set(-jnp.inf)
    if temperature == 0:
        return jnp.argmax(logits)
    if top_k:
        top, tokens = jax.lax.top_k(logits, min(top_k, logits.shape[-1]))
        return tokens[jax.random.categorical(key, top / temperature)]
    return jax.random.categorical(key, logits / temperature)


def continue_tokens(
    params: Params,
    size: Dimensions,
    prompt: list[int],
    tokens: int,
    *,
    window: int,
    temperature: float,
    top_k: int,
    seed: int,
    eos_id: int,
    banned: list[int],
    precision: str = "float32",
) -> list[int]:
    """Return at most `tokens` tokens that follow `prompt`; an end of text ends them, left out.

    The model sees the last `window` tokens. They are padded at the end to one fixed shape, which
    causality makes harmless, so one compilation serves every step.
    """

    @jax.jit
    def draw(params: Params, context: jax.Array, last: jax.Array, key: jax.Array) -> jax.Array:
        hidden = hidden_states(params, context[None], size, precision)[0, last]
        return sample(logits(params, hidden), key, temperature, top_k, jnp.array(banned, int))

    text, start = list(prompt), len(prompt)
    window = min(window, start + tokens)
    key = jax.random.key(named_seed(seed, "sample"))
    for number in range(tokens):
        seen = text[-window:]
        context = np.zeros(window, np.int32)
        context[: len(seen)] = seen
        token = int(draw(params, context, len(seen) - 1, jax.random.fold_in(key, number)))
        if token == eos_id:
            break
        text.append(token)
    return text[start:]


def generate(
    root: Path,
    config: Config,
    prompt: str,
    tokens: int,
    temperature: float,
    top_k: int,
    seed: int,
) -> str:
    """Return `prompt` and what the last checkpoint of `root` continues it with.

    Args:
      prompt: may be empty; it follows an end of text, as every training document does.
      tokens: at most so many are added; fewer when the model ends the text.
      temperature: 0 is greedy, 1 the model's own distribution.
      top_k: draw among the k most likely tokens; 0 for all.
      seed: the same seed gives the same text.

    Raises:
      ConfigError: a number is out of range, or the checkpoint is of another model.
      InputError: there is no tokenizer, shards or checkpoint.
    """
    for name, value in (("tokens", tokens), ("temperature", temperature), ("top-k", top_k)):
        if not 0 <= value < float("inf"):
            raise ConfigError(f"{name} is {value}; it must be at least 0")
    from massivetext.tokenizer.encode import Tokenizer  # SentencePiece: only sampling needs it

    tokenizer = Tokenizer.load(root / "tokenizer" / "tokenizer.model")
    shards = Shards.open(root / "shards")
    size = dimensions(config.train, shards.manifest["vocab_size"])
    params = checkpoint.load_params(root, size, fingerprint(shards))
    eos = tokenizer.eos_id
    added = continue_tokens(
        params,
        size,
        [eos, *tokenizer.encode(prompt).tolist()],
        tokens,
        window=shards.manifest["sequence_length"],
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        eos_id=eos,
        # Neither is ever a training target; a model without padding pads with its end of text.
        banned=sorted({tokenizer.pad_id, tokenizer.unk_id} - {eos}),
        precision=config.train.precision,
    )
    return prompt + tokenizer.decode(np.array(added, tokenizer.dtype))
