"""Measures the tuning of mixtures: how well small runs rank mixtures, and how many fit an hour.

python benchmarks/tuning.py [--only regmix,proxies,variants] [--quick]
"""

import sys

import tuning_proxies
import tuning_regmix
from command import main

SECTIONS = {"regmix": [tuning_regmix.held_out], "proxies": [tuning_proxies.throughput]}
# Takes a while, and only tells what does not help.
ON_DEMAND = {"variants": [tuning_proxies.variants]}

if __name__ == "__main__":
    sys.exit(main("tuning", __doc__.splitlines()[0], SECTIONS, ON_DEMAND))
