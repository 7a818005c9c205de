"""The command line that the benchmarks share: `--only`, `--json`, `--quick`, sections in order."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from report import Bench, Report, Row

from massivetext.errors import ConfigError, MassivetextError, nearest

REPETITIONS = 3

Sections = Mapping[str, Sequence[Callable[[Bench], None]]]


def main(
    benchmark: str, about: str, sections: Sections, on_demand: Sections = MappingProxyType({})
) -> int:
    """Run the sections asked for; return 0, 1 if one failed, or 2 for wrong usage.

    Args:
      benchmark: its name; `about`: what `--help` says.
      sections: what measures each, by its name.
      on_demand: sections that run only when they are asked for by name.
    """
    known = {**sections, **on_demand}
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--only", metavar="SECTIONS", help=f"some of, by commas: {','.join(known)}")
    path = Path(f"{benchmark}.json")
    parser.add_argument("--json", type=Path, default=path, help=f"where results go ({path})")
    parser.add_argument(
        "--quick", action="store_true", help="small inputs, once: to see that it works"
    )
    options = parser.parse_args()
    try:
        names = options.only.split(",") if options.only else list(sections)
        for name in names:
            if name not in known:
                raise ConfigError(f"--only: no section {name!r}{nearest(name, known)}")
        chosen = {name: known[name] for name in names}
        return _run(Report(benchmark, options.json, options.quick), chosen)
    except ConfigError as error:
        print(f"{benchmark}.py: {error}", file=sys.stderr)
        return error.exit_code


def _run(report: Report, sections: Sections) -> int:
    quick = bool(report.body["quick"])
    failed = False
    for name, measures in sections.items():
        for measure in measures:
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
    print(f"\n{report.table()}\n\nin full: {report.path}")
    return int(failed)
