"""A folder that a program writes as if to a disk, on an object store.

A store can neither append nor rename, and libraries write where they can open files. So the program
writes a folder of this machine, and what is whole in it is copied to the store: single files, or
folders that count only when their last file is there.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .errors import StageError
from .scratch import run_folder
from .storage import Location, is_remote, named, remove, remove_tree, sizes, write_bytes
from .store_errors import reason

if TYPE_CHECKING:
    from upath import UPath

# Written last into a folder, by the name that Orbax gives it, which writes it on a disk as well.
COMMITTED = "commit_success.txt"


class Published:
    """The folder `address`, which is written as `folder`.

    On a disk both are the same, everything counts as soon as it is there, and the methods do
    nothing. On a store, `folder` is empty at first, and gone after `close`. Every method may raise
    StageError, which names the address.
    """

    def __init__(self, address: Location):
        self.address: Location = address
        self.remote = is_remote(address)
        self._open = ExitStack()
        # Size and time of each file as it is on the store, by its path in the folder.
        self._known: dict[str, tuple[int, int]] = {}
        if self.remote:
            # What is in a folder may be told by its name.
            self.folder = self._open.enter_context(run_folder("published")) / address.name
            self.folder.mkdir()
        else:
            self.address = self.folder = cast(Path, address).absolute()

    def close(self) -> None:
        self._open.close()

    def fetch(self, wanted: Callable[[str], bool]) -> None:
        """Copy from the store what is not here yet of the files whose path in the folder is
        `wanted`. A folder that does not count has none."""
        if not self.remote:
            return
        with self._reaching("read"):
            there = sizes(self.address)
            whole = _committed(there)
            new = sorted(
                name
                for name in there.keys() - self._known.keys()
                if wanted(name) and ("/" not in name or name.partition("/")[0] in whole)
            )
            paths = [self.folder / name for name in new]
            for folder in {path.parent for path in paths}:
                folder.mkdir(parents=True, exist_ok=True)
            if new:
                self._store.get(self._names(new), list(map(str, paths)))
        self._known |= {name: _state(path) for name, path in zip(new, paths, strict=True)}

    def publish(self, part: str = "") -> None:
        """Copy to the store what it has not, as it is now, of the folder, or of one folder in it.
        What is still being written, under a temporary name, is left out."""
        if not self.remote:
            return
        found = {
            path.relative_to(self.folder).as_posix(): _state(path)
            for path in (self.folder / part).rglob("*")
            if path.is_file() and ".tmp-" not in path.name
        }
        for committed in _committed(found):
            del found[f"{committed}/{COMMITTED}"]
        new = sorted(name for name, state in found.items() if self._known.get(name) != state)
        with self._reaching("written"):
            if new:
                self._store.put([str(self.folder / name) for name in new], self._names(new))
        self._known |= found

    def commit(self, part: str) -> None:
        """Publish one folder; it counts when all of it is there."""
        if self.remote:
            self.publish(part)
            with self._reaching("written"):
                write_bytes(self.address / part / COMMITTED, b"")

    def keep(self, parts: Iterable[str]) -> None:
        """Remove from the store all folders but `parts`."""
        if not self.remote:
            return
        with self._reaching("written"):
            there = {name.partition("/")[0] for name in sizes(self.address) if "/" in name}
            for part in there - set(parts):
                # First that by which it counts: half of a folder must not.
                remove(self.address / part / COMMITTED)
                remove_tree(self.address / part)
                for name in [name for name in self._known if name.startswith(f"{part}/")]:
                    del self._known[name]

    @property
    def _store(self) -> Any:
        return cast("UPath", self.address).fs

    def _names(self, names: list[str]) -> list[str]:
        return [cast("UPath", self.address / name).path for name in names]

    @contextmanager
    def _reaching(self, how: str) -> Iterator[None]:
        try:
            with named(self.address):
                yield
        except OSError as error:
            raise StageError(f"{self.address} could not be {how} ({reason(error)})") from error


def _committed(names: Iterable[str]) -> set[str]:
    return {part for part, _, rest in (name.partition("/") for name in names) if rest == COMMITTED}


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
