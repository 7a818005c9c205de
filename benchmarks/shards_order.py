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
        worst = off = 0
        for start in range(0, total, CHUNK):
            stop = min(start + CHUNK, total)
            subset, _ = order.subset_and_index(start, stop, counts)
            so_far = np.arange(start + 1, stop + 1)
            for index, used in enumerate(order.used):
                count = counts[index] + np.cumsum(subset == index)
                # In integers: |count - k * used / total| times total.
                gaps = np.abs(count * total - so_far * used)
                worst = max(worst, int(gaps.max()))
                off += int((gaps >= total).sum())
                counts[index] = count[-1]
        detail = {
            "sequences": total,
            "subsets": dict(zip(order.names, order.used.tolist(), strict=True)),
            "worst_in_sequences": worst / total,
            "seconds": time.process_time() - begin,
        }
        what = f"{preset}, prefixes of {total:,} a sequence or more off"
        note = f"(worst: {worst / total:.6f} of one)"
        bench.report.add(Row("prefix", what, off, "", at_most=0, note=note, detail=detail))
