"""Reads a CSV of runs. What can only be a number in another unit is an error, not a law.

Columns are found by name in any case: parameters, tokens and/or FLOPs, loss. A column `run` says
which rows are the curve of one run; without it each row is a finished run. A suffix of the name
gives the unit: parameters_m, tokens (B), flops_pf_days, loss_bits.
"""

import csv
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import ConfigError, InputError, nearest
from .laws import Array
from .runs import Curve, Runs, smooth
from .units import UNITS, check, unit_of

NAMES: dict[str, tuple[str, ...]] = {
    "parameters": ("parameters", "params", "n", "n_params", "num_params", "model_size", "size"),
    "tokens": ("tokens", "d", "n_tokens", "num_tokens", "training_tokens", "train_tokens"),
    "flops": ("flops", "flop", "c", "compute", "training_flop", "training_flops", "train_flops"),
    "loss": ("loss", "final_loss", "nats", "perplexity", "ppl"),
    "run": ("run", "run_id", "run_name"),
    "tokenizer": ("tokenizer", "tokenizer_sha256"),
}
NUMBERS = ("parameters", "tokens", "flops", "loss")


def read_runs(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    count_flops: bool = False,
) -> Runs:
    """Read runs from a CSV with a header.

    Args:
      columns: the header of `parameters`, `tokens`, `flops`, `loss`, `run` or `tokenizer`, where
        it is not one of `NAMES`.
      units: their units where the header does not say, of `UNITS`.
      count_flops: take 6·N·D in place of the file's FLOPs.

    Returns:
      The runs in ascending order of parameters, tokens, FLOPs and loss. Missing tokens are
      C / (6·N), missing FLOPs 6·N·D.

    Raises:
      ConfigError: there is no such file, column or unit.
      InputError: names file, column and line of a value that cannot be right.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return _read(path, csv.reader(file), columns or {}, units or {}, count_flops)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV in UTF-8: {error}") from error


def _read(
    path: Path,
    rows: "csv._reader",  # type: ignore[name-defined]
    columns: Mapping[str, str],
    units: Mapping[str, str],
    count_flops: bool,
) -> Runs:
    header = [name.strip() for name in next(rows, [])]
    at, unit = _columns(path, header, columns, units)
    numbers = {name: array("d") for name in NUMBERS if name in at}
    lines, names = array("q"), list[str]()
    tokenizer: tuple[str, int] | None = None
    for row in _rows(path, rows, len(header)):
        lines.append(rows.line_num)
        for name, values in numbers.items():
            values.append(_number(path, header[at[name]], rows.line_num, row[at[name]]))
        if "run" in at:
            names.append(row[at["run"]])
        if "tokenizer" in at:
            tokenizer = tokenizer or (row[at["tokenizer"]], rows.line_num)
            if row[at["tokenizer"]] != tokenizer[0]:
                raise InputError(
                    f"{path}, line {rows.line_num}: the tokenizer is {row[at['tokenizer']]!r}, and "
                    f"{tokenizer[0]!r} in line {tokenizer[1]}; losses per token of different "
                    "tokenizers cannot be compared, fit them apart"
                )
    if not lines:
        raise InputError(f"{path} holds no runs")
    found = {name: np.array(values) for name, values in numbers.items()}
    line = np.array(lines)
    last = np.ones(len(line), bool)
    if names:
        last[:] = False
        last[list({name: row for row, name in enumerate(names)}.values())] = True
    check(path, {name: header[at[name]] for name in numbers}, found, line, last, unit)
    for name in found:
        found[name] = UNITS[name][unit[name]](found[name]) if name in unit else found[name]
    if "tokens" not in found:
        found["tokens"] = found["flops"] / (6 * found["parameters"])
    if "flops" not in found or count_flops:
        found["flops"] = 6 * found["parameters"] * found["tokens"]
    if "run" in at:
        return _with_curves(path, found, line, names)
    parameters, tokens, flops, loss = (found[name] for name in NUMBERS)
    return Runs(parameters, tokens, flops, loss, line).sorted()


def _rows(
    path: Path,
    rows: "csv._reader",  # type: ignore[name-defined]
    width: int,
) -> Iterator[Sequence[str]]:
    for row in rows:
        if len(row) == width:
            yield row
        elif row:
            raise InputError(
                f"{path}, line {rows.line_num}: {len(row)} values where the header has {width}"
            )


def _columns(
    path: Path, header: Sequence[str], columns: Mapping[str, str], units: Mapping[str, str]
) -> tuple[dict[str, int], dict[str, str]]:
    """Return where each column is, and the unit of those that have one."""
    for name in {**columns, **units}:
        if name not in NAMES:
            raise ConfigError(f"there is no column {name!r} to set{nearest(name, NAMES)}")
    at: dict[str, int] = {}
    unit: dict[str, str] = {}
    for name, aliases in NAMES.items():
        named = columns.get(name)
        if named is not None and named not in header:
            raise ConfigError(f"{path} has no column {named!r}{nearest(named, header)}")
        found = [
            (index, suffix)
            for index, text in enumerate(header)
            if (suffix := _suffix(name, text, aliases)) is not None and named in (None, text)
        ]
        if named is not None and not found:
            found = [(header.index(named), "")]
        if len(found) > 1:
            both = " and ".join(repr(header[index]) for index, _ in found)
            raise ConfigError(
                f"{path}: {both} may both be {name}; pass --column {name}=NAME to choose one"
            )
        if found:
            at[name] = found[0][0]
            if found[0][1]:
                unit[name] = found[0][1]
        if name in units:
            unit[name] = unit_of(name, units[name])
    for name in ("parameters", "loss"):
        if name not in at:
            raise ConfigError(
                f"{path} has no column of the {name}: found {', '.join(header) or 'no header'}; "
                f"pass --column {name}=NAME"
            )
    if "tokens" not in at and "flops" not in at:
        raise ConfigError(
            f"{path} has neither a column of the tokens nor of the FLOPs: found "
            f"{', '.join(header)}; pass --column tokens=NAME or --column flops=NAME"
        )
    return at, unit


def _suffix(name: str, text: str, aliases: Sequence[str]) -> str | None:
    """Return the unit in a header, "" for none; None when it is not a header of `name`."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if plain in ("perplexity", "ppl") and name == "loss":
        return "perplexity"
    for alias in aliases:
        if plain == alias:
            return ""
        if plain.startswith(alias + "_") and name in UNITS:
            suffix = plain.removeprefix(alias + "_").removeprefix("in_").replace("_", "-")
            known = {unit.lower(): unit for unit in UNITS[name]}
            if suffix in known:
                return known[suffix]
    return None


