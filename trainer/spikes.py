"""Loss spikes: found, and where to go back to (PaLM, section 5.1).

PaLM went back to a checkpoint about 100 steps before a spike and left out some 200 to 500 batches,
those before and at the spike among them; the spikes did not come again. Everything here is a
function of the losses and the config, so a run that is killed and continues rewinds as before.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence

from massivetext.config_train import Spikes, Train


class LossWindow:
    """The last `window` losses of accepted steps, and whether a new one is a spike.

    What is not finite is never admitted: one NaN would make the mean NaN, and no comparison with it
    is ever true again.
    """

    def __init__(self, spikes: Spikes, losses: Iterable[float] = ()):
        self.deviations = spikes.deviations
        self.enough = spikes.window // 2
        self.losses = deque(losses, spikes.window)

    def is_spike(self, loss: float) -> bool:
        """Whether `loss` is finite and over the mean by more than `deviations` deviations.

        Never before half of the window is filled.
        """
        count = len(self.losses)
        if count < self.enough or not math.isfinite(loss):
            return False
        mean = math.fsum(self.losses) / count
        variance = math.fsum((x - mean) ** 2 for x in self.losses) / count
        return loss - mean > self.deviations * math.sqrt(variance)

    def admit(self, loss: float) -> None:
        """Add the loss of an accepted step."""
        if math.isfinite(loss):
            self.losses.append(loss)


def checkpoint_due(train: Train, step: int) -> bool:
    """Whether a run saves after `step` updates, whatever happens to it on the way."""
    every = train.evaluate_every
    return step % train.checkpoint_every == 0 or (every > 0 and step % every == 0)


def steps_to_keep(train: Train, steps: Sequence[int]) -> set[int]:
    """Return those of the saved `steps` that a rewind from any later step may need.

    Args:
      steps: in ascending order; the last has just been saved.
    """
    if train.spikes is None or not steps:
        return set()
    # The next spike is after the last checkpoint at the earliest.
    limit = steps[-1] + 1 - train.spikes.rewind
    early = [step for step in steps if step <= limit and checkpoint_due(train, step)]
    return {step for step in steps if step > limit} | set(early[-1:])


def rewind_target(train: Train, spike: int, steps: Sequence[int]) -> int:
    """Return the step to go back to from a spike at step `spike`; 0 is the start of the run.

    The newest checkpoint that is at least `rewind` steps older, of those that every run with this
    config has: one saved on a signal would make an interrupted run differ. When all such are gone,
    as after watching was switched on late, it is the oldest there is.

    Args:
      steps: of the checkpoints that exist.
    """
    assert train.spikes is not None
    limit = spike - max(1, train.spikes.rewind)  # the step that spiked is not saved
    early = [step for step in steps if step <= limit and checkpoint_due(train, step)]
    first = min(train.checkpoint_every, train.evaluate_every or train.checkpoint_every)
    if early or limit < first:
        return max(early, default=0)
    return min(steps, default=0)
