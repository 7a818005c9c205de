"""L-BFGS from many starts at once: each step is one array operation over all of them.

Nocedal and Wright (2006), algorithm 7.4, with a backtracking line search. The starts do not
influence one another; those that have converged are no longer evaluated.
"""

from collections.abc import Callable

import numpy as np

from .laws import Array

# (positions (s, k), starts (s,)) -> (values (s,), gradients (s, k)); `starts` are the indices of
# the starts that are still moving.
Function = Callable[[Array, Array], tuple[Array, Array]]

MEMORY = 10
SUFFICIENT_DECREASE = 1e-4
HALVINGS = 30
LONGEST_STEP = 5.0


def minimise(
    function: Function, starts: Array, *, iterations: int, gradient: float
) -> tuple[Array, Array]:
    """Return the minima (s, k) that descents from `starts` (s, k) reach, and the values (s,).

    Args:
      gradient: a descent ends when no component of its gradient is larger. It also ends when no
        step makes the value smaller, and after `iterations`.
    """
    count, size = starts.shape
    result, value = starts.astype(float), np.full(count, np.inf)
    rows = np.arange(count)
    x = result.copy()
    f, g = function(x, rows)
    # Steps s, differences of gradients y and 1 / (s·y), 0 where a pair is not to be used.
    s, y, rho = (np.zeros((MEMORY, count, size)) for _ in range(3))
    rho = rho[..., 0]
    scale = 1 / np.maximum(np.abs(g).sum(axis=1), 1.0)
    for iteration in range(iterations):
        direction = _direction(g, s, y, rho, scale, iteration)
        slope = _dot(direction, g)
        uphill = slope >= 0
        direction[uphill] = -g[uphill]
        slope[uphill] = -_dot(g, g)[uphill]
        length = np.abs(direction).max(axis=1)
        shorter = np.minimum(1.0, LONGEST_STEP / np.maximum(length, 1e-300))
        direction *= shorter[:, None]
        moved, new_x, new_f, new_g = _search(function, rows, x, f, g, direction, slope * shorter)
        slot = iteration % MEMORY
        s[slot], y[slot] = new_x - x, new_g - g
        curvature = _dot(s[slot], y[slot])
        length = _dot(y[slot], y[slot])
        usable = curvature > 1e-12 * np.sqrt(length * _dot(s[slot], s[slot]))
        rho[slot] = np.where(usable, 1 / np.where(usable, curvature, 1.0), 0.0)
        scale = np.where(usable, curvature / np.where(usable, length, 1.0), scale)
        x, f, g = new_x, new_f, new_g
        result[rows], value[rows] = x, f
        going = moved & (np.abs(g).max(axis=1) > gradient)
        if not going.all():
            rows, x, f, g, scale = (part[going] for part in (rows, x, f, g, scale))
            s, y, rho = (part[:, going] for part in (s, y, rho))
            if not len(rows):
                break
    return result, value


def _direction(g: Array, s: Array, y: Array, rho: Array, scale: Array, iteration: int) -> Array:
    """Return minus the approximate inverse Hessian times `g`, by the two loops over the pairs."""
    slots = [slot % MEMORY for slot in range(max(0, iteration - MEMORY), iteration)]
    q, alphas = g.copy(), {}
    for slot in reversed(slots):
        alphas[slot] = rho[slot] * _dot(s[slot], q)
        q -= alphas[slot][:, None] * y[slot]
    q *= scale[:, None]
    for slot in slots:
        beta = rho[slot] * _dot(y[slot], q)
        q += (alphas[slot] - beta)[:, None] * s[slot]
    return -q


def _search(
    function: Function,
    rows: Array,
    x: Array,
    f: Array,
    g: Array,
    direction: Array,
    slope: Array,
) -> tuple[Array, Array, Array, Array]:
    """Return who moved, and positions, values and gradients after the longest step that helps."""
    new_x, new_f, new_g = x.copy(), f.copy(), g.copy()
    moved = np.zeros(len(rows), bool)
    pending, step = np.arange(len(rows)), 1.0
    for _ in range(HALVINGS):
        trial = x[pending] + step * direction[pending]
        value, gradient = function(trial, rows[pending])
        limit = f[pending] + SUFFICIENT_DECREASE * step * slope[pending]
        good = (value <= limit) & (value < f[pending])
        chosen = pending[good]
        new_x[chosen], new_f[chosen], new_g[chosen] = trial[good], value[good], gradient[good]
        moved[chosen] = True
        pending, step = pending[~good], step / 2
        if not len(pending):
            break
    return moved, new_x, new_f, new_g


def _dot(left: Array, right: Array) -> Array:
    return np.einsum("sk,sk->s", left, right)