def _number(path: Path, header: str, line: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{path}, line {line}: {header} is {text!r}, not a number") from None


def _with_curves(path: Path, found: dict[str, Array], line: Array, names: list[str]) -> Runs:
    """Return the last row of each run, and all of its rows as its curve."""
    code = np.unique(names, return_inverse=True)[1]
    order = np.lexsort((line, found["tokens"], code))
    code = code[order]
    ordered = [found[name][order] for name in NUMBERS]
    parameters, tokens = ordered[:2]
    same = code[1:] == code[:-1]
    for bad, what in (
        (same & (parameters[1:] != parameters[:-1]), "has two numbers of parameters"),
        (same & (tokens[1:] == tokens[:-1]), "is twice at the same number of tokens"),
    ):
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{path}, line {max(line[order][first : first + 2])}: the run "
                f"{names[order[first]]!r} {what}"
            )
    ends = np.flatnonzero(np.append(~same, True))
    starts = np.append(0, ends[:-1] + 1)
    curves = []
    for start, end in zip(starts, ends, strict=True):
        n, d, c, losses = (values[start : end + 1] for values in ordered)
        curves.append(Curve(float(n[0]), c, d, smooth(d, losses)))
    n, d, c, _ = (values[ends] for values in ordered)
    loss = np.array([curve.loss[-1] for curve in curves])
    # Runs of one row each are finished runs, whatever they are called.
    logged = tuple(curves) if len(ends) < len(line) else ()
    return Runs(n, d, c, loss, line[order][ends], logged).sorted()
