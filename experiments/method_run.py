"""A method that finds weights in one run, from its job to `weights.json`: what a worker does (JAX).

It is a job like a proxy, in a process of its own: JAX takes hold of a GPU for as long as its
process lives, and the workers that train proxies need it next.
"""

from pathlib import Path
from typing import Any

from massivetext.config_file import parse
from massivetext.dataset import write_json

from .doremi import train_both
from .kept_weights import WEIGHTS
from .online import train_online

FIND = {"doremi": train_both, "online": train_online}


def run_method(job: dict[str, Any]) -> None:
    """Find the weights of `job`, or continue, and write them to its folder with its identity.

    Raises:
      MassivetextError: as `doremi.train_both`.
    """
    folder, config = Path(job["folder"]), parse(job["config"], f"run {job['name']}").config
    weights = FIND[job["kind"]](Path(job["root"]), config, folder, job["like_tokens"])
    write_json(folder / WEIGHTS, {"identity": job["identity"], "weights": weights})
