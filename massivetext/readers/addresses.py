"""Inputs on object stores: globs expanded by listing, under the rules that hold for local files."""

from collections.abc import Callable

from .. import store_glob
from ..config import Subset
from ..errors import ConfigError
from ..store_errors import reason


def expand_addresses(
    pattern: str, subset: Subset, where: str, takes: Callable[[str], bool], walked: bool
) -> tuple[dict[str, int], str]:
    """Return the objects that `pattern` stands for with their bytes, and the folder below which
    they are, both as paths of the store: `/BUCKET/...`.

    Args:
      takes: whether a file of a folder, by its path relative to it, is one to read.
      walked: whether the format takes folders at all.

    Raises:
      ConfigError: nothing is there, or the store cannot be asked; says which, and what to do.
    """
    pattern = pattern.rstrip("/")
    folder = store_glob.folder_of(pattern)
    try:
        matches = store_glob.find(pattern)
    except OSError as error:
        raise ConfigError(f"{where}: cannot list {folder}: {reason(error)}") from error
    if not matches and folder == pattern:
        raise ConfigError(f"{where}: there is nothing at {pattern}; correct the address")
    if folder == pattern and matches[0].inside and not walked:
        raise ConfigError(
            f"{where} is a folder; for format {subset.format} give a glob of its files, such as "
            f"{pattern}/**/*.{subset.format}*"
        )
    if folder == pattern and not matches[0].inside:
        folder = folder.rpartition("/")[0]
    found = {
        match.path: match.bytes
        for match in matches
        if not match.inside or (walked and takes(match.inside))
    }
    if not found:
        include = "" if subset.include == ("*",) else f" (include: {', '.join(subset.include)})"
        raise ConfigError(f"{where} matches no file{include}; it was looked for below {folder}")
    return found, folder


def path_in_store(address: str) -> str:
    """Return `/BUCKET/NAME` of an address."""
    return "/" + address.partition("://")[2]
