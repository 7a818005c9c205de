"""What an output folder holds: subsets, parts, finished stages, the config, and what is missing.

A request names a subset and a part; both are looked up here and never become a path themselves.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from .. import lineage
from ..config import Config
from ..config_file import load
from ..dropped import DROP_STAGES
from ..errors import ConfigError, InputError, MassivetextError
from . import tables

# The folders below `dropped/` that each stage writes.
DROPS = {"clean": ("clean",), "deduplicate": ("exact", "near")}
DROPS |= {"spans": ("spans",), "overlap": ("overlap",)}
# The stages of every build up to the documents, and what cannot be shown without each.
STAGES = {
    "measure": "some documents may not be there yet",
    "clean": "what the rules drop is not known",
    "deduplicate": "duplicates are not known",
    "overlap": "copies of test documents are not known",
    "documents": "which documents are held out is not known",
}


@dataclass(frozen=True)
class Part:
    """One measured file: the part `name` of a subset; `bytes` is the size of its text."""

    subset: str
    name: str
    path: Path
    rows: int
    bytes: int

    def beside(self, root: Path, *folders: str) -> Path:
        """Return the file of the same subset and part in another folder of the build."""
        return root.joinpath(*folders, self.subset, f"{self.name}.parquet")


@dataclass
class Catalogue:
    """The contents of an output folder, at the moment `signature` stands for.

    Attributes:
      parts: of each subset, in order.
      drops: the folders below `dropped/` whose stages have finished, in order.
      heldout: whether it is known which documents are held out.
      missing: a line for everything that is not there, or cannot be used.
    """

    root: Path
    signature: tuple[Any, ...]
    parts: dict[str, list[Part]] = field(default_factory=dict)
    drops: list[str] = field(default_factory=list)
    heldout: bool = False
    config: Config | None = None
    missing: list[str] = field(default_factory=list)
    manifests: dict[str, Any] = field(default_factory=dict)

    def part(self, subset: str, name: str) -> Part:
        """Return a part.

        Raises:
          ConfigError: there is no such subset or part.
        """
        for part in self.parts.get(subset, ()):
            if part.name == name:
                return part
        raise ConfigError(f"there is no part {name!r} of a subset {subset!r}")

    def chosen(self, subset: str) -> list[Part]:
        """Return the parts of a subset, or of all for an empty name.

        Raises:
          ConfigError: there is no such subset.
        """
        if subset and subset not in self.parts:
            raise ConfigError(f"there is no subset {subset!r}; there are {', '.join(self.parts)}")
        return [
            part for name, parts in self.parts.items() if subset in ("", name) for part in parts
        ]

    def counts(self, subset: str) -> dict[str, Any]:
        """Return how many documents a subset has, and what became of them, as JSON."""
        parts = self.parts[subset]
        dropped = {
            drop: sum(
                file["rows"]
                for stage, folders in DROPS.items()
                if drop in folders
                for file in self.manifests[stage]["files"]
                if file["path"].startswith(f"dropped/{drop}/{subset}/")
            )
            for drop in self.drops
        }
        documents = sum(part.rows for part in parts)
        aside = 0
        if self.heldout:
            aside = self.manifests["documents"]["heldout"].get(subset, {}).get("documents", 0)
        return {
            "documents": documents,
            "bytes": sum(part.bytes for part in parts),
            "kept": documents - aside - sum(dropped.values()),
            "heldout": aside,
            "dropped": dropped,
        }


def signature(root: Path) -> tuple[Any, ...]:
    """Return what changes when a stage of the build finishes, or `measure` writes a part."""
    watched = [root / "config.yaml", *sorted((root / "manifests").glob("*.json"))]
    watched += sorted((root / "measured").glob("*/"))
    found = []
    for path in watched:
        if path.exists():
            stat = path.stat()
            found.append((path, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def read(root: Path) -> Catalogue:
    """Return what is in `root`; what is not there, or unusable, becomes a line of `missing`."""
    found = Catalogue(root, signature(root))
    try:
        found.config = load(root / "config.yaml").config
    except ConfigError as error:
        found.missing.append(f"config.yaml cannot be used, so rules are not known: {error}")
    try:
        manifests = lineage.load(root)
        stale = lineage.stale(manifests)
        measured = manifests.get("measure", {}).get("subsets")
        listed = None if measured is None else _listed(root, measured, found.missing)
    except (MassivetextError, KeyError, TypeError, AttributeError) as error:
        manifests, stale, listed = {}, [], None
        found.missing.append(f"the manifests are not of this version, and left out: {error!r}")
    # Those that are read below are checked here, so that none fails in the middle of a request.
    for stage in list(manifests):
        if stage in stale:
            found.missing.append(f"{stage} was made before an earlier stage changed: left out")
        elif isinstance(manifests[stage].get("files"), list):
            found.manifests[stage] = manifests[stage]
    found.missing += [
        f"{stage} has not finished: {lacks}"
        for stage, lacks in STAGES.items()
        if stage not in manifests
    ]
    finished = {folder for stage in found.manifests for folder in DROPS.get(stage, ())}
    found.drops = [folder for folder in DROP_STAGES if folder in finished]
    found.heldout = "documents" in found.manifests
    found.parts = _present(root, found.missing) if listed is None else listed
    return found


def _listed(root: Path, subsets: dict[str, Any], missing: list[str]) -> dict[str, list[Part]]:
    """Return the parts that the manifest of `measure` lists and that are there."""
    parts: dict[str, list[Part]] = {}
    for subset, entry in sorted(subsets.items()):
        parts[subset] = []
        for part in entry["parts"]:
            name = part["name"].rpartition("/")[2]
            path = root / "measured" / subset / f"{name}.parquet"
            if path.is_file():
                parts[subset].append(Part(subset, name, path, part["rows"], part["bytes"]))
            else:
                missing.append(f"measured/{subset}/{name}.parquet is not there, nor its documents")
    return parts


def _present(root: Path, missing: list[str]) -> dict[str, list[Part]]:
    """Return the parts that lie in `measured/`, whoever has written them."""
    parts: dict[str, list[Part]] = {}
    for path in sorted((root / "measured").glob("*/*.parquet")):
        if path.name.startswith("."):
            continue
        try:
            rows = tables.footer(path).num_rows
            column = tables.read(path, ["text_bytes"])
        except InputError as error:
            missing.append(str(error))
            continue
        size = pc.sum(column["text_bytes"]).as_py() if column.num_columns else 0
        part = Part(path.parent.name, path.stem, path, rows, size or 0)
        parts.setdefault(part.subset, []).append(part)
    return parts
