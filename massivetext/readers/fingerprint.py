"""The identity of inputs, from a few probes of each file."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

from .. import storage
from ..errors import InputError
from ..storage import location
from ..store_errors import reason
from .split import Split

PROBE_BYTES = 1 << 20
# Files probed at once: three probes of each are in memory.
PROBED_FILES = 16


def fingerprint(splits: list[Split]) -> str:
    """Return the identity of the contents: sha256 of every file's name, size and probes.

    Probes are the first, middle and last MiB. Neither the location nor times count.
    """
    files = sorted(
        {pair for split in splits for pair in zip(split.names, split.paths, strict=True)}
    )
    digest = hashlib.sha256()
    for first in range(0, len(files), PROBED_FILES):
        some = files[first : first + PROBED_FILES]
        for (name, _), (size, probe) in zip(some, _probes([p for _, p in some]), strict=True):
            digest.update(f"{name}\0{size}\0{probe}\n".encode())
    return digest.hexdigest()


def _probes(paths: list[str]) -> list[tuple[int, str]]:
    """Return the size and the sha256 of the probes of each file."""
    places = [location(path) for path in paths]
    try:
        with ThreadPoolExecutor(PROBED_FILES) as pool:
            sizes = list(pool.map(storage.size, places))
        ranges = [
            (place, max(0, offset), min(size, max(0, offset) + PROBE_BYTES))
            for place, size in zip(places, sizes, strict=True)
            for offset in (0, size // 2 - PROBE_BYTES // 2, size - PROBE_BYTES)
        ]
        probes = storage.read_ranges(ranges)
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {reason(error)}") from error
    return [
        (size, hashlib.sha256(b"".join(probes[3 * number : 3 * number + 3])).hexdigest())
        for number, size in enumerate(sizes)
    ]
