"""Units of the columns of runs, and the values that can only be in another one."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..errors import ConfigError, InputError, nearest
from .laws import Array
from .published import PF_DAY

COUNTS = {"1": 1.0, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
COUNTS_BY_WORD = {"thousands": 1e3, "millions": 1e6, "billions": 1e9, "trillions": 1e12}


def _times(factor: float) -> Callable[[Array], Array]:
    return lambda values: values * factor


_COUNT = {unit: _times(factor) for unit, factor in {**COUNTS, **COUNTS_BY_WORD}.items()}
# What each unit of a column is in ours: parameters, tokens, FLOPs, nats per token.
UNITS: dict[str, dict[str, Callable[[Array], Array]]] = {
    "parameters": _COUNT,
    "tokens": _COUNT,
    "flops": {
        "1": _times(1.0),
        "pf-days": _times(PF_DAY),
        "petaflops": _times(1e15),
        "exaflops": _times(1e18),
        "zettaflops": _times(1e21),
    },
    "loss": {"nats": _times(1.0), "bits": _times(float(np.log(2))), "perplexity": np.log},
}

# No ladder of models is smaller, in parameters or tokens, and none costs less, than these. One
# model may be (Kaplan et al. 2020 begin with 768 parameters), but not all of them.
LARGEST_AT_LEAST = {"parameters": 1e5, "tokens": 1e5, "flops": 1e9}
SMALLEST_AT_LEAST = {"parameters": 100.0, "tokens": 100.0, "flops": 1e6}
EXAMPLES = {"parameters": "M (millions)", "tokens": "B (billions)", "flops": "pf-days"}
# Guessing among 2^18 tokens costs 12.5 nats or 18 bits, and no vocabulary is larger.
GUESS_NATS, GUESS_BITS = 12.5, 18.0
# Of trained tokens per parameter, and of FLOPs to 6·N·D. Small models spend many times 6·N·D when
# N is counted without embeddings; a thousand times is another unit.
TOKENS_PER_PARAMETER = (1e-2, 1e7)
FLOPS_TO_6ND = (1e-2, 1e2)


def unit_of(column: str, unit: str) -> str:
    """Return `unit` as it stands in `UNITS`.

    Raises:
      ConfigError: the column has no such unit.
    """
    known = {name.lower(): name for name in UNITS.get(column, {})}
    if not known:
        raise ConfigError(f"the column {column} has no unit")
    if unit.lower() not in known:
        raise ConfigError(
            f"--unit {column}={unit}: there is no such unit of {column}"
            f"{nearest(unit, known.values())}"
        )
    return known[unit.lower()]


def check(
    path: Path,
    headers: Mapping[str, str],
    found: Mapping[str, Array],
    line: Array,
    last: Array,
    unit: Mapping[str, str],
) -> None:
    """Refuse values that are not numbers of anything, or can only be in another unit.

    Args:
      headers: what the file calls each column.
      found: its values as they stand in the file, (n,) each.
      last: bool (n,), the last row of each run: only there a loss must be better than a guess.
      unit: the units that header or flags give; such a column is what it is said to be.

    Raises:
      InputError: names file, column and line, and what to pass.
    """

    def refuse(name: str, bad: Array, why: str) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            value = found[name][row]
            raise InputError(f"{path}, line {line[row]}: {headers[name]} is {value:g}: {why}")

    for name, values in found.items():
        what = "the run diverged or was not evaluated; take the line out" if name == "loss" else ""
        refuse(name, ~np.isfinite(values), what or f"not a number of {name}")
        refuse(name, values <= 0, "it must be above 0")
        if name == "loss" or name in unit:
            continue
        hint = f"can only be in another unit; pass --unit {name}=UNIT, such as {EXAMPLES[name]}"
        small = values < SMALLEST_AT_LEAST[name]
        refuse(name, small | (values.max() < LARGEST_AT_LEAST[name]), hint)
    loss = found["loss"]
    if "loss" not in unit:
        other = "perplexity" if loss[last].max() > GUESS_BITS else "bits"
        refuse(
            "loss",
            last & (loss > GUESS_NATS),
            "more nats per token than a guess among all tokens costs; pass "
            f"--unit loss={other} when it is {'a perplexity' if other != 'bits' else 'in bits'}",
        )
    elif unit["loss"] == "perplexity":
        refuse("loss", loss <= 1, "a perplexity is above 1")

    def ours(name: str) -> Array:
        return UNITS[name][unit.get(name, "1")](found[name])

    parameters = ours("parameters")
    tokens = ours("tokens") if "tokens" in found else ours("flops") / (6 * parameters)
    ratio = tokens / parameters
    source = "tokens" if "tokens" in found else "flops"
    low, high = TOKENS_PER_PARAMETER
    refuse(
        source,
        ~((ratio > low) & (ratio < high))
        if ratio.max() < low or ratio.min() > high
        else np.zeros(len(ratio), bool),
        f"that is {ratio[0]:.2g} tokens per parameter; parameters or {source} can only be in "
        f"another unit, pass --unit parameters=UNIT or --unit {source}=UNIT",
    )
    if "tokens" in found and "flops" in found:
        factor = ours("flops") / (6 * parameters * tokens)
        refuse(
            "flops",
            (factor < FLOPS_TO_6ND[0]) | (factor > FLOPS_TO_6ND[1]),
            "that is far from 6·N·D; it can only be in another unit, pass --unit flops=UNIT, such "
            "as pf-days, or --flops 6nd to count them anew",
        )
