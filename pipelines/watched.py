"""How far a stage is, for a person watching: read off the files that its parts leave."""

from collections.abc import Sequence

from massivetext import storage
from massivetext.dataset import parse_json
from massivetext.storage import Location

from .part import Part


def result_name(part: Part) -> str:
    """Return the name of the file that says what a part gave."""
    return f"{part.stem}.json"


def progress_name(part: Part) -> str:
    """Return the name of the file that says how far a part is, while it runs."""
    return f"{part.stem}.progress"


class Watched:
    """The parts of a stage, with their files in `results`.

    Attributes:
      documents: those behind the stage when `bytes` was last asked. Where a part does not tell how
        many it has (the stage reads input), that is known of parts that are done or on this disk.
    """

    def __init__(self, results: Location, parts: Sequence[Part]):
        self.results, self.parts = results, parts
        self.documents = 0
        self._finished: dict[str, int] = {}

    def bytes(self) -> int:
        """Return how many of the stage's bytes are behind it."""
        names = set(storage.sizes(self.results))
        total = documents = 0
        for part in self.parts:
            rows = part.arguments.get("rows")
            if (name := result_name(part)) in names:
                total += part.bytes
                documents += self._of_finished(name) if rows is None else rows
            elif progress_name(part) in names:
                done, found = self._of_running(part)
                total += done
                documents += found if rows is None else rows * done // max(1, part.bytes)
        self.documents = documents
        return total

    def note(self) -> str:
        """Return what to say beside the bytes."""
        return f"  {self.documents:,} documents" if self.documents else ""

    def _of_finished(self, name: str) -> int:
        if storage.is_remote(self.results):
            return 0  # not worth a request for each
        if name not in self._finished:
            path = self.results / name
            counts = parse_json(storage.read_bytes(path), path)["counts"]
            self._finished[name] = counts.get("documents", 0)
        return self._finished[name]

    def _of_running(self, part: Part) -> tuple[int, int]:
        try:
            done, documents = (self.results / progress_name(part)).read_text().split()
            return int(done), int(documents)
        except (OSError, ValueError):
            return 0, 0  # it was done in this moment, or is being written
