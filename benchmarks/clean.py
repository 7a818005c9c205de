"""Measures reading, extraction and filtering, beside the tools that others use for the same.

MASSIVETEXT_DATA=/path/to/data python benchmarks/clean.py [--only stage,warc] [--quick]
"""

import sys

import clean_growth
import clean_html
import clean_kernels
import clean_stage
import command

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


if __name__ == "__main__":
    sys.exit(command.main("clean", __doc__.splitlines()[0], SECTIONS))
