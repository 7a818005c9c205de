"""Measures deduplication and test-set overlap, beside the tools that others use for the same.

MASSIVETEXT_DATA=/path/to/data python benchmarks/dedup.py [--only recall,kernels] [--quick]
"""

import sys

import dedup_kernels
import dedup_recall
import dedup_scale
from command import main

SECTIONS = {
    "kernels": [dedup_kernels.kernels],
    "unionfind": [dedup_kernels.unionfind],
    "overlap": [dedup_kernels.overlap],
    "boilerplate": [dedup_recall.boilerplate],
    "recall": [dedup_recall.recall],
    "scale": [dedup_scale.scale],
}

if __name__ == "__main__":
    sys.exit(main("dedup", __doc__.splitlines()[0], SECTIONS))
