"""Measures the tuning of mixtures: how well small runs rank mixtures, and how many fit an hour.

python benchmarks/tuning.py [--only regmix,proxies] [--quick]
"""

import sys

import tuning_proxies
import tuning_regmix
from command import main

SECTIONS = {"regmix": [tuning_regmix.held_out], "proxies": [tuning_proxies.throughput]}

if __name__ == "__main__":
    sys.exit(main("tuning", __doc__.splitlines()[0], SECTIONS))
