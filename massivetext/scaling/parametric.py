"""Approach 3: the parametric law, fitted by a robust loss (Hoffmann et al. 2022, section 3.3)."""

from itertools import product

import numpy as np

from ..errors import InputError
from .bootstrap import Estimate, subsamples
from .laws import Array, ParametricLaw
from .lbfgs import minimise
from .runs import Runs, need

DELTA = 1e-3  # of the Huber loss
# Starts of a, b, e, alpha and beta (Appendix D.4): 6·6·5·5·5 = 4,500.
GRID = (
    np.arange(0.0, 26, 5),
    np.arange(0.0, 26, 5),
    np.arange(-1.0, 1.1, 0.5),
    np.arange(0.0, 2.1, 0.5),
    np.arange(0.0, 2.1, 0.5),
)
# All starts descend for some steps, the best of them further, the best of those to the end.
ROUNDS = ((4500, 60, 1e-7), (200, 400, 1e-9), (10, 5000, 1e-13))
RESAMPLE_STEPS = 1000
MIN_RUNS, MIN_SIZES, MIN_TOKENS = 10, 3, 3
# Elements of an array that stay in a core's cache.
CHUNK = 1 << 16


def fit(runs: Runs, *, resamples: int, seed: int, drop_highest: int = 0) -> Estimate[ParametricLaw]:
    """Fit E, A, B, alpha and beta.

    Minimises the sum (not the mean, with which L-BFGS stops early: Besiroglu et al. 2024) of
    Huber(log prediction - log loss) over the runs, from the paper's grid of starts; the best end is
    kept. Equal for every order of runs and starts.

    Args:
      drop_highest: leave out so many runs of the highest loss, which low compute leaves far from
        the law. The paper used all; Besiroglu et al. left out 5.

    Raises:
      InputError: too few runs, sizes or numbers of tokens; or they do not determine the law.
    """
    runs, left_out = _without_highest(runs.sorted(), drop_highest)
    check(runs)
    objective = Objective(runs)
    ends, _ = fit_grid(objective, objective.centred(grid()))
    law = objective.law(ends[0])
    if not _determined(law, runs):
        raise InputError(
            f"the parametric law of these runs has E {law.E:.3g}, A {law.A:.3g}, B {law.B:.3g}, "
            f"alpha {law.alpha:.3g} and beta {law.beta:.3g}: they do not tell what parameters and "
            "tokens each contribute; train more sizes on more different numbers of tokens"
        )
    found = _resample(objective, ends[0], resamples, seed)
    samples = tuple(sample for sample in found if _determined(sample, runs))
    if len(samples) < resamples:
        left_out += (f"{resamples - len(samples)} of {resamples} subsamples: no law determined",)
    points = {"flops": runs.flops, "parameters": runs.parameters, "loss": runs.loss}
    return Estimate(law, samples, left_out, points)


def _determined(law: ParametricLaw, runs: Runs) -> bool:
    """Whether both terms fall, and by more over the runs than the fit can tell from nothing."""
    if min(law.alpha, law.beta) <= 0 or not np.isfinite(list(vars(law).values())).all():
        return False
    terms = law.A * runs.parameters**-law.alpha, law.B * runs.tokens**-law.beta
    return all(bool(np.ptp(term) > DELTA * runs.loss.min()) for term in terms)


def check(runs: Runs) -> None:
    """Refuse runs from which five constants cannot be told.

    Raises:
      InputError: says what there is too little of.
    """
    name = "the parametric law"
    need(len(runs), MIN_RUNS, "runs", name)
    need(len(np.unique(runs.parameters)), MIN_SIZES, "numbers of parameters", name)
    need(len(np.unique(runs.tokens)), MIN_TOKENS, "numbers of tokens", name)
    x, y = np.log(runs.parameters), np.log(runs.tokens)
    if abs(np.corrcoef(x, y)[0, 1]) > 0.9999:
        raise InputError(
            f"{name}: tokens follow from the parameters in all runs, so that it cannot be told "
            "which of them lowers the loss; train sizes on different numbers of tokens"
        )


def grid() -> Array:
    """Return the paper's 4,500 starts (s, 5): a, b, e, alpha, beta."""
    return np.array(list(product(*GRID)))


