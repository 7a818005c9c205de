"""Training over several processes, usually one a host: who is there, and who reads what.

Every process runs the same program on the same config. Arrays span all of them; a process reads
only the sequences that its own devices compute.
"""

import os

import jax
import numpy as np
from jax.sharding import NamedSharding

from massivetext.errors import ConfigError, StageError

COORDINATOR, PROCESSES, PROCESS = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


def initialise(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> None:
    """Join the other processes. Must be called before anything asks JAX for its devices.

    Args:
      coordinator: `host:port` of process 0, which the others must be able to reach.
      processes: how many there are; process: which this one is, from 0.

    What is not given is taken from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID;
    where none of the three is set, from the cluster (Slurm, Open MPI, Kubernetes, Cloud TPU).

    Raises:
      ConfigError: some of the three are known and others are not, or they contradict each other.
      StageError: the others could not be reached.
    """
    coordinator = coordinator or os.environ.get(COORDINATOR)
    count, number = _number(processes, PROCESSES), _number(process, PROCESS)
    given = {COORDINATOR: coordinator, PROCESSES: count, PROCESS: number}
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise ConfigError(
            f"several processes need a coordinator, their number and their own number; "
            f"{', '.join(missing)} is missing: give it as a flag or in the environment"
        )
    if count is not None and number is not None and not 0 <= number < count:
        raise ConfigError(f"process {number} of {count}: processes are numbered from 0")
    try:
        jax.distributed.initialize(coordinator, count, number)
    except ValueError as error:
        raise ConfigError(
            f"no cluster was recognised ({_first_line(error)}): set {COORDINATOR}, {PROCESSES} and "
            f"{PROCESS}"
        ) from error
    except RuntimeError as error:
        raise StageError(
            f"the processes could not be joined ({_first_line(error)}): check that all {count} "
            f"were started and that {coordinator} can be reached from each"
        ) from error


def _number(given: int | None, name: str) -> int | None:
    text = os.environ.get(name)
    if given is not None or text is None:
        return given
    if not text.isdecimal():
        raise ConfigError(f"{name} is {text!r}; it must be a number")
    return int(text)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def local_rows(sharding: NamedSharding, sequences: int) -> np.ndarray:
    """Return which of the `sequences` of a micro batch this process reads, in ascending order.

    Args:
      sharding: of a batch [M, b, T] (`sharding.batch_sharding`); `sequences` is b.
    """
    wanted = np.zeros(sequences, dtype=bool)
    for index in sharding.addressable_devices_indices_map((1, sequences, 1)).values():
        assert index is not None
        wanted[index[1]] = True
    return np.flatnonzero(wanted)


def global_batch(local: np.ndarray, sharding: NamedSharding, sequences: int) -> jax.Array:
    """Return the batch [M, b, T] of which every process holds its own sequences.

    Args:
      local: [M, r, T], the `local_rows` of each of the M micro batches.
      sequences: b, those of all processes together.

    Raises:
      ValueError: `local` does not have as many sequences as `local_rows`.
    """
    rows = local_rows(sharding, sequences)
    if local.shape[1] != len(rows):
        raise ValueError(f"{local.shape[1]} sequences of a micro batch; {len(rows)} are local")
    if len(rows) == sequences:
        return jax.device_put(local, sharding)

    def part(index: tuple[slice, ...] | None) -> np.ndarray:
        assert index is not None
        first, last, _ = index[1].indices(sequences)
        start = int(np.searchsorted(rows, first))
        return local[index[0], start : start + last - first, index[2]]

    shape = (local.shape[0], sequences, local.shape[2])
    return jax.make_array_from_callback(shape, sharding, part)
