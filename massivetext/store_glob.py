"""Globs of addresses: which objects of a store a pattern stands for, as the shell's would.

As for local files, `**` stands for any number of folders, and neither it nor a wildcard matches a
name that begins with a dot.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from typing import NamedTuple

from . import storage


class Match(NamedTuple):
    """An object that a pattern stands for: itself, or by a folder it is in.

    Attributes:
      path: its address.
      bytes: its size.
      inside: its path below the folder that the pattern matches; empty when it matches the object.
    """

    path: str
    bytes: int
    inside: str


def folder_of(pattern: str) -> str:
    """Return the deepest folder that a pattern fixes: the parent of its first wildcard, or
    itself."""
    parts = pattern.rstrip("/").split("/")
    fixed = next((i for i, part in enumerate(parts) if has_magic(part)), len(parts))
    return "/".join(parts[:fixed])


def find(pattern: str) -> list[Match]:
    """Return the objects that `pattern` stands for, sorted, from one listing of its fixed folder.

    Raises:
      ConfigError: the address cannot be understood, or a package is missing.
      OSError: the store cannot be asked; names the address.
    """
    folder = folder_of(pattern)
    place = storage.location(folder)
    if folder == pattern.rstrip("/"):
        try:
            return [Match(folder, storage.size(place), "")]
        except FileNotFoundError:
            return sorted(
                Match(f"{folder}/{name}", size, name) for name, size in storage.sizes(place).items()
            )
    wanted = pattern.rstrip("/").removeprefix(folder + "/").split("/")
    found = []
    for name, size in storage.sizes(place).items():
        parts = name.split("/")
        for depth in range(len(parts), 0, -1):
            if _matches(wanted, parts[:depth]):
                found.append(Match(f"{folder}/{name}", size, "/".join(parts[depth:])))
                break
    return sorted(found)


def _matches(patterns: Sequence[str], names: Sequence[str]) -> bool:
    if not patterns:
        return not names
    hidden = bool(names) and names[0].startswith(".")
    if patterns[0] == "**":
        here = _matches(patterns[1:], names)
        return here or (bool(names) and not hidden and _matches(patterns, names[1:]))
    if not names or not fnmatchcase(names[0], patterns[0]):
        return False
    return (not hidden or patterns[0].startswith(".")) and _matches(patterns[1:], names[1:])
