"""DoReMi: weights under which a proxy is not far behind a reference on any subset (2305.10429).

Algorithm 1. A reference is trained on the configured weights. A proxy of the same size then learns
by Group DRO, from batches that hold all subsets alike. With k subsets, per step:

    excess[i]  = mean over the tokens of subset i of max(loss of proxy - loss of reference, 0)
    alpha'     = alpha * exp(eta * excess), scaled to sum to one
    alpha      = (1 - c) * alpha' + c / k
    minimised    sum_i alpha[i] * mean loss of the proxy on subset i

from alpha = 1 / k. The weights found are the mean of alpha over all steps. eta = 1 and c = 1e-3 are
the paper's; its released code has c = 1e-4. As in that code, a subset that is in no sequence of a
batch keeps its last excess; the loss then counts the k / n of the n subsets present, which is the
above in expectation. The optimiser is the config's (the paper's is Adafactor), and there is one
round: the paper repeats with the weights found as the reference's only on GLaM's data.
"""

from pathlib import Path

from massivetext.config import Config
from massivetext.mixture import resolve_weights

from .kept_weights import even_config, found_by, identity, proxy_train
from .proxy_jobs import training_config

STEP_SIZE = 1.0
SMOOTHING = 1e-3
METHOD = {"name": "doremi", "version": 1, "eta": STEP_SIZE, "c": SMOOTHING}


def doremi(
    root: Path,
    config: Config,
    folder: Path,
    *,
    workers: int,
    like_tokens: int | None = None,
    quiet: bool = False,
) -> dict[str, float]:
    """Return DoReMi's weights of the config's subsets, within the real run's epoch caps.

    Writes `folder/trajectory.json`, a list of {step, weights} before any cap, and the logs of both
    runs, the reference's in `folder/reference`. Finished, nothing is done again; stopped, it
    continues.

    Args:
      root: the build, of which the token stores are used.
      workers: threads of the one process that trains.
      like_tokens: training tokens of the real run, as of `MixtureRecords`; those of the config's
        mixture unless given, for the caps alone.

    Raises:
      ConfigError: fewer than two subsets, or weights, budget and tokens that do not fit together.
      InputError: there are no token stores.
      StageError: a run diverged, was stopped, or could not write.
    """
    return found_by(
        "doremi",
        METHOD,
        root,
        config,
        folder,
        runs=("reference", ""),
        workers=workers,
        like_tokens=like_tokens,
        quiet=quiet,
    )


def train_both(
    root: Path, config: Config, folder: Path, like_tokens: int | None
) -> dict[str, float]:
    """Train the reference, then the proxy; return the mean of the proxy's weights, without caps.

    Arguments and errors as of `doremi`.
    """
    from massivetext.mixture_records import MixtureRecords
    from massivetext.trainer.checkpoint import load_params
    from massivetext.trainer.data import fingerprint
    from massivetext.trainer.run import Task
    from massivetext.trainer.train import train

    from .group_dro import GroupDRO
    from .weight_run import find_weights

    weights = resolve_weights(config.mixture, config.subsets)
    configured = training_config(config, weights, proxy_train(config))
    even = even_config(config)
    # Both are opened before either trains: what is wrong with one is said at once.
    records = MixtureRecords(root, configured, like_tokens=like_tokens)
    task = Task.open(root, even, MixtureRecords(root, even, like_tokens=like_tokens))
    train(folder / "reference", configured, records=records, quiet=True)
    reference = load_params(folder / "reference", task.size, fingerprint(records))
    method = GroupDRO(task, reference, step_size=STEP_SIZE, smoothing=SMOOTHING)
    decides = identity(root, config, like_tokens, METHOD)
    return find_weights(folder, task, method, decides)
