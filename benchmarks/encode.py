"""Measures the tokenizer, beside the tools that others use for the same.

MASSIVETEXT_DATA=/path/to/data python benchmarks/encode.py [--only encode,stage] [--quick]
"""

import sys

import encode_speed
import encode_stage
from command import main

SECTIONS = {
    "encode": [encode_speed.encode],
    "stage": [encode_stage.stage],
    "train": [encode_stage.training],
}

if __name__ == "__main__":
    sys.exit(main("encode", __doc__.splitlines()[0], SECTIONS))
