"""Earlier builds that a new one is deduplicated against: what they kept, and whether it fits."""

from dataclasses import dataclass
from typing import Any

from massivetext import lineage
from massivetext.config import Config, Deduplicate
from massivetext.errors import ConfigError
from massivetext.storage import Location, exists, is_remote, location

from . import sketch
from .part import Part
from .stage import missing

NEEDED = ("sketch", "deduplicate", "shingles")


@dataclass(frozen=True)
class Earlier:
    """An earlier build.

    Attributes:
      folder: as the config names it.
      key: identity of its documents, sketches and shingles.
      parts: of its measured files; `arguments` hold `subset`, `rows` and `build`, the folder.
      documents: how many are left of it.
    """

    folder: str
    key: str
    parts: tuple[Part, ...]
    documents: int


def load(config: Config) -> list[Earlier]:
    """Return the earlier builds that the config names, in an order that does not depend on its.

    Raises:
      ConfigError: a folder is no build, is this one, or is named twice; it has kept no shingles, is
        not whole, or was made with other parameters.
    """
    rule = config.deduplicate
    seen = {_place(config.output): "the output of this build"}
    found = []
    for folder in rule.against:
        place = _place(folder)
        if place in seen:
            raise ConfigError(f"{folder} is {seen[place]}; take it out")
        seen[place] = "named twice"
        found.append(_load(folder, place, rule))
    return sorted(found, key=lambda build: (build.key, build.folder))


def _place(folder: str) -> Location:
    place = location(folder)
    return place if is_remote(place) else place.resolve()


def _load(folder: str, root: Location, rule: Deduplicate) -> Earlier:
    if not exists(root):
        raise ConfigError(f"there is no folder {folder}; name the output of an earlier build")
    manifests = lineage.load(root)
    if "deduplicate" not in manifests:
        raise ConfigError(
            f"{folder} is no build whose deduplication has finished; run `massivetext deduplicate "
            "CONFIG` with its config first"
        )
    keep = (
        f"set `deduplicate.keep_shingles: true` in the config of {folder} (a copy is "
        f"{location(folder) / 'config.yaml'}) and run `massivetext deduplicate CONFIG` with it"
    )
    if "shingles" not in manifests:
        raise ConfigError(f"{folder} has kept no shingles, which near duplicates need; {keep}")
    if set(lineage.stale(manifests)) & set(NEEDED):
        raise ConfigError(f"{folder} was built only in part since something changed; {keep}")
    _fits(folder, manifests["sketch"]["depends"], rule)
    for stage in NEEDED:
        if changed := missing(root, manifests[stage]["files"]):
            path = root / changed
            raise ConfigError(f"{path} is missing, or not as it was written; {keep}")
    kept = manifests["shingles"]
    parts = tuple(
        Part(part["name"], 0, {"subset": part["subset"], "rows": part["rows"], "build": folder})
        for part in kept["parts"]
    )
    return Earlier(folder, kept["key"], parts, kept["counts"].get("documents", 0))


def _fits(folder: str, made: dict[str, Any], rule: Deduplicate) -> None:
    names = ("ngram", "bands", "rows")
    theirs, ours = made["sketch"][:3], [getattr(rule, name) for name in names]
    for name, their, our in zip(names, theirs, ours, strict=True):
        if their != our:
            raise ConfigError(
                f"the sketches of {folder} have {name} {their}, and deduplicate.{name} is {our}; "
                "only equal ones can be compared"
            )
    if rule.by_url and "url" not in made["sketch"]:
        raise ConfigError(
            f"deduplicate.by_url is set, and the sketches of {folder} have no hashes of URLs; "
            "build it with by_url as well"
        )
    if made["version"] != sketch.VERSION:
        raise ConfigError(
            f"the sketches of {folder} are of another version of massivetext; build it again"
        )
