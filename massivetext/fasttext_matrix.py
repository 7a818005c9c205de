"""A matrix of a fastText model, dense or product-quantised, and the sum of some of its rows."""

from typing import NamedTuple

import numpy as np
from numba import njit

# A product quantiser has one byte for each part of a vector (Joulin et al. 2016, 'FastText.zip').
CENTROIDS = 256


class Matrix(NamedTuple):
    """A matrix of R rows and D dimensions, dense or quantised; the arrays of the other are empty.

    Row r of a quantised one is, for each of M parts, `centroids[m, codes[r, m]]`, all scaled by
    `norms[norm_codes[r]]` where there are norm codes.
    """

    dense: np.ndarray  # float32 [R, D], or [0, D]
    codes: np.ndarray  # uint8 [R, M], or [0, 1]
    centroids: np.ndarray  # float32 [M, 256, ceil(D / M)], zeros after D; or [1, 256, D]
    norm_codes: np.ndarray  # uint8 [R], or [0]
    norms: np.ndarray  # float32 [256]

    def rows(self) -> int:
        return max(len(self.dense), len(self.codes))


def unpack(matrix: Matrix, dim: int) -> np.ndarray:
    """Return the rows of a quantised matrix: float32 [R, D]."""
    parts = np.arange(matrix.codes.shape[1])
    rows = matrix.centroids[parts, matrix.codes].reshape(len(matrix.codes), -1)[:, :dim]
    if len(matrix.norm_codes):
        rows = rows * matrix.norms[matrix.norm_codes][:, None]
    return np.ascontiguousarray(rows)


@njit(cache=True, nogil=True)
def add_rows(dense, rows, count, total):
    """Add the first `count` of `rows` of a dense matrix to `total` (float64 [D])."""
    dim = len(total)
    d = 0
    # Eight dimensions side by side, kept in registers from row to row.
    while d + 8 <= dim:
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0)
        for k in range(count):
            row = rows[k]
            s0 += dense[row, d]
            s1 += dense[row, d + 1]
            s2 += dense[row, d + 2]
            s3 += dense[row, d + 3]
            s4 += dense[row, d + 4]
            s5 += dense[row, d + 5]
            s6 += dense[row, d + 6]
            s7 += dense[row, d + 7]
        total[d] += s0
        total[d + 1] += s1
        total[d + 2] += s2
        total[d + 3] += s3
        total[d + 4] += s4
        total[d + 5] += s5
        total[d + 6] += s6
        total[d + 7] += s7
        d += 8
    while d < dim:
        s0 = np.float32(0)
        for k in range(count):
            s0 += dense[rows[k], d]
        total[d] += s0
        d += 1


@njit(cache=True, nogil=True)
def add_quantised(matrix, rows, count, total):
    """As `add_rows` for a quantised matrix."""
    codes = matrix.codes
    centroids = matrix.centroids
    norms = matrix.norms
    norm_codes = matrix.norm_codes
    parts, _, size = centroids.shape
    has_norms = len(norm_codes) > 0
    for m in range(parts):
        for d in range(min(size, len(total) - m * size)):
            value = np.float32(0)
            for k in range(count):
                row = rows[k]
                norm = norms[norm_codes[row]] if has_norms else np.float32(1)
                value += norm * centroids[m, codes[row, m], d]
            total[m * size + d] += value
