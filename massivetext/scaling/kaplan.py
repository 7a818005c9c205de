"""Kaplan's laws L(N), L(D) and L(C): one factor at a time (Kaplan et al. 2020, section 3)."""

import numpy as np

from ..errors import InputError
from .bootstrap import Estimate, bootstrap
from .laws import Array, KaplanLaws
from .power_law import power_law
from .runs import Runs, need

MIN_POINTS = 3


def fit(runs: Runs, *, resamples: int, seed: int) -> Estimate[KaplanLaws]:
    """Fit each law to the runs that its factor limits.

    The laws are of a loss that nothing else limits. Of finished runs, those come nearest which no
    run with as much of the factor or less has bettered; where even they were limited by something
    else, the exponents come out too small. Least squares in the logarithms.

    Raises:
      InputError: fewer than three such runs remain for a law.
    """
    law, points = _fit(runs)
    samples, note = bootstrap(runs, resamples, seed, lambda some: _fit(some)[0])
    return Estimate(law, samples, note, points)


def _fit(runs: Runs) -> tuple[KaplanLaws, dict[str, Array]]:
    constants: list[float] = []
    points = {}
    for name, factor in (
        ("parameters", runs.parameters),
        ("tokens", runs.tokens),
        ("flops", runs.flops),
    ):
        rows = unbettered(factor, runs.loss)
        need(len(rows), MIN_POINTS, f"runs that only their {name} limit", "Kaplan's law")
        scale, exponent = power_law(factor[rows], runs.loss[rows])
        # L = scale·x^exponent as (x_c / x)^alpha.
        with np.errstate(over="ignore"):
            constant = float(np.exp(-np.log(scale) / exponent))
        if not np.isfinite(constant):
            raise InputError(f"Kaplan's law of {name}: the loss hardly depends on them")
        constants += [constant, -exponent]
        points[name] = factor[rows]
        points[f"{name}_loss"] = runs.loss[rows]
    return KaplanLaws(*constants), points


def unbettered(factor: Array, loss: Array) -> Array:
    """Return the rows whose loss is lower than that of every row with as much `factor` or less."""
    order = np.lexsort((loss, factor))
    lowest = np.minimum.accumulate(np.append(np.inf, loss[order][:-1]))
    return order[loss[order] < lowest]
