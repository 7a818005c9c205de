"""Re-checks a finished dataset from its own files: nothing is taken on trust.

Every check raises `VerifyError` that names the file; `verify` yields a line for each that held.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from . import lineage
from .config import Config
from .config_file import load
from .dataset import sha256_file, sha256_json
from .document import text_buffers
from .dropped import DROP_STAGES
from .errors import VerifyError


def verify(root: Path) -> Iterator[str]:
    """Check manifests, checksums, accounting, held-out documents, overlap and shards.

    Raises:
      VerifyError: an output is not what its manifest says, or breaks a promise.
    """
    manifests = lineage.load(root)
    if not manifests:
        raise VerifyError(f"{root}/manifests is empty: no stage has finished")
    for stage, manifest in manifests.items():
        yield _files(root, stage, manifest)
    yield _chain(manifests)
    if "documents" in manifests:
        yield _accounting(root, manifests)
        if "spans" in manifests:
            yield _cut(root, manifests)
        yield _held_out(root, manifests["documents"])
        config = load(root / "config.yaml").config
        yield _no_overlap(root, manifests["documents"], config)
    if "shards" in manifests:
        from .verify_shards import verify as verify_shards

        yield from verify_shards(root / "shards", tokens=manifests["tokens"])


def _files(root: Path, stage: str, manifest: dict[str, Any]) -> str:
    total = 0
    for file in manifest["files"]:
        path = root / file["path"]
        if not path.is_file():
            raise VerifyError(f"stage {stage}: {path} is missing; build again to make it")
        size = path.stat().st_size
        if size != file["bytes"]:
            raise VerifyError(f"stage {stage}: {path} has {size} bytes, not {file['bytes']}")
        if sha256_file(path) != file["sha256"]:
            raise VerifyError(
                f"stage {stage}: {path} has changed since it was written (sha256 differs); "
                "delete it and build again"
            )
        total += size
    return f"{stage}: {len(manifest['files'])} files, {total:,} bytes, sha256 as written"


def _chain(manifests: dict[str, dict[str, Any]]) -> str:
    for stage, manifest in manifests.items():
        key = sha256_json({"stage": stage, **manifest["depends"]})
        if key != manifest["key"]:
            raise VerifyError(
                f"manifests/{stage}.json was edited: its key does not fit its contents"
            )
    old = lineage.stale(manifests)
    if old:
        raise VerifyError(
            f"the stages {', '.join(old)} were made before an earlier stage changed; build again"
        )
    return "manifests: every stage was made from the outputs that are there"


def _accounting(root: Path, manifests: dict[str, dict[str, Any]]) -> str:
    """Every document read is either dropped with a record, held out, or in the training set."""
    total = 0
    for name, subset in manifests["measure"]["subsets"].items():
        read = sum(part["rows"] for part in subset["parts"])
        dropped = 0
        for part in subset["parts"]:
            rows = [
                pq.read_table(path, columns=["row"]).column("row").to_numpy()
                for stage in DROP_STAGES
                if (path := root / "dropped" / stage / f"{part['name']}.parquet").exists()
            ]
            lost = np.concatenate(rows) if rows else np.zeros(0, np.int64)
            if len(np.unique(lost)) != len(lost):
                raise VerifyError(f"{part['name']}: a document was dropped by two stages")
            dropped += len(lost)
        left = sum(
            manifests["documents"][kind][name]["documents"] for kind in ("subsets", "heldout")
        )
        if read != dropped + left:
            raise VerifyError(
                f"{name}: {read} documents read, but {dropped} dropped and {left} left"
            )
        total += read
    return f"accounting: all {total:,} documents are kept or have a record of why not"


def _cut(root: Path, manifests: dict[str, dict[str, Any]]) -> str:
    """What is left of the documents is, to the byte, their text without what was cut out of it."""
    total = 0
    for subset in manifests["measure"]["subsets"].values():
        for part in subset["parts"]:
            name = f"{part['name']}.parquet"
            sizes = pq.read_table(root / part["path"], columns=["text_bytes"])
            left = sizes.column("text_bytes").to_numpy().copy()
            if (root / "spans" / name).exists():
                columns = ["row", "start", "stop"]
                for batch in pq.ParquetFile(root / "spans" / name).iter_batches(columns=columns):
                    row, start, stop = (column.to_numpy() for column in batch.columns)
                    np.add.at(left, row, start - stop)
                    total += int((stop - start).sum())
            for stage in DROP_STAGES:
                if (path := root / "dropped" / stage / name).exists():
                    left[pq.read_table(path, columns=["row"]).column("row").to_numpy()] = 0
            written = 0
            for kind in ("documents", "heldout"):
                for batch in pq.ParquetFile(root / kind / name).iter_batches(columns=["text"]):
                    written += pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0
            if written != left.sum():
                raise VerifyError(
                    f"{part['name']}: documents and held-out documents have {written:,} bytes of "
                    f"text, but {left.sum():,} are left after what spans/{name} cuts out"
                )
    return f"spans: the documents are what is left after {total:,} bytes were cut out"


def _ids(root: Path, entry: dict[str, Any]) -> Iterator[Any]:
    for part in entry["parts"]:
        yield from pq.ParquetFile(root / part["path"]).iter_batches(columns=["id"])


def _held_out(root: Path, documents: dict[str, Any]) -> str:
    count = 0
    for name, entry in documents["heldout"].items():
        held = {i for batch in _ids(root, entry) for i in batch.column("id").to_pylist()}
        for batch in _ids(root, documents["subsets"][name]):
            both = held.intersection(batch.column("id").to_pylist())
            if both:
                raise VerifyError(f"{name}: {min(both)} is held out and in the training documents")
        count += len(held)
    return f"held out: {count:,} documents, none of them in the training documents"


def _no_overlap(root: Path, documents: dict[str, Any], config: Config) -> str:
    if not config.overlap.test_sets:
        return "overlap: no test sets in the config, nothing to compare"
    from . import overlap

    index = overlap.load_index(config.overlap)
    compared = 0
    for kind in ("subsets", "heldout"):
        for entry in documents[kind].values():
            for part in entry["parts"]:
                for batch in pq.ParquetFile(root / part["path"]).iter_batches(
                    batch_size=1024, columns=["id", "text"]
                ):
                    matches = overlap.best_matches(*text_buffers(batch.column("text")), index)
                    bad = np.flatnonzero(matches.jaccard > config.overlap.jaccard)
                    if len(bad):
                        key = batch.column("id")[int(bad[0])].as_py()
                        raise VerifyError(
                            f"{part['path']}: {key} overlaps a test document with Jaccard "
                            f"{matches.jaccard[bad[0]]:.4f}, above {config.overlap.jaccard}"
                        )
                    compared += batch.num_rows
    return (
        f"overlap: none of {compared:,} documents is above Jaccard {config.overlap.jaccard} "
        f"with any of {index.size:,} test documents"
    )
