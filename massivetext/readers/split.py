"""What there is to read: inputs expanded to files, files cut and grouped into splits."""

import fnmatch
import glob
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..config import Format, Subset
from ..errors import ConfigError, nearest
from ..storage import is_remote
from .addresses import expand_addresses, path_in_store
from .parquet import row_groups
from .stream import uncompressed_name

GROUP_BYTES = 64_000_000
GROUP_FILES = 10_000
PARQUET_BYTES = 128_000_000
FOOTERS = 16

_WALKED = (Format.FILES, Format.HTML, Format.JSONL)
_JSONL_SUFFIXES = (".jsonl", ".ndjson", ".json")
_HTML_SUFFIXES = (".html", ".htm", ".xhtml")


@dataclass(frozen=True)
class Split:
    """A piece of a subset that one worker reads: files in full, or row groups of a Parquet file.

    Attributes:
      name: relative name of the (first) file; `name@start-stop` for a part of a Parquet file.
      paths: absolute paths of the files, or addresses.
      names: their names below the common folder of the subset's inputs, with `/`.
      bytes: size of what is read, compressed.
      start, stop: row groups of Parquet, else 0 and -1.
    """

    name: str
    paths: tuple[str, ...]
    names: tuple[str, ...]
    bytes: int
    start: int = 0
    stop: int = -1


def is_markup(name: str) -> bool:
    """Return whether `name` is a saved page, a document of its own."""
    return name.lower().endswith(_HTML_SUFFIXES)


def plan(subset: Subset, name: str) -> list[Split]:
    """Expand the inputs of the subset `name` into splits, in a canonical order.

    The result does not depend on the order of the inputs or of the folders' entries.

    Raises:
      ConfigError: an input matches nothing or cannot be read; says which, and what to do.
    """
    if len({entry.partition("://")[0] if is_remote(entry) else "" for entry in subset.input}) > 1:
        raise ConfigError(
            f"subset {name}: the inputs are on different stores; copy them to one, or make "
            "subsets of them"
        )
    if is_remote(subset.input[0]):
        files, sizes = _on_store(subset, name)
    else:
        files, sizes = _on_disk(subset, name)
    if subset.format is Format.PARQUET:
        # The rows are told by the ends of the files: on a store that is mostly waiting.
        with ThreadPoolExecutor(FOOTERS) as pool:
            groups = list(pool.map(row_groups, [path for _, path in files]))
        return [
            split
            for file, found in zip(files, groups, strict=True)
            for split in _cut(*file, sizes[file[1]], found)
        ]
    if subset.format in (Format.FILES, Format.HTML):
        return list(_group(files, sizes, subset.format))
    return [Split(relative, (path,), (relative,), sizes[path]) for relative, path in files]


