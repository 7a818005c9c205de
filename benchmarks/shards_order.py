"""Rows of shards.py: how far the training order strays from each preset's weights."""

import time

import numpy as np
from report import Bench, Row

from massivetext.config import Mixture
from massivetext.mixture import plan, resolve_weights
from massivetext.order import make_order
from massivetext.presets import MIXTURES

LENGTH = 2048
CHUNK = 1 << 16


def prefixes(bench: Bench) -> None:
    """|sequences of a subset so far - its share of them| at every prefix, the worst of them."""
    total = 20_000 if bench.quick else 1_000_000
    for preset in MIXTURES:
        mixture = Mixture(tokens=total * LENGTH, preset=preset, sequence_length=LENGTH)
        names = list(MIXTURES[preset])
        weights = resolve_weights(mixture, names)
        planned = plan(mixture, weights, dict.fromkeys(names, total * LENGTH))
        order = make_order(planned, seed=0)
        begin = time.process_time()
        counts = np.zeros(len(order.used), np.int64)
        worst = 0
        for start in range(0, total, CHUNK):
            stop = min(start + CHUNK, total)
            subset, _ = order.subset_and_index(start, stop, counts)
            so_far = np.arange(start + 1, stop + 1)
            for index, used in enumerate(order.used):
                count = counts[index] + np.cumsum(subset == index)
                # In integers: |count - k * used / total| times total.
                worst = max(worst, int(np.abs(count * total - so_far * used).max()))
                counts[index] = count[-1]
        detail = {
            "sequences": total,
            "subsets": dict(zip(order.names, order.used.tolist(), strict=True)),
            "exactly_below_one": worst < total,
            "seconds": time.process_time() - begin,
        }
        what = f"{preset}, worst prefix of {total:,}"
        # The greatest float below one: the bound itself is not allowed.
        most = float(np.nextafter(1, 0))
        row = Row("prefix", what, worst / total, "sequences", at_most=most, detail=detail)
        bench.report.add(row)
