"""The training order: which subset, and which of its sequences, stands at each position.

Subset s is used n_s times out of N. Its use number j may not stand before position
floor(j * N / n_s) and must stand before ceil((j + 1) * N / n_s): with those windows every prefix
of k sequences holds more than k * n_s / N - 1 and fewer than k * n_s / N + 1 of subset s. Taking,
among the subsets whose window is open, the one whose window closes first meets every window (they
are the Pfair windows of Baruah et al. 1996; their ends are integers and a fractional schedule
exists, so earliest deadline first finds one). Windows that close together are ordered by a hash
keyed by the seed, so that subsets of equal weight do not stand in lockstep.

Stages follow one another, each such an order of its own counts; what stands at a position is the
next use of its subset, whatever the stage, so epochs and permutations run on across stages.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from .mixture import MAX_SEQUENCES
from .mixture_plan import MixturePlan
from .permutation import epoch_order, mix, round_keys

CHECKPOINT = 65_536


class Positions(NamedTuple):
    """Consecutive positions of the order. All [k]: subset index, sequence and epoch within it."""

    subset: npt.NDArray[np.uint16]
    sequence: npt.NDArray[np.int64]
    epoch: npt.NDArray[np.int64]


class Order:
    """The order of a whole training run; any part of it is computed on its own.

    Args:
      used: sequences drawn per subset, of the whole order or of each of its stages. Subset indices
        are the positions in the (first) mapping.
      available: sequences there are per subset.
      seed: keys both the ties between subsets and the permutations within them.

    Attributes:
      names: of the subsets, by index.
      used, available: as above, over all stages; int64 [subsets].
      stages: sequences drawn per stage and subset, int64 [stages, subsets].
      before: how often each subset stands before each stage, int64 [stages, subsets].
      starts: where each stage begins, and the length of the order; int64 [stages + 1].
    """

    def __init__(
        self,
        used: Mapping[str, int] | Sequence[Mapping[str, int]],
        available: Mapping[str, int],
        seed: int,
    ):
        stages = [used] if isinstance(used, Mapping) else used
        self.names = tuple(stages[0])
        counts = [[stage[name] for name in self.names] for stage in stages]
        self.stages = np.array(counts, np.int64)
        self.used = self.stages.sum(axis=0)
        self.before = np.cumsum(self.stages, axis=0) - self.stages
        self.starts = np.concatenate([[0], np.cumsum(self.stages.sum(axis=1))])
        self.available = np.array([available[name] for name in self.names], np.int64)
        self.seed = seed
        self._length = int(self.starts[-1])
        if self._length > MAX_SEQUENCES or len(self.names) > 2**16:
            raise ValueError("too many sequences or subsets for one order")
        self._key = round_keys(seed, "", 0)[0]
        # Counts per subset at every multiple of CHECKPOINT reached so far.
        self._checkpoints = [np.zeros(len(self.names), np.int64)]

    def __len__(self) -> int:
        return self._length

    def counts(self, position: int) -> npt.NDArray[np.int64]:
        """Return how often each subset stands before `position`, int64 [subsets]."""
        if not 0 <= position <= self._length:
            raise IndexError(f"position {position} is outside the order of {self._length}")
        base = position // CHECKPOINT
        while len(self._checkpoints) <= base:
            counts = self._checkpoints[-1].copy()
            start = (len(self._checkpoints) - 1) * CHECKPOINT
            self._advance(start, start + CHECKPOINT, counts)
            self._checkpoints.append(counts)
        counts = self._checkpoints[base].copy()
        self._advance(base * CHECKPOINT, position, counts)
        return counts

    def subset_and_index(
        self, start: int, stop: int, counts: npt.NDArray[np.int64] | None = None
    ) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
        """Return the subset index and the number of its use, [stop - start] each, from 0.

        `counts` are those at `start`, when the caller knows them: then nothing before `start` is
        computed. Otherwise what lies before is computed once and remembered every `CHECKPOINT`
        positions.
        """
        if not 0 <= start <= stop <= self._length:
            raise IndexError(f"[{start}, {stop}) is outside the order of {self._length}")
        known = self.counts(start) if counts is None else np.array(counts, np.int64)
        return self._advance(start, stop, known)

    def within_stages(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (stage, start, stop) of the parts of [start, stop) in each stage."""
        for stage in range(len(self.stages)):
            first = max(start, int(self.starts[stage]))
            last = min(stop, int(self.starts[stage + 1]))
            if first < last:
                yield stage, first, last

    def _advance(
        self, start: int, stop: int, counts: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
        """Return subset and use of [start, stop), and move `counts` from `start` to `stop`."""
        subset = np.empty(stop - start, np.uint16)
        use = np.empty(stop - start, np.int64)
        for stage, first, last in self.within_stages(start, stop):
            here = slice(first - start, last - start)
            counts -= self.before[stage]
            subset[here], use[here] = _walk(
                first, last - first, int(self.starts[stage]), self.stages[stage], self._key, counts
            )
            counts += self.before[stage]
            use[here] += self.before[stage][subset[here]]
        return subset, use

    def positions(
        self, start: int, stop: int, counts: npt.NDArray[np.int64] | None = None
    ) -> Positions:
        """Return subset, sequence and epoch of the positions [start, stop); see above."""
        subset, ordinal = self.subset_and_index(start, stop, counts)
        sequence = np.empty(stop - start, np.int64)
        epoch = np.empty(stop - start, np.int64)
        for index, name in enumerate(self.names):
            chosen = np.flatnonzero(subset == index)
            if len(chosen):
                sequence[chosen], epoch[chosen] = epoch_order(
                    ordinal[chosen], int(self.available[index]), self.seed, name
                )
        return Positions(subset, sequence, epoch)


def make_order(planned: MixturePlan, seed: int) -> Order:
    """Return the training order of a plan."""
    available = {subset.name: subset.sequences for subset in planned.subsets}
    return Order([stage.used for stage in planned.stages], available, seed)


@numba.njit(cache=True, nogil=True)
def _walk(start, length, origin, used, key, counts):  # type: ignore[no-untyped-def]
    """Continue from `start` the stage that begins at `origin`; moves its `counts` on.

    In the stage, subset s stands counts[s] times before `start` and used[s] times in all.
    """
    total = used.sum()
    subsets = len(used)
    release = np.empty(subsets, np.int64)
    deadline = np.empty(subsets, np.int64)
    for s in range(subsets):
        release[s], deadline[s] = _window(counts[s], used[s], total)
    chosen = np.empty(length, np.uint16)
    ordinal = np.empty(length, np.int64)
    for i in range(length):
        position = start - origin + i
        best = -1
        for s in range(subsets):
            if release[s] > position:
                continue
            if best < 0 or deadline[s] < deadline[best]:
                best = s
            elif deadline[s] == deadline[best]:
                best = _first(key, start + i, s, best)
        chosen[i] = best
        ordinal[i] = counts[best]
        counts[best] += 1
        release[best], deadline[best] = _window(counts[best], used[best], total)
    return chosen, ordinal


@numba.njit(cache=True, nogil=True)
def _window(j, n, total):  # type: ignore[no-untyped-def]
    if j >= n:
        return total, total + 1  # used up: never released
    return j * total // n, ((j + 1) * total + n - 1) // n


@numba.njit(cache=True, nogil=True)
def _first(key, position, a, b):  # type: ignore[no-untyped-def]
    base = key + (np.uint64(position) << np.uint64(16))
    return a if mix(base + np.uint64(a)) < mix(base + np.uint64(b)) else b
