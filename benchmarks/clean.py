"""Measures reading, extraction and filtering, beside the tools that others use for the same.

MASSIVETEXT_DATA=/path/to/data python benchmarks/clean.py [--only stage,warc] [--quick]
"""

import argparse
import sys
import tempfile
from pathlib import Path

import clean_growth
import clean_html
import clean_kernels
import clean_stage
from report import Bench, Report, Row

from massivetext.errors import ConfigError, MassivetextError, nearest

SECTIONS = {
    "kernels": [clean_kernels.kernels],
    "language": [clean_kernels.language],
    "stage": [clean_stage.stage],
    "warc": [clean_stage.warc, clean_html.speed],
    "extraction": [clean_html.quality],
    "memory": [clean_stage.memory],
    "accuracy": [clean_kernels.accuracy],
    "growth": [clean_growth.growth],
}
REPETITIONS = 3


def main() -> int:
    """Run the sections asked for; return 0, 1 if one failed, or 2 for wrong usage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", metavar="SECTIONS", help=f"some of, by commas: {','.join(SECTIONS)}"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("clean.json"), help="where results go (clean.json)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small inputs, once: to see that it works"
    )
    options = parser.parse_args()
    try:
        chosen = _chosen(options.only)
        return _run(chosen, options.json, quick=options.quick)
    except ConfigError as error:
        print(f"clean.py: {error}", file=sys.stderr)
        return error.exit_code


def _chosen(only: str | None) -> list[str]:
    names = only.split(",") if only else list(SECTIONS)
    for name in names:
        if name not in SECTIONS:
            raise ConfigError(f"--only: no section {name!r}{nearest(name, SECTIONS)}")
    return names


def _run(sections: list[str], path: Path, *, quick: bool) -> int:
    report = Report("clean", path, quick)
    failed = False
    for name in sections:
        for measure in SECTIONS[name]:
            with tempfile.TemporaryDirectory(prefix="massivetext-benchmark-") as folder:
                bench = Bench(report, Path(folder), quick, 1 if quick else REPETITIONS)
                try:
                    measure(bench)
                except ConfigError:
                    raise
                except MassivetextError as error:
                    failed = True
                    print(error, file=sys.stderr)
                    reason = str(error).strip().splitlines()[-1]
                    report.add(Row(name, measure.__name__, None, "", note=f"failed: {reason}"))
    print(f"\n{report.table()}\n\nin full: {path}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
