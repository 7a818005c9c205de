"""What a tuning found: `report.json`, `mixture.json`, `runs.csv`, and the text for a terminal."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import massivetext
from massivetext.card import align
from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.tuning.confirmation import LEVEL, Interval, difference, interval
from massivetext.tuning.verdict import verdict

from .proxies import ProxyResult
from .tune_search import Search
from .tune_setup import Setup

Confirmed = Mapping[str, Mapping[int, ProxyResult]]

# A millionth of a bit is beyond any run; what comes after it depends on a BLAS's threads.
_DECIMALS = 6


def report_json(
    config: Config,
    setup: Setup,
    mixtures: Mapping[str, Mapping[str, float]],
    found: Search | None,
    trajectory: Sequence[Any] | None,
    confirmed: Confirmed,
) -> dict[str, Any]:
    """Return the report as JSON; losses in bits per byte, weights as shares of the tokens.

    Args:
      mixtures: those confirmed, the proposal first.
      found: of a regression; `trajectory` of the other methods: [{step, weights}].
      confirmed: results by mixture and seed.
    """
    losses = {
        name: {seed: _objective(setup, run) for seed, run in runs.items()}
        for name, runs in confirmed.items()
    }
    proposal, *others = mixtures
    differences = {name: difference(losses[proposal], losses[name]) for name in others}
    means = {name: math.fsum(v.values()) / len(v) for name, v in losses.items() if v}
    run = next(iter(chain.from_iterable(runs.values() for runs in confirmed.values())))
    return {
        "massivetext": massivetext.__version__,
        "method": config.tune.method,
        "seed": config.seed,
        "train": to_dict(setup.train),
        "proxy": {
            "parameters": run.parameters,
            "tokens": run.tokens,
            "flops": run.flops,
            "budget": config.mixture.tokens,
        },
        "tokenizer_sha256": run.tokenizer_sha256,
        "objective": {name: _rounded(share) for name, share in setup.objective.items()},
        "subsets": {
            name: {"tokens": tokens, "cap": float(cap)}
            for (name, tokens), cap in zip(
                setup.tokens.items(), setup.simplex.ceiling.tolist(), strict=True
            )
        },
        "mixtures": {name: dict(weights) for name, weights in mixtures.items()},
        "adjusted": list(setup.adjusted),
        "search": None if found is None else _search(found),
        "trajectory": None if trajectory is None else list(trajectory),
        "confirmed": {
            name: _confirmed(setup, runs, losses[name]) for name, runs in confirmed.items()
        },
        "differences": {name: _interval(value) for name, value in differences.items()},
        "level": LEVEL,
        "verdict": verdict(means, differences, losses),
    }


def mixture_json(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `massivetext mix --mixture` reads: the proposal, and whether to use it."""
    search = report["search"]
    predicted = search and search["proposal"]["proposal"]
    return {
        "weights": report["mixtures"]["proposal"],
        "method": report["method"],
        "objective": report["objective"],
        "predicted": predicted and {k: predicted[k] for k in ("objective", "deviation")},
        "confirmed": report["confirmed"]["proposal"]["objective"],
        "differences": report["differences"],
        **{name: report["verdict"][name] for name in ("recommended", *_BETTER)},
        "recommended_weights": report["mixtures"][report["verdict"]["recommended"]],
    }


_BETTER = ("better_than_configured", "better_than_uniform", "better_than_natural")


def runs_csv(setup: Setup, searched: Sequence[ProxyResult], confirmed: Confirmed) -> str:
    """Return every run that has a result as CSV."""
    subsets = list(setup.tokens)
    runs = {run.name: run for run in searched}
    for by_seed in confirmed.values():
        runs |= {run.name: run for run in by_seed.values()}
    targets = sorted({target for run in runs.values() for target in run.bits_per_byte})
    out = io.StringIO()
    rows = [
        {
            "run": run.name,
            "seed": run.seed,
            **{f"weight.{name}": run.weights.get(name, 0.0) for name in subsets},
            **{f"bits_per_byte.{name}": run.bits_per_byte.get(name, "") for name in targets},
            "objective": _objective(setup, run),
            **{name: getattr(run, name) for name in ("loss", "parameters", "tokens", "flops")},
        }
        for run in runs.values()
    ]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def text(report: Mapping[str, Any]) -> str:
    """Return the report for a terminal."""
    mixtures = report["mixtures"]
    rows = [["weight", *mixtures]]
    for subset in report["subsets"]:
        rows.append([subset, *(f"{weights[subset]:.4f}" for weights in mixtures.values())])
    parts = [align(rows), align(_confirmed_rows(report))]
    if report["search"] is not None:
        search = report["search"]
        rows = [["model", "rank correlation with runs held out"]]
        rows += [
            [name.replace("_", " "), f"{model['correlation']['objective']:.3f}"]
            for name, model in search["models"].items()
        ]
        parts.insert(0, align(rows))
        if search["diverged"]:
            parts.insert(0, f"diverged, and left out: {', '.join(search['diverged'])}")
    if report["adjusted"]:
        parts.append(
            f"trained within mixture.max_epochs, not as they are: {', '.join(report['adjusted'])}"
        )
    return "\n\n".join([*parts, "\n".join(report["verdict"]["text"])])


