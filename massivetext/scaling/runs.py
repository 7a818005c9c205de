"""The runs that laws are fitted to: sizes, tokens, FLOPs and losses, and how loss fell in each."""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .laws import Array

# Hoffmann et al. (2022), D.1: losses are smoothed by a Gaussian over a window of 10 steps.
WINDOW = 10
# A curve of fewer points is taken as it is: the window would no longer be a small part of it.
SMOOTHED_FROM = 10 * WINDOW


@dataclass(frozen=True)
class Curve:
    """The loss of one size against FLOPs: arrays in ascending order of FLOPs."""

    parameters: float
    flops: Array
    tokens: Array
    loss: Array


@dataclass(frozen=True)
class Runs:
    """Finished runs: float64 arrays of equal length, and the line of the file each came from.

    `logged` holds the curve of each run, in the same order, where the file has more than its end.
    """

    parameters: Array
    tokens: Array
    flops: Array
    loss: Array
    line: Array
    logged: tuple[Curve, ...] = ()

    def __len__(self) -> int:
        return len(self.loss)

    def take(self, rows: Array) -> "Runs":
        """Return the runs of these indices."""
        return Runs(
            self.parameters[rows],
            self.tokens[rows],
            self.flops[rows],
            self.loss[rows],
            self.line[rows],
            tuple(self.logged[row] for row in rows) if self.logged else (),
        )

    def sorted(self) -> "Runs":
        """Return the runs by parameters, tokens, FLOPs and loss: an order not of the file's lines,
        so that no sum and no subsample depends on it."""
        keys = (self.line, self.loss, self.flops, self.tokens, self.parameters)
        return self.take(np.lexsort(keys))

    def curves(self) -> tuple[Curve, ...]:
        """Return the curve of each run; without logged ones, of each size over its finished runs.

        A size of one finished run has no curve then.
        """
        if self.logged:
            return self.logged
        curves = []
        for size in np.unique(self.parameters):
            rows = np.flatnonzero(self.parameters == size)
            rows = rows[np.lexsort((self.loss[rows], self.flops[rows]))]
            # Of equal runs with different seeds the best.
            rows = rows[np.unique(self.flops[rows], return_index=True)[1]]
            if len(rows) > 1:
                curves.append(
                    Curve(float(size), self.flops[rows], self.tokens[rows], self.loss[rows])
                )
        return tuple(curves)


def need(found: int, needed: int, what: str, approach: str) -> None:
    """Refuse to fit `approach` to fewer than `needed`.

    Raises:
      InputError: says how many there are and how many are needed.
    """
    if found < needed:
        raise InputError(
            f"{approach} needs at least {needed} {what}; there {'is' if found == 1 else 'are'} "
            f"{found}"
        )


def smooth(tokens: Array, loss: Array) -> Array:
    """Return the losses of a curve, smoothed by local lines in the logarithm of the tokens.

    Each is the value of a line through the window of `WINDOW` + 1 points around it, with Gaussian
    weights whose standard deviation is a quarter of the window. A mean in place of the line would
    raise the last losses of a run, which are the ones that count.

    Args:
      tokens, loss: (n,), in ascending order of tokens.
    """
    if len(loss) < SMOOTHED_FROM:
        return loss
    x = np.log(tokens)
    x = x - x.mean()
    half = WINDOW // 2
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / (WINDOW / 4)) ** 2)
    # Sums over the window around each point; outside of the curve there is nothing to add.
    s0, s1, s2, t0, t1 = (
        np.convolve(values, kernel, "same")
        for values in (np.ones_like(x), x, x * x, loss, x * loss)
    )
    slope = (s0 * t1 - s1 * t0) / (s0 * s2 - s1 * s1)
    return (t0 - slope * s1) / s0 + slope * x
