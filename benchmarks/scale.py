"""Measures whole builds at several sizes, and predicts from them what larger ones need.

MASSIVETEXT_DATA=/path/to/data python benchmarks/scale.py [--sizes 0.1,1,10] [--only build,model]
"""

import argparse
import dataclasses
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import scale_build
from report import Report, Row
from scale_build import GIGABYTE, Scale
from scale_model import (
    Forecast,
    Line,
    Measured,
    Model,
    Prices,
    Quantities,
    StageUse,
    massivetext_like,
)
from scale_plot import Series, growth_svg

from massivetext.errors import ConfigError, MassivetextError, nearest

SIZES = "0.1,1,10"
SECTIONS = ("build", "clean_dedup", "overhead", "engines", "model")
FORECASTS = {"10 GB": 10e9, "1 TB": 1e12, "10.5 TB": 10.5e12, "100 TB": 100e12}
CORES = 1000


def main() -> int:
    options = _arguments()
    try:
        names = options.only.split(",") if options.only else list(SECTIONS)
        for name in names:
            if name not in SECTIONS:
                raise ConfigError(f"--only: no section {name!r}{nearest(name, SECTIONS)}")
        sizes = tuple(sorted(round(float(size) * GIGABYTE) for size in options.sizes.split(",")))
        engines = dict(_engine(text) for text in options.engine)
    except (ConfigError, ValueError) as error:
        print(f"scale.py: {error}", file=sys.stderr)
        return 2
    report = Report("scale", options.json, quick=False)
    kept = options.folder
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
    failed = False
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory(prefix="scale-") as folder:
        scale = Scale(report, Path(folder).absolute(), sizes, engines)
        builds = _read(options.builds) if options.builds else []
        for name in names:
            try:
                if name == "build":
                    builds = scale_build.build(scale)
                elif name == "model":
                    _model(report, builds, options)
                else:
                    getattr(scale_build, name)(scale)
            except ConfigError as error:
                print(f"scale.py: {error}", file=sys.stderr)
                return error.exit_code
            except MassivetextError as error:
                failed = True
                print(error, file=sys.stderr)
                reason = str(error).strip().splitlines()[-1]
                report.add(Row(name, name, None, "", note=f"failed: {reason}"))
    print(f"\n{report.table()}\n\nin full: {report.path}")
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default=SIZES, help=f"of the builds, in GB of text ({SIZES})")
    parser.add_argument("--only", metavar="SECTIONS", help=f"some of, by commas: {SECTIONS}")
    parser.add_argument(
        "--json", type=Path, default=Path("scale.json"), help="where results go (scale.json)"
    )
    parser.add_argument(
        "--folder", type=Path, help="where corpora and outputs go; the corpora stay there (TMPDIR)"
    )
    parser.add_argument(
        "--builds", type=Path, help="for `model` alone: the JSON of an earlier run with `build`"
    )
    parser.add_argument(
        "--engine", action="append", default=[], metavar="NAME=FLAGS", help="of one more engine"
    )
    for field in dataclasses.fields(Prices):
        flag = "--" + field.name.replace("_", "-")
        kind = str if field.name == "as_of" else float
        parser.add_argument(flag, type=kind, default=field.default, help=f"({field.default})")
    return parser.parse_args()


def _engine(text: str) -> tuple[str, tuple[str, ...]]:
    name, equals, flags = text.partition("=")
    if not equals or "--runner=" not in flags:
        raise ConfigError(f"--engine {text}: say NAME=--runner=... and its other Beam flags")
    return name, tuple(shlex.split(flags))


