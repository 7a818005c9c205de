"""Which stage was made from which: manifests by name, and those that newer ones have overtaken.

A build up to an early stage, with another threshold, leaves the later stages as they were: whole,
but of other documents. They are stale until the build goes on.
"""

from collections.abc import Iterable
from typing import Any

from .dataset import read_json, sha256_json
from .errors import ConfigError, nearest
from .storage import Location, exists

Manifest = dict[str, Any]

# In the order of the build: what each depends on directly, and the key under which it says so.
UPSTREAM: dict[str, tuple[str, tuple[str, ...]]] = {
    "measure": ("", ()),
    "clean": ("measured", ("measure",)),
    "sketch": ("upstream", ("measure", "clean")),
    "deduplicate": ("sketch", ("sketch",)),
    "shingles": ("deduplicate", ("deduplicate",)),
    "spans": ("upstream", ("measure", "clean", "deduplicate")),
    "overlap": ("upstream", ("measure", "clean", "deduplicate")),
    "documents": ("upstream", ("measure", "clean", "deduplicate", "overlap")),
    "tokenizer": ("", ("documents",)),
    "tokens": ("documents", ("documents",)),
    "shards": ("tokens", ("tokens",)),
}


def documents_identity(manifest: Manifest) -> str:
    """Return the identity of the documents: their files' bytes and which subset each belongs to."""
    return sha256_json([manifest["subsets"], manifest["heldout"], manifest["files"]])


def tokens_identity(manifest: Manifest) -> str:
    """Return the identity of the token stores: what they hold, not how they came about."""
    return sha256_json({k: v for k, v in manifest.items() if k not in ("key", "depends")})


def load(root: Location) -> dict[str, Manifest]:
    """Return the manifests of the finished stages, in the order of the build."""
    return {
        stage: read_json(path)
        for stage in UPSTREAM
        if exists(path := root / "manifests" / f"{stage}.json")
    }


def stale(manifests: dict[str, Manifest]) -> list[str]:
    """Return the stages that were made from other outputs than the ones that are there now."""
    found: list[str] = []
    for stage, manifest in manifests.items():
        key, upstream = UPSTREAM[stage][0], _upstream(stage, manifests)
        if any(name in found or name not in manifests for name in upstream) or (
            key and manifest["depends"][key] != _expected(stage, upstream, manifests)
        ):
            found.append(stage)
    return found


def fresh_tokens(root: Location, subsets: Iterable[str]) -> Manifest | None:
    """Return the manifest of the token stores; None when there are none yet.

    Raises:
      ConfigError: they are stale, or have no tokens of one of `subsets`.
    """
    manifests = load(root)
    if "tokens" not in manifests:
        return None
    if "tokens" in stale(manifests):
        raise ConfigError(
            f"the token stores in {root} were made before an earlier stage changed; run "
            "massivetext tokenize again"
        )
    stores = manifests["tokens"]["subsets"]
    for name in subsets:
        if name not in stores:
            raise ConfigError(
                f"there are no tokens of the subset {name!r} in {root}{nearest(name, stores)}; run "
                "massivetext tokenize again"
            )
    return manifests["tokens"]


def _upstream(stage: str, manifests: dict[str, Manifest]) -> tuple[str, ...]:
    """Return the stages that `stage` depends on: `spans`, where it is, stands for `deduplicate`."""
    names = UPSTREAM[stage][1]
    if stage not in ("spans", "shingles") and "spans" in manifests:
        return tuple("spans" if name == "deduplicate" else name for name in names)
    return names


def _expected(stage: str, upstream: tuple[str, ...], manifests: dict[str, Manifest]) -> Any:
    if stage == "tokens":
        return documents_identity(manifests["documents"])
    if stage == "shards":
        return tokens_identity(manifests["tokens"])
    digests = [sha256_json(manifests[name]) for name in upstream]
    return digests if UPSTREAM[stage][0] == "upstream" else digests[0]
