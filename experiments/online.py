"""Online mixing: weights that a bandit finds while a proxy trains (2312.02406; see `exp3`).

Each sequence is the next in the order of a subset that was drawn by the policy. How often a subset
is repeated is not bounded meanwhile; the weights returned, the mean of the policies that the steps
were drawn with, are within the epoch caps.
"""

from pathlib import Path

from massivetext.config import Config

from .exp3 import REWARD_SCALE
from .kept_weights import even_config, found_by, identity

METHOD = {"name": "online", "version": 1, "reward_scale": REWARD_SCALE}


def online(
    root: Path,
    config: Config,
    folder: Path,
    *,
    workers: int,
    like_tokens: int | None = None,
    quiet: bool = False,
) -> dict[str, float]:
    """Return the weights of the config's subsets that online mixing finds.

    The configured weights play no part. Arguments, files and errors as of `doremi.doremi`, but that
    there is no reference.
    """
    return found_by(
        "online",
        METHOD,
        root,
        config,
        folder,
        runs=("",),
        workers=workers,
        like_tokens=like_tokens,
        quiet=quiet,
    )


def train_online(
    root: Path, config: Config, folder: Path, like_tokens: int | None
) -> dict[str, float]:
    """Train the proxy; return the mean of the policies, without caps.

    Arguments and errors as of `online`.
    """
    from massivetext.mixture_records import MixtureRecords
    from massivetext.trainer.run import Task

    from .bandit import Bandit
    from .weight_run import find_weights

    even = even_config(config)
    records = MixtureRecords(root, even, like_tokens=like_tokens)
    task = Task.open(root, even, records)
    decides = identity(root, config, like_tokens, METHOD)
    return find_weights(folder, task, Bandit(records, config.seed), decides)
