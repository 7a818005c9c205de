"""The benchmarks are scripts, not a package: what they share is imported from their folders."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path += [str(BENCHMARKS), str(BENCHMARKS / "contenders")]
