"""Measures the shards: writing them from token stores, reading them, starting anywhere, the order.

python benchmarks/shards.py [--only write,read,jump,prefix] [--quick]
"""

import sys

import shards_order
import shards_read
import shards_write
from command import main

SECTIONS = {
    "write": [shards_write.write],
    "read": [shards_read.read],
    "jump": [shards_read.jump],
    "prefix": [shards_order.prefixes],
}

if __name__ == "__main__":
    sys.exit(main("shards", __doc__.splitlines()[0], SECTIONS))
