"""The questions that the page asks, by path: parameters in, JSON out.

All that a request says is looked up in tables of what there is; none of it becomes a path.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from .. import __version__
from ..errors import ConfigError, nearest
from . import catalogue, training
from .catalogue import Catalogue, Part
from .differences import operations
from .documents import Filter, Listing
from .evidence import Documents, metadata
from .states import States
from .whatif import WhatIf, rules_of

MOST_DOCUMENTS = 200
# Examples have their excerpts for so long, then without.
EXAMPLE_SECONDS = 0.1
_FILTERS = ("subset", "state", "stage", "rule", "signal", "query")


class Api:
    """Answers for one output folder; reads it anew when a stage of its build has finished.

    The training runs of the folders `others` are shown beside its own.

    One request is answered at a time: each takes a fraction of a second, and so memory is that of
    one, however many are asked.
    """

    def __init__(self, root: Path, others: Sequence[Path] = ()):
        self.root = root
        self.runs = training.runs([root, *others])
        self._lock = threading.Lock()
        self._load()
        self.routes: dict[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
            "/api/summary": self._summary,
            "/api/documents": self._documents,
            "/api/document": self._document,
            "/api/compare": self._compare,
            "/api/thresholds": self._thresholds,
            "/api/run": self._run,
        }

    def _load(self) -> None:
        self.catalogue: Catalogue = catalogue.read(self.root)
        states = States(self.catalogue)
        self.listing = Listing(self.catalogue, states)
        self.documents = Documents(self.catalogue, states)
        self.whatif = WhatIf(self.catalogue)

    def answer(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Return the answer to a question.

        Raises:
          KeyError: there is no such question.
          ConfigError: a parameter is unknown or wrong.
          InputError: a file of the folder cannot be read.
        """
        route = self.routes[path]
        with self._lock:
            if catalogue.signature(self.root) != self.catalogue.signature:
                self._load()
            return route(parameters)

    def missing(self) -> list[str]:
        """Return a line for everything that the page cannot show."""
        built = self.catalogue.parts or (self.root / "manifests").is_dir()
        if not built and (self.root / "train").is_dir():
            return [f"{self.root.resolve().name} is no build: only training is shown"]
        problems = self.whatif.problems.items()
        return self.catalogue.missing + [f"rules of {n}: {why}" for n, why in problems]

    def _summary(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        _only(parameters)
        return {
            "name": self.root.resolve().name,
            "version": __version__,
            "missing": self.missing(),
            "runs": list(self.runs),
            "subsets": {name: self.catalogue.counts(name) for name in self.catalogue.parts},
            "stages": self.catalogue.drops,
            "rules": rules_of(self.catalogue),
            "signals": self.whatif.histograms,
            "sampled": self.whatif.sampled,
        }

    def _documents(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        _only(parameters, *_FILTERS, "min", "max", "cursor", "limit")
        chosen = {name: parameters[name] for name in _FILTERS if parameters.get(name)}
        wanted = Filter(
            **chosen,
            least=_number(parameters, "min", -math.inf),
            most=_number(parameters, "max", math.inf),
        )
        limit = min(max(1, _whole(parameters, "limit", 50)), MOST_DOCUMENTS)
        return self.listing.page(wanted, parameters.get("cursor", ""), limit)

    def _document(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        _only(parameters, "subset", "part", "row", "from")
        place = [parameters.get(name, "") for name in ("subset", "part", "row")]
        found = self.documents.document(*self._place(*place), _whole(parameters, "from", 0))
        return found | {"metadata": metadata(found["metadata"])}

    def _compare(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        _only(parameters, "a", "b")
        sides = []
        for name in ("a", "b"):
            place = parameters.get(name, "").rsplit(":", 2)
            if len(place) != 3:
                raise ConfigError(f"{name} must be SUBSET:PART:ROW")
            sides.append(self.documents.text(*self._place(*place)))
        left, right = (side["text"].split() for side in sides)
        return {"left": sides[0], "right": sides[1], "operations": operations(left, right)}

    def _place(self, subset: str, part: str, row: str) -> tuple[Part, int]:
        found = self.catalogue.part(subset, part)
        number = _whole({"row": row}, "row", -1)
        if not 0 <= number < found.rows:
            raise ConfigError(
                f"part {part} of {subset} has rows 0 to {found.rows - 1}, not {row!r}"
            )
        return found, number

    def _thresholds(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        changed = {name: _number(parameters, name, math.nan) for name in parameters}
        found = self.whatif.answer(changed)
        deadline = monotonic() + EXAMPLE_SECONDS
        for entry in (entry for entries in found["examples"].values() for entry in entries):
            part = self.catalogue.part(entry["subset"], entry["part"])
            entry |= self.listing.brief(part, entry["row"], monotonic() < deadline)
        return found

    def _run(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        _only(parameters, "run", "from")
        name = parameters.get("run") or next(iter(self.runs))
        if name not in self.runs:
            raise ConfigError(f"there is no run {name[:40]!r}{nearest(name[:40], self.runs)}")
        return training.run(self.runs[name], _whole(parameters, "from", 0))


def _only(parameters: Mapping[str, str], *known: str) -> None:
    for name in parameters:
        if name not in known:
            raise ConfigError(f"unknown parameter {name[:40]!r}{nearest(name[:40], known)}")


def _number(parameters: Mapping[str, str], name: str, default: float) -> float:
    text = parameters.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(f"{name[:40]} is {text[:40]!r}; it must be a number") from error
    if math.isnan(value):
        raise ConfigError(f"{name[:40]} is not a number")
    return value


def _whole(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name, "")
    if not text:
        return default
    # Python reads other digits too, and refuses thousands of them with an error of its own.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ConfigError(f"{name[:40]} is {text[:40]!r}; it must be a whole number")
    return int(text)
