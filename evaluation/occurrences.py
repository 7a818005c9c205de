"""How often runs of tokens occur in records, counted in one pass over any number of records."""

from collections.abc import Iterator, Sequence
from threading import Lock

import numba
import numpy as np
import numpy.typing as npt

from massivetext.permutation import mix
from massivetext.progress import Progress
from massivetext.shards import RecordFiles
from massivetext.threads import cores, for_each

# Tokens that a thread reads at a time.
BLOCK_BYTES = 8 << 20
# Filter bits for each run: one place in 16 that starts no run passes it.
FILTER_DENSITY = 16
_BASE = np.uint64(0x9FB21C651E98DF25)

Integers = npt.NDArray[np.int64]
Ranges = Sequence[tuple[int, int]]


def count_occurrences(
    records: RecordFiles,
    ranges: Ranges,
    runs: npt.NDArray[np.integer],
    *,
    threads: int | None = None,
    quiet: bool = False,
) -> Integers:
    """Return how often each run of tokens occurs in some records, int64 [n].

    Exact: a place is compared token by token where its hash is that of a run. What stands in the
    padding of a record, or goes on from one record to the next, does not count. Places of a run may
    overlap. Memory: the runs, and for each thread `BLOCK_BYTES` of tokens.

    Args:
      ranges: of records, [start, stop) each.
      runs: [n, size], not negative; the same run may stand there several times.
      threads: as many as there are cores, unless given.

    Raises:
      InputError: a record is corrupt.
    """
    different, which = np.unique(runs.astype(np.uint32), axis=0, return_inverse=True)
    hashes = _hash_runs(different)
    order = np.argsort(hashes, kind="stable")
    different, hashes = different[order], hashes[order]
    bits = _filter(hashes)
    counts = np.zeros(len(different), np.int64)
    done, adding = 0, Lock()

    def count(block: tuple[int, int]) -> None:
        nonlocal done
        read = records.read(*block)
        here = np.zeros(len(different), np.int64)
        _count(read.tokens, read.targets + 1, different, hashes, bits, here)
        with adding:
            counts[:] += here
            done += len(read.tokens)

    total = sum(stop - start for start, stop in ranges)
    size = max(1, BLOCK_BYTES // (records.record.width * records.record.tokens.itemsize))
    with Progress("training data", total, lambda: done, unit=_records, quiet=quiet):
        for_each(_blocks(ranges, size), count, threads or cores())
    of_run = np.empty(len(order), np.int64)
    of_run[order] = counts
    return of_run[which.reshape(-1)]


def _records(count: float) -> str:
    return f"{count:,.0f} records"


def _blocks(ranges: Ranges, size: int) -> Iterator[tuple[int, int]]:
    for start, stop in ranges:
        for first in range(start, stop, size):
            yield first, min(first + size, stop)


def _filter(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    size = 1 << max(6, (FILTER_DENSITY * len(hashes)).bit_length())
    bits = np.zeros(size, np.bool_)
    bits[hashes & np.uint64(size - 1)] = True
    return bits


@numba.njit(cache=True, nogil=True)
def _hash_runs(runs):  # type: ignore[no-untyped-def]
    hashes = np.empty(len(runs), np.uint64)
    for i in range(len(runs)):
        h = np.uint64(0)
        for token in runs[i]:
            h = h * _BASE + np.uint64(token)
        hashes[i] = mix(h)
    return hashes


@numba.njit(cache=True, nogil=True)
def _count(tokens, sizes, runs, hashes, bits, counts):  # type: ignore[no-untyped-def]
    """Add to `counts` [n] the places of each run in rows of `tokens` [k, W], of which the first
    `sizes` [k] count; `hashes` [n] of the runs are sorted."""
    length = runs.shape[1]
    mask = np.uint64(len(bits) - 1)
    expire = np.uint64(1)
    for _ in range(length):
        expire *= _BASE
    for row in range(len(tokens)):
        h = np.uint64(0)
        for i in range(sizes[row]):
            h = h * _BASE + np.uint64(tokens[row, i])
            first = i - length + 1
            if first > 0:
                h -= np.uint64(tokens[row, first - 1]) * expire
            if first < 0:
                continue
            value = mix(h)
            if not bits[value & mask]:
                continue
            run = np.searchsorted(hashes, value)
            while run < len(hashes) and hashes[run] == value:
                same = True
                for k in range(length):
                    if runs[run, k] != tokens[row, first + k]:
                        same = False
                        break
                if same:
                    counts[run] += 1
                run += 1
