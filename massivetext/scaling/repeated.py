"""The law for data that repeat (Muennighoff et al. 2023, sections 3 and 6).

Repeated tokens count for less and less: of R repetitions after the first pass, D' = U·(1 +
R*·(1 - e^(-R/R*))) is what as many fresh tokens would be worth. Parameters beyond what the unique
tokens can teach count for less in the same way.
"""

import numpy as np
from numpy.typing import ArrayLike

from .laws import Array, ParametricLaw, tokens_for

# Fitted with `published.MUENNIGHOFF`; taken over for other laws, as nobody has fitted theirs.
TOKEN_DECAY = 15.387756
PARAMETER_DECAY = 5.309743

# The search for the optimum: e^±SPAN around the optimum for fresh data, in rounds of POINTS sizes.
SPAN, POINTS, ROUNDS = 8.0, 801, 4


def effective(amount: ArrayLike, unique: ArrayLike, decay: float) -> Array:
    """Return what `amount`, of which `unique` is new, is worth in new ones."""
    amount, unique = np.asarray(amount, float), np.asarray(unique, float)
    repeats = np.maximum(amount / unique - 1, 0)
    return np.minimum(amount, unique) + unique * decay * -np.expm1(-repeats / decay)


def loss(law: ParametricLaw, parameters: ArrayLike, tokens: ArrayLike, unique: float) -> Array:
    """Return the loss of `parameters` on `tokens`, of which at most `unique` are different."""
    n, d = np.asarray(parameters, float), np.asarray(tokens, float)
    fresh = np.minimum(d, unique)
    # The parameters for which the unique tokens are compute-optimal. As in the paper's equation,
    # those beyond count for less even before a token is seen twice.
    taught = np.minimum(n, law.G * (law.G * fresh) ** (law.beta / law.alpha))
    return law.loss(effective(n, taught, PARAMETER_DECAY), effective(d, fresh, TOKEN_DECAY))


def optimum(law: ParametricLaw, flops: float, unique: float) -> tuple[float, float, float]:
    """Return compute-optimal parameters and tokens for `flops` with `unique` tokens, and the loss.

    There is no closed form: the best size is searched for, to about six digits.
    """
    centre, span = float(np.log(law.optimum(flops)[0])), SPAN
    for _ in range(ROUNDS):
        sizes = np.exp(np.linspace(centre - span, centre + span, POINTS))
        losses = loss(law, sizes, tokens_for(flops, sizes), unique)
        centre = float(np.log(sizes[int(np.argmin(losses))]))
        span *= 4 / (POINTS - 1)
    n = float(np.exp(centre))
    d = flops / (6 * n)
    return n, d, float(loss(law, n, d, unique))
