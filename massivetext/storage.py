"""Where files are: folders of this machine, or object stores, by one set of functions.

A `Location` is an ordinary `pathlib.Path`, or for `s3://`, `gs://` and `hdfs://` a `UPath`, which
has the same methods. Driver, workers, trainer and command line reach a store through fsspec, each
with the credentials that the store's own library finds.

A store has no folders, renames or locks: a name exists when something lies below it, an object
appears whole or not at all, and listings are asked for anew each time, because other processes
write at the same moment.
"""

import contextlib
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Union, cast

from . import store_files
from .errors import ConfigError, nearest
from .scratch import run_folder
from .store_errors import naming
from .store_files import StoreReader, on_hdfs

if TYPE_CHECKING:
    from upath import UPath

Location = Union[Path, "UPath"]

# Each scheme with the package that it needs and the extra that brings it.
_SCHEMES = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gs"), "hdfs": ("pyarrow", "hdfs")}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

# A request costs a store about as long as it takes to send a few MB, so no less is asked for.
BLOCK_BYTES = 4 << 20
_COPY_BYTES = 8 << 20


def location(text: str | os.PathLike[str] | Location) -> Location:
    """Return where `text` points: a `UPath` for `s3://`, `gs://`, `hdfs://`, else a `Path`.

    Raises:
      ConfigError: the scheme is unknown, the address names no bucket, or the scheme's package is
        missing.
    """
    if isinstance(text, Path):
        return text
    name = str(text)
    found = _SCHEME.match(name)
    if found is None:
        return Path(name)
    scheme = found[1]
    if scheme not in _SCHEMES:
        raise ConfigError(f"{name}: there is no store {scheme!r}{nearest(scheme, _SCHEMES)}")
    if not name[found.end() :].strip("/"):
        raise ConfigError(f"{name} names no bucket; write {scheme}://BUCKET/FOLDER")
    package, extra = _SCHEMES[scheme]
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"{name} needs the package {package}; run: pip install 'massivetext[{extra}]'"
        )
    from upath import UPath

    # Other processes write at the same moment, so no listing may be remembered.
    return UPath(name.rstrip("/"), use_listings_cache=False)


def is_remote(path: str | os.PathLike[str] | Location) -> bool:
    """Return whether `path` is on an object store."""
    if isinstance(path, str):
        return _SCHEME.match(path) is not None
    return not isinstance(path, Path)


def _store(path: Location) -> tuple[Any, str]:
    """Return the fsspec filesystem of a remote path and the path's name in it."""
    remote = cast("UPath", path)
    return remote.fs, remote.path


def named(path: Location) -> AbstractContextManager[None]:
    """Make every error of an object store an `OSError` that names the address."""
    return naming(str(path)) if is_remote(path) else nullcontext()


def open_binary(path: Location, block: int = BLOCK_BYTES) -> BinaryIO:
    """Open a file for reading, seekable.

    Args:
      block: of an object, bytes that one request asks for; eight of them stay in memory.

    Raises:
      OSError: it cannot be opened; reading may raise it as well. Names the path.
    """
    if not is_remote(path):
        return open(cast(Path, path), "rb")
    fs, name = _store(path)
    return cast(BinaryIO, StoreReader(fs, name, str(path), block))


def local_folder(text: str) -> Path:
    """Return the folder of this machine that `text` names, for commands that read nothing else.

    Raises:
      ConfigError: it is an address.
    """
    if is_remote(text):
        raise ConfigError(
            f"{text} is on an object store, and this command reads folders of this machine: copy "
            "it here (for S3: aws s3 sync ADDRESS FOLDER) and name the copy"
        )
    return Path(text)


@contextmanager
def local_copy(path: Location) -> Iterator[Path]:
    """Give a local file with the contents of `path`, for what must be mapped into memory or is read
    by a library: itself when local, else a temporary copy. A mapping of it outlives the block.

    Raises:
      OSError: it cannot be read, or the disk for temporary files is full.
    """
    if not is_remote(path):
        yield cast(Path, path)
        return
    with run_folder("copy") as folder:
        # Its own name: some libraries go by it, and messages should.
        copy = folder / path.name
        with open_binary(path, _COPY_BYTES) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, _COPY_BYTES)
        yield copy


def upload(path: Location) -> AbstractContextManager[BinaryIO]:
    """Write an object, which appears when the block ends without an error, and otherwise never.

    Raises:
      OSError: it cannot be written; names the address.
    """
    fs, name = _store(path)
    return store_files.upload(fs, name, str(path))