def _on_disk(subset: Subset, name: str) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Return the input files, sorted, as pairs of name and path, and the bytes of each path."""
    paths: set[str] = set()
    folders: list[str] = []
    for entry in subset.input:
        pattern = os.path.abspath(os.path.expanduser(entry))
        matches, folder = _expand(pattern, subset, f"subset {name}: input {entry!r}")
        paths |= matches
        folders.append(folder)
    root = os.path.commonpath(folders)
    files = sorted((_relative(path, root, name), path) for path in paths)
    return files, {path: _size(path, name) for _, path in files}


def _on_store(subset: Subset, name: str) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """As `_on_disk`, of addresses."""
    sizes: dict[str, int] = {}
    folders: list[str] = []
    for entry in subset.input:
        where = f"subset {name}: input {entry!r}"
        walked = subset.format in _WALKED
        found, folder = expand_addresses(entry, subset, where, lambda p: _taken(p, subset), walked)
        sizes |= found
        folders.append(path_in_store(folder))
    root = os.path.commonpath(folders)
    files = sorted((_relative(path_in_store(path), root, name), path) for path in sizes)
    return files, sizes


def _expand(pattern: str, subset: Subset, where: str) -> tuple[set[str], str]:
    """Return the files that `pattern` stands for, and the folder below which they are."""
    if not glob.has_magic(pattern):
        if not os.path.exists(pattern):
            raise ConfigError(f"{where}: {pattern} does not exist{_hint(pattern)}")
        folder = pattern if os.path.isdir(pattern) else os.path.dirname(pattern)
        matches = [pattern]
    else:
        folder = _fixed_folder(pattern)
        if not os.path.isdir(folder):
            raise ConfigError(f"{where}: folder {folder} does not exist{_hint(folder)}")
        if not os.access(folder, os.R_OK | os.X_OK):
            raise ConfigError(f"{where}: folder {folder} cannot be read; check its permissions")
        matches = glob.glob(pattern, recursive=True)
    files: set[str] = set()
    for match in matches:
        if not os.path.isdir(match):
            files.add(os.path.normpath(match))
        elif subset.format in _WALKED:
            files.update(_walk(match, subset, where))
        elif match == pattern:
            raise ConfigError(
                f"{where} is a folder; for format {subset.format} give a glob of its files, "
                f"such as {match}/**/*.{subset.format}*"
            )
    if not files:
        what = "matches no file" if glob.has_magic(pattern) else "holds no matching file"
        include = "" if subset.include == ("*",) else f" (include: {', '.join(subset.include)})"
        raise ConfigError(f"{where} {what}{include}; {_content(folder)}")
    return files, folder


def _fixed_folder(pattern: str) -> str:
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return str(Path(*parts[:fixed]))


def _hint(path: str) -> str:
    """Name the nearest entry of the deepest folder of `path` that exists."""
    folder, missing = os.path.split(path)
    while folder and not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder, missing = os.path.split(folder)
    try:
        return f" ({missing!r} is not in {folder}){nearest(missing, os.listdir(folder)[:1000])}"
    except OSError:
        return f" ({folder} cannot be listed; check its permissions)"


def _content(folder: str) -> str:
    try:
        entries = sorted(entry for entry in os.listdir(folder) if not entry.startswith("."))
    except OSError:
        return f"{folder} cannot be listed; check its permissions"
    shown = ", ".join(entries[:5]) + (", ..." if len(entries) > 5 else "")
    return f"{folder} holds: {shown}" if entries else f"{folder} is empty"


def _walk(folder: str, subset: Subset, where: str) -> Iterator[str]:
    """Yield the visible files below `folder` that `include` names."""

    def fail(error: OSError) -> None:
        raise ConfigError(f"{where}: cannot list {error.filename}: {error.strerror}") from error

    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [entry for entry in folders if not entry.startswith(".")]
        for file in files:
            path = os.path.join(parent, file)
            if file.startswith(".") or not os.path.isfile(path):
                continue
            if _taken(os.path.relpath(path, folder).replace(os.sep, "/"), subset):
                yield os.path.normpath(path)


def _taken(relative: str, subset: Subset) -> bool:
    """Return whether a file of a folder is visible and one that `include` names."""
    parts = relative.split("/")
    return (
        not any(part.startswith(".") for part in parts)
        and any(
            fnmatch.fnmatchcase(parts[-1], pattern) or fnmatch.fnmatchcase(relative, pattern)
            for pattern in subset.include
        )
        and _fits(parts[-1], subset)
    )


def _fits(file: str, subset: Subset) -> bool:
    """Without `include`, take from a folder only the files that the format names."""
    if subset.format is Format.FILES or subset.include != ("*",):
        return True
    suffixes: tuple[str, ...] = _JSONL_SUFFIXES
    if subset.format is Format.HTML:
        suffixes += _HTML_SUFFIXES
    return uncompressed_name(file).lower().endswith(suffixes)


def _relative(path: str, root: str, subset: str) -> str:
    relative = os.path.relpath(path, root).replace(os.sep, "/")
    try:
        relative.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"subset {subset}: file name {os.fsencode(path)!r} is not UTF-8; rename it"
        ) from None
    return relative


def _size(path: str, subset: str) -> int:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            raise ConfigError(f"subset {subset}: {path} is no regular file; exclude it")
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ConfigError(
            f"subset {subset}: cannot open {path}: {error.strerror}; fix it or exclude it"
        ) from error


def _cut(name: str, path: str, size: int, groups: list[int] | None) -> Iterator[Split]:
    """Cut one Parquet file, given the bytes of its row groups, into runs of about
    `PARQUET_BYTES`."""
    if groups is None:
        yield Split(name, (path,), (name,), size)
        return
    runs: list[tuple[int, int, int]] = []
    start = total = 0
    for index, count in enumerate(groups):
        if index > start and total + count > PARQUET_BYTES:
            runs.append((start, index, total))
            start, total = index, 0
        total += count
    runs.append((start, len(groups), total))
    for start, stop, total in runs:
        label = name if len(runs) == 1 else f"{name}@{start}-{stop}"
        yield Split(label, (path,), (name,), total, start, stop)


def _group(files: list[tuple[str, str]], sizes: dict[str, int], kind: Format) -> Iterator[Split]:
    """Gather files of one document each; a file of many records stays a split of its own."""
    group: list[tuple[str, str]] = []
    total = 0

    def split() -> Split:
        names, paths = zip(*group, strict=True)
        return Split(names[0], paths, names, total)

    for file in files:
        name, path = file
        alone = kind is Format.HTML and not is_markup(name)
        full = total + sizes[path] > GROUP_BYTES or len(group) >= GROUP_FILES
        if group and (alone or full):
            yield split()
            group, total = [], 0
        group.append(file)
        total += sizes[path]
        if alone:
            yield split()
            group, total = [], 0
    if group:
        yield split()
