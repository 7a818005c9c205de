"""Experiments' part of the config: many small trainings, to choose weights, sizes and stages.

Each class checks its own values, as in `config`.
"""

from dataclasses import dataclass, field

from .config_rules import known, positive
from .config_train import Override, Train

METHODS = ("regression", "doremi", "online")


@dataclass(frozen=True)
class Tune:
    """Search for sampling weights with proxies, and its confirmation.

    `train` is the training of one proxy, the config's own unless given; `runs` are those of the
    regression. `objective` weighs bits per byte of held-out subsets and of `targets` (files of text
    by name), all alike unless given. `seeds` are trained of each mixture that is confirmed.
    """

    method: str = "regression"
    runs: int = 32
    seeds: int = 3
    objective: dict[str, float] | None = None
    targets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    train: Train | None = None

    def __post_init__(self) -> None:
        known("method", self.method, METHODS)
        positive(self, "runs")
        if self.seeds < 2:
            raise ValueError(f"seeds is {self.seeds}; an interval needs at least 2")
        if self.objective is not None and not any(v > 0 for v in self.objective.values()):
            raise ValueError("objective gives nothing a positive weight")


@dataclass(frozen=True)
class Scaling:
    """A ladder of sizes to train: at each of `budgets` (FLOPs, as 6ND), or for each of `horizons`
    (tokens).

    `sizes` change the dimensions of `train.model`; `train` is the config's own unless given, with
    the steps that budget or horizon ask for.
    """

    sizes: tuple[Override, ...] = ()
    budgets: tuple[float, ...] = ()
    horizons: tuple[int, ...] = ()
    train: Train | None = None

    def __post_init__(self) -> None:
        if self.budgets and self.horizons:
            raise ValueError("give budgets (FLOPs) or horizons (tokens), not both")
        for name in ("budgets", "horizons"):
            if any(value <= 0 for value in getattr(self, name)):
                raise ValueError(f"{name} must all be above 0")


@dataclass(frozen=True)
class Ablate:
    """The same small model trained on what each stage of the pipeline leaves (Gopher, A.3.2).

    `train` is the config's own unless given; `seeds` are trained of each.
    """

    seeds: int = 3
    train: Train | None = None

    def __post_init__(self) -> None:
        positive(self, "seeds")