def _read(path: Path) -> list[Measured]:
    """Return the builds of an earlier run."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"--builds {path}: {error}") from error
    found = [row["detail"] for row in rows if "quantities" in row["detail"]]
    return [
        Measured(
            Quantities(**detail["quantities"]),
            detail["seconds"],
            detail["peak"],
            {name: StageUse(**use) for name, use in detail["stages"].items()},
        )
        for detail in found
    ]


def _model(report: Report, builds: Sequence[Measured], options: argparse.Namespace) -> None:
    """Fit all builds but the largest, predict that one, then larger ones from all."""
    if not builds:
        raise ConfigError("the model needs builds: --only build,model, or --builds FILE")
    prices = Prices(**{f.name: getattr(options, f.name) for f in dataclasses.fields(Prices)})
    builds = sorted(builds, key=lambda build: build.quantities.text_bytes)
    if len(builds) > 1:
        _check(report, builds, prices)
    model = Model(builds)
    largest = builds[-1].quantities
    report.body["model"] = {
        "prices": dataclasses.asdict(prices),
        "cpu_seconds": {name: dataclasses.asdict(line) for name, line in model.cpu.items()},
        "shuffled": {name: dataclasses.asdict(line) for name, line in model.shuffled.items()},
        "peak_by_documents": dataclasses.asdict(model.peak),
    }
    for name, line in model.cpu.items():
        if line.rate:
            rate, unit = _rate(name, line, largest)
            report.add(Row("model", f"{name}, per core", rate, unit))
    for name, size in FORECASTS.items():
        quantities = massivetext_like(size, largest.tokens / largest.text_bytes)
        _forecast(report, name, model.predict(quantities, prices))
    path = options.json.with_suffix(".svg")
    path.write_text(_plot(builds, model, prices), encoding="utf-8")


def _rate(stage: str, line: Line, size: Quantities) -> tuple[float, str]:
    """Return the rate of a stage in MB of text a second and core, fixed costs left out."""
    return size.text_bytes / 1e6 / (line.rate * size.of(stage)), "MB/s"


def _check(report: Report, builds: Sequence[Measured], prices: Prices) -> None:
    measured = builds[-1]
    predicted = Model(builds[:-1]).predict(measured.quantities, prices)
    size = f"{measured.quantities.text_bytes / 1e9:.3g} GB from smaller ones"
    cpu = sum(use.cpu_seconds for use in measured.stages.values()) / 3600
    shuffled = sum(use.shuffled for use in measured.stages.values())
    for what, told, true in (
        ("CPU time", predicted.core_hours, cpu),
        ("wall time", predicted.seconds, measured.seconds),
        ("peak memory", predicted.peak, measured.peak),
        ("shuffled bytes", predicted.shuffled, shuffled),
    ):
        if true:
            detail = {"predicted": told, "measured": true}
            error = 100 * (told / true - 1)
            report.add(Row("model", f"error at {size}: {what}", error, "%", detail=detail))


def _forecast(report: Report, name: str, forecast: Forecast) -> None:
    detail = dataclasses.asdict(forecast)
    for what, value, unit in (
        ("CPU time", forecast.core_hours, "core-hours"),
        ("of it in the driver alone", forecast.driver_hours, "h"),
        (f"time on {CORES:,} cores", forecast.hours_on(CORES), "h"),
        ("shuffled", forecast.shuffled / 1e9, "GB"),
        ("peak on one machine, 2 workers", forecast.peak / 1e9, "GB"),
        ("cost", forecast.dollars, "USD"),
    ):
        report.add(Row("model", f"{name}: {what}", value, unit, detail=detail))
        detail = {}


def _plot(builds: Sequence[Measured], model: Model, prices: Prices) -> str:
    sizes = [build.quantities.text_bytes for build in builds]
    ends = [sizes[0], max(100 * sizes[-1], 1e12)]
    ratio = builds[-1].quantities.documents / sizes[-1]
    grid = [ends[0] * (ends[1] / ends[0]) ** (step / 60) for step in range(61)]
    told = [model.predict(Quantities(x, x * ratio, x * 0.1), prices) for x in grid]
    return growth_svg(
        [
            Series(
                "time of a build, hours",
                [(x, build.seconds / 3600) for x, build in zip(sizes, builds, strict=True)],
                [(x, forecast.seconds / 3600) for x, forecast in zip(grid, told, strict=True)],
            ),
            Series(
                "peak memory, GB",
                [(x, build.peak / 1e9) for x, build in zip(sizes, builds, strict=True)],
                [(x, forecast.peak / 1e9) for x, forecast in zip(grid, told, strict=True)],
            ),
        ],
        "Bytes of text, on this machine with two workers: measured (dots), model (lines)",
    )


if __name__ == "__main__":
    sys.exit(main())
