"""GPT-3's way to keep some documents that a quality classifier would drop (Brown et al. 2020, A).

A document of score s is kept when a draw from the Pareto distribution (Lomax's form, as
`numpy.random.pareto` has it) exceeds 1 - s. Here the draw is a seeded hash of the document's id, so
the same documents stay in every run.
"""

import numpy as np
import pyarrow as pa

from .document import text_buffers
from .hashing import hash_rows

# Apart from the other seeded hashes of ids: held-out documents, survivors of duplicates.
_SALT = 0x70617265746F


def draws(ids: pa.Array, seed: int) -> np.ndarray:
    """Return a uniform draw in [0, 1) for each of n ids: float64, with 53 random bits."""
    data, offsets = text_buffers(ids)
    hashes = hash_rows(data, offsets, seed ^ _SALT)
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def limits(uniform: np.ndarray, alpha: float) -> np.ndarray:
    """Return the score below which each document is dropped; float64, at most 1.

    Args:
      uniform: as from `draws`.
      alpha: the distribution's shape; GPT-3 took 9. Of documents that score s, the share
        (2 - s) ** -alpha is kept.
    """
    return 2.0 - (1.0 - uniform) ** (-1.0 / alpha)
