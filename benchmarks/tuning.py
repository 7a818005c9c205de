"""Measures the tuning of mixtures: how well models fitted to small runs rank mixtures not seen.

python benchmarks/tuning.py [--only regmix] [--quick]
"""

import sys

import tuning_regmix
from command import main

SECTIONS = {"regmix": [tuning_regmix.held_out]}

if __name__ == "__main__":
    sys.exit(main("tuning", __doc__.splitlines()[0], SECTIONS))
