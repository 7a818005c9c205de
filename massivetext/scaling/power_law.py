"""Least squares for power laws, with and without a limit that they approach."""

import numpy as np

from .laws import Array, Frontier

# Exponents of the loss that are tried; the best is refined between its neighbours.
EXPONENTS = np.geomspace(0.005, 1.5, 200)
REFINEMENTS = 40


def power_law(x: Array, y: Array) -> tuple[float, float]:
    """Return (scale, exponent) of y = scale·x^exponent, least squares in the logarithms."""
    u, v = np.log(x), np.log(y)
    centred = u - u.mean()
    exponent = float(centred @ v / (centred @ centred))
    return float(np.exp(v.mean() - exponent * u.mean())), exponent


def limited_power_law(x: Array, y: Array) -> tuple[float, float, float]:
    """Return (limit, scale, exponent) of y = limit + scale·x^-exponent, least squares, limit >= 0.

    For each exponent the other two are linear, so that only one number is searched for, and no
    start has to be chosen (variable projection, Golub and Pereyra 1973).
    """
    # Powers of x by its geometric mean: those of FLOPs themselves are too small to divide by.
    middle = float(np.log(x).mean())
    u = np.log(x) - middle

    def error(exponent: float) -> float:
        limit, scale = _linear(u, y, exponent)
        residual = limit + scale * np.exp(-exponent * u) - y
        return float(residual @ residual)

    best = int(np.argmin([error(exponent) for exponent in EXPONENTS]))
    low, high = EXPONENTS[max(best - 1, 0)], EXPONENTS[min(best + 1, len(EXPONENTS) - 1)]
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(REFINEMENTS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if error(left) <= error(right):
            high = right
        else:
            low = left
    exponent = float((low + high) / 2)
    limit, scale = _linear(u, y, exponent)
    return limit, float(scale * np.exp(exponent * middle)), exponent


def _linear(u: Array, y: Array, exponent: float) -> tuple[float, float]:
    """Return limit and scale of y = limit + scale·e^(-exponent·u)."""
    power = np.exp(-exponent * u)
    centred = power - power.mean()
    scale = float(centred @ y / (centred @ centred))
    limit = float(y.mean() - scale * power.mean())
    if limit >= 0:
        return limit, scale
    return 0.0, float(power @ y / (power @ power))


def frontier(flops: Array, parameters: Array, tokens: Array, loss: Array) -> Frontier:
    """Return the laws of compute-optimal runs: (n,) arrays, one element per budget."""
    scale_n, a = power_law(flops, parameters)
    scale_d, b = power_law(flops, tokens)
    return Frontier(scale_n, a, scale_d, b, *limited_power_law(flops, loss))
