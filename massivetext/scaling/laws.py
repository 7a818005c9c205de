"""Laws of the loss in parameters N, tokens D and training FLOPs C, with C = 6·N·D.

Losses are in nats per token. Every function takes floats or arrays that broadcast.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray


def tokens_for(flops: ArrayLike, parameters: ArrayLike) -> Array:
    """Return the tokens that `flops` train a model of `parameters` on: D = C / (6·N)."""
    return np.asarray(flops, float) / (6 * np.asarray(parameters, float))


@dataclass(frozen=True)
class ParametricLaw:
    """L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, section 3.3)."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    @property
    def a(self) -> float:
        """The exponent of compute-optimal parameters: N* = G·(C/6)^a (equation 4)."""
        return self.beta / (self.alpha + self.beta)

    @property
    def b(self) -> float:
        """The exponent of compute-optimal tokens: D* = (C/6)^b / G (equation 4)."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def G(self) -> float:  # noqa: N802
        ratio = self.alpha * self.A / (self.beta * self.B)
        return float(ratio ** (1 / (self.alpha + self.beta)))

    def loss(self, parameters: ArrayLike, tokens: ArrayLike) -> Array:
        n, d = np.asarray(parameters, float), np.asarray(tokens, float)
        return self.E + self.A * n**-self.alpha + self.B * d**-self.beta

    def optimum(self, flops: ArrayLike) -> tuple[Array, Array, Array]:
        """Return compute-optimal parameters and tokens for `flops`, and the loss there."""
        budget = np.asarray(flops, float) / 6
        n, d = self.G * budget**self.a, budget**self.b / self.G
        return n, d, self.loss(n, d)

    def flops_for(self, parameters: ArrayLike) -> Array:
        """Return the FLOPs for which `parameters` are compute-optimal."""
        return 6 * (np.asarray(parameters, float) / self.G) ** (1 / self.a)

    def tokens_to_reach(self, loss: ArrayLike, parameters: ArrayLike) -> Array:
        """Return the tokens after which `parameters` reach `loss`; infinity where they never do."""
        n = np.asarray(parameters, float)
        left = np.asarray(loss, float) - self.E - self.A * n**-self.alpha
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(left > 0, (self.B / left) ** (1 / self.beta), np.inf)


@dataclass(frozen=True)
class Frontier:
    """Power laws along the compute-optimal frontier: N* and D* of C, and the loss there.

    N* = parameters_scale·C^a, D* = tokens_scale·C^b, L* = loss_limit + loss_scale·C^-loss_exponent.
    The loss has the form of Henighan et al. (2020), without which it would fall to nothing.
    """

    parameters_scale: float
    a: float
    tokens_scale: float
    b: float
    loss_limit: float
    loss_scale: float
    loss_exponent: float

    def optimum(self, flops: ArrayLike) -> tuple[Array, Array, Array]:
        """Return compute-optimal parameters and tokens for `flops`, and the loss there."""
        c = np.asarray(flops, float)
        loss = self.loss_limit + self.loss_scale * c**-self.loss_exponent
        return self.parameters_scale * c**self.a, self.tokens_scale * c**self.b, loss


@dataclass(frozen=True)
class KaplanLaws:
    """L(N) = (N_c/N)^alpha_N and likewise for D and C (Kaplan et al. 2020, section 3).

    C_c is in FLOPs here; the paper's PF-days are `PF_DAY` FLOPs each.
    """

    n_c: float
    alpha_n: float
    d_c: float
    alpha_d: float
    c_c: float
    alpha_c: float

    def of_parameters(self, parameters: ArrayLike) -> Array:
        return (self.n_c / np.asarray(parameters, float)) ** self.alpha_n

    def of_tokens(self, tokens: ArrayLike) -> Array:
        return (self.d_c / np.asarray(tokens, float)) ** self.alpha_d

    def of_flops(self, flops: ArrayLike) -> Array:
        return (self.c_c / np.asarray(flops, float)) ** self.alpha_c


Law = ParametricLaw | Frontier | KaplanLaws
