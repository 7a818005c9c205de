"""What the laws say of a budget: the best size, its tokens, and the loss to expect."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, InputError
from . import repeated
from .bootstrap import interval
from .fit import APPROACHES, FORMAT
from .laws import Frontier, KaplanLaws, Law, ParametricLaw

LAW_OF: dict[str, type[Law]] = {
    "envelope": Frontier,
    "isoflop": Frontier,
    "parametric": ParametricLaw,
    "kaplan": KaplanLaws,
}
# Of the compute-optimal size, for models that are to be cheap to use.
SMALLER = (0.75, 0.5, 0.33, 0.25)


@dataclass(frozen=True)
class Fitted:
    """A law by the name of its approach, and the laws of its subsamples."""

    approach: str
    law: Law
    samples: tuple[Law, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """Compute-optimal parameters and tokens, and the loss there; the intervals of each, if known.

    `parameters` and `tokens` are None by Kaplan's L(C), which tells the loss alone.
    """

    approach: str
    parameters: float | None
    tokens: float | None
    loss: float
    intervals: Mapping[str, list[float]]


@dataclass(frozen=True)
class Overtrained:
    """A model of another size than the best one, and what it takes to have the best one's loss.

    `tokens` and `flops` are infinite where the size never gets there.
    """

    parameters: float
    tokens: float
    flops: float


def read_fit(path: Path) -> list[Fitted]:
    """Read the laws of a fit.json.

    Raises:
      ConfigError: there is no such file.
      InputError: it is not what `massivetext scaling fit` wrote.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a fit of massivetext scaling fit: {error}") from error
    try:
        value = json.loads(text)
        if value["format"] != FORMAT:
            raise InputError(f"{path} has the format {value['format']!r}, not {FORMAT!r}")
        approaches = value["approaches"]
        return [_fitted(name, approaches[name]) for name in APPROACHES if name in approaches]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a fit.json of massivetext scaling fit ({error}); run it again"
        ) from error


def _fitted(name: str, value: Mapping[str, Any]) -> Fitted:
    kind = LAW_OF[name]
    samples = value["samples"]
    names = list(value["constants"])
    rows = zip(*(samples[constant] for constant in names), strict=True)
    return Fitted(
        name,
        kind(**{constant: float(x) for constant, x in value["constants"].items()}),
        tuple(kind(**dict(zip(names, map(float, row), strict=True))) for row in rows),
    )


def predict(
    fitted: Sequence[Fitted], flops: float, unique: float | None = None
) -> list[Prediction]:
    """Return the prediction of each approach for `flops`.

    Args:
      unique: different tokens that there are; beyond them data repeat, by Muennighoff et al.'s law
        with the constants of the parametric one. The other approaches know nothing of repeated
        data and are left out where their optimum needs more tokens.

    Raises:
      ConfigError: a number is not above 0, or no approach remains.
    """
    for flag, value in (("--flops", flops), ("--data", unique)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"{flag} is {value:g}; it must be a number above 0")
    found = []
    for one in fitted:
        n, d, loss = _optimum(one.law, flops, unique)
        if unique is not None and not isinstance(one.law, ParametricLaw) and not _within(d, unique):
            continue
        found.append(Prediction(one.approach, n, d, loss, _intervals(one.samples, flops, unique)))
    if not found:
        raise ConfigError(
            f"the data of {unique:g} tokens would repeat, for which only the parametric law has an "
            "answer; fit it too (--approach all), or take --law"
        )
    return found


def _within(tokens: float | None, unique: float) -> bool:
    return tokens is not None and tokens <= unique


def _optimum(
    law: Law, flops: float, unique: float | None
) -> tuple[float | None, float | None, float]:
    if isinstance(law, KaplanLaws):
        return None, None, float(law.of_flops(flops))
    if isinstance(law, ParametricLaw) and unique is not None:
        return repeated.optimum(law, flops, unique)
    n, d, loss = law.optimum(flops)
    return float(n), float(d), float(loss)


def _intervals(
    samples: Sequence[Law], flops: float, unique: float | None
) -> dict[str, list[float]]:
    rows = [_optimum(law, flops, unique) for law in samples]
    columns = {name: [row[i] for row in rows] for i, name in enumerate(("parameters", "tokens"))}
    found = {
        name: interval(np.array(values, float))
        for name, values in columns.items()
        if values and values[0] is not None
    }
    if rows:
        found["loss"] = interval(np.array([row[2] for row in rows]))
    return found


def loss_of(law: ParametricLaw, parameters: float, tokens: float, unique: float | None) -> float:
    """Return the loss of `parameters` on `tokens`, of which at most `unique` are different."""
    if unique is None:
        return float(law.loss(parameters, tokens))
    return float(repeated.loss(law, parameters, tokens, unique))


def overtrained(
    law: ParametricLaw, parameters: float, loss: float, unique: float | None = None
) -> Overtrained:
    """Return the tokens with which `parameters` reach `loss`, and their FLOPs, 6·N·D."""
    if unique is None:
        tokens = float(law.tokens_to_reach(loss, parameters))
    else:
        tokens = _tokens_repeated(law, parameters, loss, unique)
    return Overtrained(parameters, tokens, 6 * parameters * tokens)


def _tokens_repeated(law: ParametricLaw, parameters: float, loss: float, unique: float) -> float:
    """Return tokens by bisection: the loss falls with them, to a limit."""
    low, high = 0.0, math.log(unique) + 30.0
    if loss_of(law, parameters, math.exp(high), unique) > loss:
        return math.inf
    for _ in range(100):
        middle = (low + high) / 2
        if loss_of(law, parameters, math.exp(middle), unique) > loss:
            low = middle
        else:
            high = middle
    return math.exp(high)
