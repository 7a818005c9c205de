"""The size of each batch, as a function of the sequences trained before it (Gopher, section 3.1).

Gopher and PaLM grow the batch in steps, GPT-3 linearly (its Appendix B). The ramp depends on
sequences and not on updates or time, so a run that continues finds its place by one number.
"""

from bisect import bisect_right
from collections.abc import Iterator

from massivetext.config_train import Train


def micro_batch_size(train: Train) -> int:
    """Return the sequences computed at a time; every batch is a multiple of it."""
    return train.micro_batch_size or train.batch_size


def batch_size(train: Train, sequences: int) -> int:
    """Return the size of the batch that starts once `sequences` have been trained.

    A linear ramp is rounded down to a multiple of `micro_batch_size`.
    """
    if train.batch_ramp is None:
        return train.batch_size
    points = train.batch_ramp.points
    reached = bisect_right(points, sequences, key=lambda point: point.sequences)
    low = points[reached - 1]
    if train.batch_ramp.form == "steps" or reached == len(points):
        return low.batch_size
    high = points[reached]
    part = (high.batch_size - low.batch_size) * (sequences - low.sequences)
    size = low.batch_size + part // (high.sequences - low.sequences)
    return size - size % micro_batch_size(train)


def sequences_of(train: Train, steps: int | None = None) -> int:
    """Return the sequences that the first `steps` updates take; all of a run when not given."""
    left = train.steps if steps is None else steps
    total = 0
    for size, count in _runs(train):
        taken = min(left, count)
        total, left = total + taken * size, left - taken
        if not left:
            break
    return total


def steps_within(train: Train, sequences: int) -> int:
    """Return how many updates, of any number, `sequences` are enough for."""
    steps = 0
    for size, count in _runs(train):
        taken = min(sequences // size, count)
        steps, sequences = steps + taken, sequences - taken * size
        if taken < count:
            break
    return steps


def _runs(train: Train) -> Iterator[tuple[int, int]]:
    """Yield (size, how many batches at least have it) from the first batch on, without end."""
    points = train.batch_ramp.points if train.batch_ramp is not None else ()
    stepwise = train.batch_ramp is None or train.batch_ramp.form == "steps"
    sequences = 0
    for point in points[1:]:
        while sequences < point.sequences:
            size = batch_size(train, sequences)
            # Batches start below the point: the one that crosses it still has the size before.
            count = -(-(point.sequences - sequences) // size) if stepwise else 1
            yield size, count
            sequences += count * size
    while True:
        yield train.batch_size, 1 << 62
