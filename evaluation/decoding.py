"""The choice of the next token: greedy, by temperature, top-k and top-p, or by contrastive search.

Pure functions of what the model gives; `generate` runs the model.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from massivetext.errors import ConfigError


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen.

    Attributes:
      temperature: divides the logits; 0 takes the most likely token, 1 is the model's own
        distribution.
      top_k: draw among the k most likely tokens; 0 draws among all.
      top_p: of those, draw among the fewest most likely ones that together have at least this
        probability (Holtzman et al. 2020, section 3.1).
      contrastive: alpha of contrastive search, which takes the place of all drawing: 0 is greedy, 1
        only avoids what resembles the text so far. None draws.
      candidates: the most likely tokens that contrastive search chooses from.

    Raises:
      ConfigError: a number is out of its range.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 1.0
    contrastive: float | None = None
    candidates: int = 5

    def __post_init__(self) -> None:
        alpha = 0.0 if self.contrastive is None else self.contrastive
        for name, value, valid, must in (
            ("temperature", self.temperature, 0 <= self.temperature < float("inf"), "at least 0"),
            ("top-k", self.top_k, self.top_k >= 0, "at least 0"),
            ("top-p", self.top_p, 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("contrastive", alpha, 0 <= alpha <= 1, "between 0 and 1"),
            ("candidates", self.candidates, self.candidates >= 1, "at least 1"),
        ):
            if not valid:
                raise ConfigError(f"{name} is {value}; it must be {must}")


def ban(logits: jax.Array, banned: tuple[int, ...]) -> jax.Array:
    """Return the logits [..., V] with those of `banned` tokens at minus infinity."""
    return logits.at[..., jnp.array(banned, int)].set(-jnp.inf)


def choices(logits: jax.Array, how: Decoding) -> tuple[jax.Array, jax.Array]:
    """Return the tokens to draw among, int32 [n], and the logits to draw them by.

    Those that top-p leaves out stay, with minus infinity. Of equals the smaller token comes first.

    Args:
      logits: float32 [V].
      how: its temperature is not 0.
    """
    # Relative to the highest, so that a temperature next to 0 cannot overflow.
    scaled = (logits - jnp.max(logits)) / how.temperature
    if not how.top_k and how.top_p == 1:
        return jnp.arange(logits.size, dtype=jnp.int32), scaled
    top, tokens = jax.lax.top_k(scaled, min(how.top_k or scaled.size, scaled.size))
    if how.top_p < 1:
        probability = jax.nn.softmax(top)
        # A token stays while those before it have not reached top_p; the first always does.
        before = jnp.cumsum(probability) - probability
        top = jnp.where(before < how.top_p, top, -jnp.inf)
    return tokens.astype(jnp.int32), top


def sample(logits: jax.Array, key: jax.Array, how: Decoding) -> jax.Array:
    """Return one token, int32, greedy or drawn from float32 `logits` [V]."""
    if how.temperature == 0:
        return jnp.argmax(logits).astype(jnp.int32)
    tokens, weights = choices(logits, how)
    return tokens[jax.random.categorical(key, weights)]


def contrast(
    probability: jax.Array, state: jax.Array, seen: jax.Array, count: jax.Array, alpha: float
) -> jax.Array:
    """Return which candidate contrastive search takes (Su et al. 2022, section 3.2).

        argmax over candidates v of  (1 - alpha)·p(v) - alpha·max over j of cos(h_v, h_j)

    Args:
      probability: [C], of each candidate.
      state: [C, D], the last layer's state at each candidate, were it the next token.
      seen: [T, D], the states of the text so far; only the first `count` (at least 1) are.

    Returns:
      int32, an index of the candidates; ties go to the first.
    """
    likeness = _unit(state) @ _unit(seen).T
    real = jnp.arange(seen.shape[0]) < count
    penalty = jnp.max(jnp.where(real, likeness, -jnp.inf), axis=-1)
    return jnp.argmax((1 - alpha) * probability - alpha * penalty).astype(jnp.int32)


def _unit(vectors: jax.Array) -> jax.Array:
    """Scale to length 1, in float32; a vector of zeros stays, and resembles nothing."""
    wide = vectors.astype(jnp.float32)
    length = jnp.linalg.norm(wide, axis=-1, keepdims=True)
    return wide / jnp.where(length == 0, 1, length)
