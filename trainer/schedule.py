"""The learning rate of every update, computed on the host: exact, and no part of a compiled step.

Gopher, Chinchilla and GPT-3 warm up and follow a cosine (Gopher, section 3.1); PaLM holds its rate
and then lets it fall with the square root of the steps (PaLM, section 5).
"""

import math

from massivetext.config import Train
from massivetext.errors import ConfigError
from massivetext.presets import MODELS

WARMUP_START = 1e-7
FINAL_FRACTION = 0.1


def peak_rate(train: Train) -> float:
    """Return the highest rate of the run: `train.learning_rate`, or that of the preset.

    Raises:
      ConfigError: the preset's is for another kind of optimiser. Adafactor's rates, PaLM's alone
        here, are shares of a parameter's size, and some fifty times those of Adam.
    """
    if train.learning_rate is not None:
        return train.learning_rate
    shape = MODELS[train.model]
    if (shape.family == "palm") != (train.optimizer == "adafactor"):
        raise ConfigError(
            f"the learning rate of {train.model}, {shape.learning_rate:g}, is not one for "
            f"{train.optimizer}: set train.learning_rate"
        )
    return shape.learning_rate


def warmup_steps(train: Train) -> int:
    """Return the steps of warm-up of the cosine: as configured, but at most a tenth of the run.

    Published runs have a million steps and keep their 1,500; a demo of 200 warms up for 20.
    """
    return min(train.warmup_steps, train.steps // 10)


def learning_rate(train: Train, step: int) -> float:
    """Return the rate of the update number `step`, counted from 0.

    `cosine`: linear from 1e-7 to the peak over the warm-up, then a cosine to a tenth of it at the
    last step. `inverse_square_root`: the peak for `warmup_steps` steps W, then peak · sqrt(W / k)
    at step k; it knows nothing of the run's length, so that a run can be made longer. PaLM's 1e-2
    for 10,000 steps and 1/sqrt(k) after is this at a peak of 1e-2 and W = 10,000.
    """
    peak = peak_rate(train)
    if train.schedule == "inverse_square_root":
        hold = max(1, train.warmup_steps)
        return peak * math.sqrt(hold / max(hold, step))
    warmup = warmup_steps(train)
    if step < warmup:
        return WARMUP_START + (peak - WARMUP_START) * step / warmup
    progress = (step - warmup) / max(1, train.steps - 1 - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return peak * (FINAL_FRACTION + (1 - FINAL_FRACTION) * cosine)