def _confirmed_rows(report: Mapping[str, Any]) -> list[list[str]]:
    rows = [["confirmed", "seeds", "bits per byte", "proposal less it", "95 % interval"]]
    for name, entry in report["confirmed"].items():
        objective, found = entry["objective"], report["differences"].get(name)
        rows.append(
            [
                name,
                str(len(entry["runs"])),
                "-" if objective is None else f"{objective['mean']:.4f}",
                "-" if found is None else f"{found['mean']:+.4f}",
                "-" if found is None else f"{found['low']:+.4f} to {found['high']:+.4f}",
            ]
        )
    return rows


def _objective(setup: Setup, run: ProxyResult) -> float:
    shares = setup.objective.items()
    return _rounded(math.fsum(share * run.bits_per_byte[name] for name, share in shares))


def _search(found: Search) -> dict[str, Any]:
    proposal = found.proposal
    predicted = {"proposal": (proposal.objective, proposal.deviation, 0.0, 0.0)} | {
        name: (other.objective, other.deviation, other.gain, other.gain_deviation)
        for name, other in proposal.others.items()
    }
    names = ("objective", "deviation", "gain", "gain_deviation")
    return {
        "runs": [
            {
                "name": run.name,
                "weights": run.weights,
                "bits_per_byte": run.bits_per_byte,
                "objective": _rounded(loss),
            }
            for run, loss in zip(found.results, found.losses.tolist(), strict=True)
        ],
        "diverged": list(found.diverged),
        "proposal": {
            name: dict(zip(names, values, strict=True)) for name, values in predicted.items()
        },
        "models": {
            name: {
                "correlation": {k: _rounded(v) for k, v in found.correlation[name].items()},
                "predicted": [_rounded(value) for value in found.predicted[name].tolist()],
                "mixtures": {k: _rounded(v) for k, v in found.mixtures[name].items()},
            }
            for name in found.predicted
        },
        "slices": {
            subset: {
                target: [
                    [_rounded(value) for value in point]
                    for point in zip(
                        line.weights.tolist(),
                        line.mean.tolist(),
                        line.deviation.tolist(),
                        strict=True,
                    )
                ]
                for target, line in lines.items()
            }
            for subset, lines in found.slices.items()
        },
        "frontiers": {
            target: {
                "line": [_pair(point) for point in line.tolist()],
                "mixtures": {name: _pair(at) for name, at in found.traded[target].items()},
            }
            for target, line in found.frontiers.items()
        },
    }


def _confirmed(
    setup: Setup, runs: Mapping[int, ProxyResult], losses: Mapping[int, float]
) -> dict[str, Any]:
    targets = {
        target: interval({seed: run.bits_per_byte[target] for seed, run in runs.items()})
        for target in setup.objective
    }
    return {
        "runs": [{"seed": seed, "objective": losses[seed]} for seed in sorted(losses)],
        "objective": _interval(interval(losses)),
        "targets": {target: _interval(value) for target, value in targets.items()},
    }


def _interval(value: Interval | None) -> dict[str, Any] | None:
    if value is None:
        return None
    numbers = {name: _rounded(getattr(value, name)) for name in ("mean", "low", "high")}
    return {**numbers, "seeds": list(value.seeds)}


def _pair(point: Sequence[float]) -> list[float]:
    return [_rounded(value) for value in point]


def _rounded(value: float) -> float:
    return round(float(value), _DECIMALS)