def create(path: Location, data: bytes) -> bool:
    """Write an object unless there is one of that name; return whether it was written."""
    fs, name = _store(path)
    with named(path):
        if on_hdfs(fs):
            if fs.exists(name):
                return False
            fs.pipe_file(name, data)
            return True
        try:
            fs.pipe_file(name, data, mode="create")
        except FileExistsError:
            return False
        return True


def make_folder(path: Location) -> None:
    """Make a local folder and those above it; a store needs none (and would make a bucket)."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)


def size(path: Location) -> int:
    """Return the bytes of a file.

    Raises:
      OSError: there is no such file, or it cannot be asked for; names the path.
    """
    if not is_remote(path):
        return path.stat().st_size
    with named(path):
        fs, name = _store(path)
        found = fs.info(name)
        if found["type"] != "file":
            raise FileNotFoundError(name)
        return int(found["size"])


def sizes(folder: Location) -> dict[str, int]:
    """Return the bytes of every file below `folder`, by its path relative to it with `/`, in one
    listing; empty when there is no such folder."""
    if not is_remote(folder):
        return dict(_walk(cast(Path, folder), ""))
    with named(folder):
        fs, name = _store(folder)
        prefix = name.rstrip("/") + "/"
        found = fs.find(prefix, detail=True)
        return {
            entry["name"].removeprefix(prefix): int(entry["size"])
            for entry in found.values()
            # Some tools leave empty objects whose names end with / to stand for folders.
            if entry["type"] == "file" and entry["name"].startswith(prefix)
            if not entry["name"].endswith("/")
        }


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    # Files and folders may vanish while they are listed.
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
                continue
            with contextlib.suppress(FileNotFoundError):
                yield prefix + entry.name, entry.stat().st_size


def identity(path: Location) -> str:
    """Return what changes when an object is written anew (its ETag, where the store has one)."""
    with named(path):
        fs, name = _store(path)
        return str(fs.ukey(name))


def read_bytes(path: Location) -> bytes:
    """Return the contents of a file.

    Raises:
      OSError: it cannot be read; names the path.
    """
    if not is_remote(path):
        return path.read_bytes()
    with named(path):
        fs, name = _store(path)
        return bytes(fs.cat_file(name))


def write_bytes(path: Location, data: bytes) -> None:
    """Write a small object, whether there is one of that name or not."""
    with named(path):
        fs, name = _store(path)
        fs.pipe_file(name, data)


def remove(path: Location) -> None:
    """Remove a file, if it is there."""
    with named(path), contextlib.suppress(FileNotFoundError):
        if is_remote(path):
            fs, name = _store(path)
            fs.rm_file(name)
        else:
            path.unlink()


def modified(path: Location) -> float:
    """Return when a file was last written, in seconds since 1970, by the clock of its store."""
    if not is_remote(path):
        return path.stat().st_mtime
    with named(path):
        fs, name = _store(path)
        return float(fs.modified(name).timestamp())


def exists(path: Location) -> bool:
    """Return whether there is a file, or a folder with something in it; raises as `size`."""
    with named(path):
        return bool(path.exists())


def read_all(paths: Sequence[Location]) -> list[bytes]:
    """Return the contents of many small files of one store, asked for at the same time."""
    if not paths or not is_remote(paths[0]):
        return [path.read_bytes() for path in paths]
    with named(paths[0].parent):
        fs = _store(paths[0])[0]
        names = [_store(path)[1] for path in paths]
        found = fs.cat(names)
        return [found[name] for name in names] if isinstance(found, dict) else [found]


def read_ranges(path_ranges: Sequence[tuple[Location, int, int]]) -> list[bytes]:
    """Return bytes `start` to `stop` of each file, asked for at the same time on a store."""
    if not path_ranges or not is_remote(path_ranges[0][0]):
        found = []
        for path, start, stop in path_ranges:
            with open_binary(path) as file:
                file.seek(start)
                found.append(file.read(stop - start))
        return found
    paths, starts, stops = zip(*path_ranges, strict=True)
    with named(paths[0].parent):
        fs = _store(paths[0])[0]
        names = [_store(path)[1] for path in paths]
        pieces = fs.cat_ranges(names, list(starts), list(stops), on_error="raise")
        return [bytes(data) for data in pieces]


def remove_tree(path: Location) -> None:
    """Remove a folder and all below it, if it is there."""
    if not is_remote(path):
        shutil.rmtree(str(path), ignore_errors=True)
        return
    with named(path), contextlib.suppress(FileNotFoundError):
        fs, name = _store(path)
        fs.rm(name, recursive=True)
