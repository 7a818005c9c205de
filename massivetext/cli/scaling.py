"""`massivetext scaling run CONFIG`, `fit RUNS.csv` and `predict --flops C`."""

import argparse
import hashlib
import importlib.util
import math
from pathlib import Path

from ..errors import ConfigError, MassivetextError


def run(options: argparse.Namespace) -> int:
    try:
        return {"run": _run, "fit": _fit, "predict": _predict}[options.action](options)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename}: {error.strerror}") from error


def _run(options: argparse.Namespace) -> int:
    from ..config_file import load
    from ..dataset import claimed

    config = load(Path(options.config), options.overrides).config
    if importlib.util.find_spec("jax") is None:
        raise MassivetextError('the trainer needs JAX; run: pip install "massivetext[train]"')
    root = Path(config.output).absolute()
    if not (root / "manifests" / "tokens.json").exists():
        raise ConfigError(
            f"there are no token stores in {root}; run: massivetext tokenize {options.config}"
        )
    from massivetext.experiments.ladder import run_ladder

    with claimed(root):
        ladder = run_ladder(root, config, workers=options.workers)
    for name, why in ladder.diverged.items():
        print(f"{name} diverged and is not in the table: {why}")
    runs = ladder.runs
    print(f"{len(ladder.finished)} runs; written to {runs}. Fit laws to them:")
    print(f"  massivetext scaling fit {runs} --output {runs.parent}")
    return 0


def _fit(options: argparse.Namespace) -> int:
    from ..dataset import atomic_file, write_json
    from ..scaling import fit, plots
    from ..scaling.table import read_runs

    path, out = Path(options.runs), Path(options.output)
    runs = read_runs(
        path,
        columns=_pairs("--column", options.column),
        units=_pairs("--unit", options.unit),
        count_flops=options.flops == "6nd",
    )
    estimates, skipped = fit.fit(
        runs,
        options.approach,
        resamples=options.resamples,
        seed=options.seed,
        drop_highest=options.drop_highest,
    )
    settings = {
        name: getattr(options, name)
        for name in ("approach", "flops", "column", "unit", "drop_highest", "resamples", "seed")
    }
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    value = fit.to_json(path, digest, runs, estimates, skipped, settings)
    write_json(out / "fit.json", value)
    pictures = plots.draw(runs, estimates)
    for name, svg in pictures.items():
        with atomic_file(out / f"{name}.svg") as file:
            file.write(svg.encode())
    print(fit.table(estimates, skipped))
    drawn = ", ".join(f"{name}.svg" for name in pictures)
    print(f"\n{len(runs)} runs; written to {out}: fit.json{', ' * bool(drawn)}{drawn}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from ..scaling import report
    from ..scaling.predict import Fitted, read_fit
    from ..scaling.published import LAWS

    if (options.fit is None) == (options.law is None):
        raise ConfigError("give either FIT.json, as scaling fit wrote it, or --law")
    if options.law is not None:
        fitted = [Fitted(options.law, LAWS[options.law])]
    else:
        path = Path(options.fit)
        fitted = read_fit(path / "fit.json" if path.is_dir() else path)
    numbers = {
        name: _number(f"--{name}", getattr(options, name))
        for name in ("flops", "data", "parameters")
    }
    flops = numbers["flops"]
    assert flops is not None, "argparse requires it"
    print(report.text(fitted, flops, unique=numbers["data"], parameters=numbers["parameters"]))
    return 0


def _pairs(flag: str, texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{flag} {text}: it must be COLUMN=VALUE, such as loss=final_loss")
        pairs[name] = value
    return pairs


def _number(flag: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"{flag} {text} is not a number, such as 5.76e23") from None
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{flag} is {text}; it must be a number above 0")
    return value