class Objective:
    """The sum of Huber losses and its gradient, at many points at once.

    Points are (a, b, e, alpha, beta) with N and D counted in their geometric means: of N and D
    themselves a and alpha, b and beta could hardly change but together.
    """

    def __init__(self, runs: Runs):
        self.x, self.y = np.log(runs.parameters), np.log(runs.tokens)
        self.middle = float(self.x.mean()), float(self.y.mean())
        self.x, self.y = self.x - self.middle[0], self.y - self.middle[1]
        self.target = np.log(runs.loss)

    def centred(self, points: Array) -> Array:
        """Return points of the paper's form in ours."""
        shift = np.zeros_like(points)
        shift[:, 0] = points[:, 3] * self.middle[0]
        shift[:, 1] = points[:, 4] * self.middle[1]
        return points - shift

    def law(self, point: Array) -> ParametricLaw:
        a, b, e, alpha, beta = point.tolist()
        with np.errstate(over="ignore"):
            big_a = float(np.exp(a + alpha * self.middle[0]))
            big_b = float(np.exp(b + beta * self.middle[1]))
        return ParametricLaw(float(np.exp(e)), big_a, big_b, alpha, beta)

    def __call__(self, points: Array, weights: Array | None = None) -> tuple[Array, Array]:
        """Return values (s,) and gradients (s, 5) at points (s, 5).

        Args:
          weights: (s, n) float, of each run at each point; none counts each once.
        """
        values, gradients = np.empty(len(points)), np.empty_like(points)
        rows = max(1, CHUNK // len(self.target))
        for start in range(0, len(points), rows):
            part = slice(start, start + rows)
            some = None if weights is None else weights[part]
            values[part], gradients[part] = self._chunk(points[part], some)
        return values, gradients

    def _chunk(self, points: Array, weights: Array | None) -> tuple[Array, Array]:
        a, b, e, alpha, beta = (column[:, None] for column in points.T)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            by_parameters = np.exp(a - alpha * self.x)
            by_tokens = np.exp(b - beta * self.y)
            limit = np.exp(e)
            total = by_parameters + by_tokens + limit
            residual = np.log(total) - self.target
            slope = np.clip(residual, -DELTA, DELTA)
            if weights is not None:
                huber = slope * (residual - slope / 2) * weights
                slope = slope * weights
            else:
                huber = slope * (residual - slope / 2)
            slope = slope / total
            by_parameters *= slope
            by_tokens *= slope
            gradient = np.stack(
                [
                    by_parameters.sum(axis=1),
                    by_tokens.sum(axis=1),
                    limit[:, 0] * slope.sum(axis=1),
                    -(by_parameters * self.x).sum(axis=1),
                    -(by_tokens * self.y).sum(axis=1),
                ],
                axis=1,
            )
        return huber.sum(axis=1), gradient


def fit_grid(objective: Objective, starts: Array) -> tuple[Array, Array]:
    """Return the ends (r, 5) of the best descents from `starts` (s, 5), best first, and values."""
    # In an order of their own, so that neither ties nor the sums of a chunk depend on the given.
    ends = starts[np.lexsort(starts.T)]
    values = np.empty(0)
    for count, iterations, gradient in ROUNDS:
        ends, values = minimise(
            lambda x, _: objective(x), ends[:count], iterations=iterations, gradient=gradient
        )
        order = np.lexsort((*ends.T, values))
        ends, values = ends[order], values[order]
    return ends, values


def _resample(
    objective: Objective, best: Array, resamples: int, seed: int
) -> tuple[ParametricLaw, ...]:
    """Return the law of each subsample, from the best end of the fit to all runs.

    Of subsamples the grid leads to the same minimum as this one start.
    """
    if not resamples:
        return ()
    weights = np.zeros((resamples, len(objective.target)))
    for sample, rows in enumerate(subsamples(len(objective.target), resamples, seed)):
        weights[sample, rows] = 1.0
    ends, _ = minimise(
        lambda x, which: objective(x, weights[which]),
        np.repeat(best[None], resamples, axis=0),
        iterations=RESAMPLE_STEPS,
        gradient=1e-9,
    )
    return tuple(objective.law(end) for end in ends)


def _without_highest(runs: Runs, count: int) -> tuple[Runs, tuple[str, ...]]:
    if not count:
        return runs, ()
    order = np.lexsort((runs.line, -runs.loss))
    out = order[:count]
    notes = tuple(
        f"line {runs.line[row]}: one of the {count} highest losses, {runs.loss[row]:.4f}"
        for row in out
    )
    return runs.take(np.sort(order[count:])), notes
