"""The benchmarks are scripts, not a package: what they share is imported from their folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
