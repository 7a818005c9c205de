"""Histograms with fixed edges, so that those of two runs can be laid side by side."""

from typing import Any

import numpy as np
import pyarrow as pa

from ..rules import SIGNALS

_FRACTION = np.arange(51) / 50
_WORD_LENGTH = np.arange(61) / 4
_OCTAVES = 40


def _geometric(steps: int) -> np.ndarray:
    """Return 0, 1 and then whole edges, `steps` of them to every doubling."""
    powers = np.floor(2.0 ** (np.arange(_OCTAVES * steps + 1) / steps)).astype(np.int64)
    return np.unique(np.concatenate([np.zeros(1, np.int64), powers]))


_COUNT = _geometric(2)
LENGTHS = _geometric(16)


def edges_of(signal: str) -> np.ndarray:
    """Return the lower edges of the bins of a signal; the last bin has no upper edge."""
    if pa.types.is_integer(SIGNALS.field(signal).type):
        return _COUNT
    return _WORD_LENGTH if signal.endswith("word_length") else _FRACTION


def count(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return int64 [len(edges)]: how many of `values` are from each edge up to the next."""
    # Compared as the value is stored, as the rules do: the float32 nearest to 0.66 is 0.66.
    bounds = edges.astype(values.dtype) if values.dtype == np.float32 else edges
    index = np.searchsorted(bounds, values, side="right") - 1
    return np.bincount(np.maximum(index, 0), minlength=len(edges))


def trim(counts: dict[str, np.ndarray], edges: np.ndarray) -> dict[str, Any]:
    """Return JSON of histograms with the same edges, without the empty bins after the last."""
    used = np.flatnonzero(np.sum(list(counts.values()), axis=0))
    stop = int(used[-1]) + 1 if len(used) else 0
    return {"edges": edges[:stop].tolist()} | {k: v[:stop].tolist() for k, v in counts.items()}


def quantile(counts: np.ndarray, edges: np.ndarray, share: float) -> int:
    """Return the lower edge of the bin in which the value of rank `share` lies; 0 of none."""
    total = int(counts.sum())
    if not total:
        return 0
    rank = min(total - 1, int(share * total))
    return int(edges[np.searchsorted(np.cumsum(counts), rank, side="right")])
