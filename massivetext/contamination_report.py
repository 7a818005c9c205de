"""The contamination of test sets by a dataset, measured, written down and told.

contamination/report.json               what was found of each test set, and in which documents
contamination/<set>.clean.jsonl         its items as they were, apart by class: files for
contamination/<set>.contaminated.jsonl  `massivetext evaluate --task`
contamination/<set>.short.jsonl
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .card import align
from .config_file import load
from .contamination import NGRAM, TENTHS, Judged, Passages, documents_manifest, find_ngrams
from .dataset import claimed, sha256_file, write_json
from .errors import ConfigError
from .lineage import documents_identity
from .test_items import stems, write_lines
from .test_sets import named_files

FOLDER = "contamination"
KINDS = ("clean", "contaminated", "short")


def measure(root: Path, test_sets: Sequence[str] = (), *, quiet: bool = False) -> dict[str, Any]:
    """Judge the items of test sets by the training documents in `root`; write what was found.

    What an earlier run has written is replaced. The report is written last, so it is there when all
    of it is.

    Args:
      test_sets: paths and globs of JSONL files; without any, those of the dataset's config.

    Returns:
      the report. Of each test set, by name, `test_sets` has its `path` and `sha256`; `items`, of
      which `clean`, `contaminated` and `short`; `contaminated_share` of those that are not short
      (null when all are); `ngrams`, the distinct 8-grams of each item added up, of which
      `ngrams_found`; `items_by_tenths` [11], items with a share found from 0, 0.1, ... on, and
      exactly 1; `files` of each class, relative to `root`.

    Raises:
      ConfigError: there are no training documents or no test sets, or a pattern names no file.
      InputError: a test set cannot be read, is empty, or has a line that is no item.
      StageError: a file of documents is missing or damaged.
    """
    manifest = documents_manifest(root)
    overlap = load(root / "config.yaml").config.overlap
    files = named_files(test_sets or overlap.test_sets)
    if not files:
        raise ConfigError(
            f"the config of {root} has no overlap.test_sets; give --test-set FILE.jsonl"
        )
    with claimed(root):
        sha256 = {name: sha256_file(Path(path)) for name, path in files.items()}
        passages = Passages(files, overlap.text_field)
        found = find_ngrams(root, manifest, passages.index, quiet=quiet)
        judged = passages.judge(found)
        _remove(root / FOLDER)
        entries = {}
        for name, stem in stems(list(files)).items():
            targets = {kind: f"{FOLDER}/{stem}.{kind}.jsonl" for kind in KINDS}
            paths = {kind: root / target for kind, target in targets.items()}
            write_lines(files[name], sha256[name], _kinds(judged[name]), paths)
            entries[name] = {
                "path": files[name],
                "sha256": sha256[name],
                **_counts(judged[name]),
                "files": targets,
            }
        report = {
            "ngram": NGRAM,
            "threshold": TENTHS / 10,
            "documents": {
                "identity": documents_identity(manifest),
                "documents": sum(each["documents"] for each in manifest["subsets"].values()),
                "text_bytes": sum(each["bytes"] for each in manifest["subsets"].values()),
            },
            "test_sets": entries,
        }
        write_json(root / FOLDER / "report.json", report)
    return report


def _kinds(judged: Judged) -> list[str]:
    columns = [getattr(judged, kind) for kind in KINDS]
    return np.array(KINDS)[np.argmax(columns, axis=0)].tolist()


def _counts(judged: Judged) -> dict[str, Any]:
    counts = {kind: int(np.count_nonzero(getattr(judged, kind))) for kind in KINDS}
    long = counts["clean"] + counts["contaminated"]
    return {
        "items": len(judged.ngrams),
        **counts,
        "contaminated_share": counts["contaminated"] / long if long else None,
        "ngrams": int(judged.ngrams.sum()),
        "ngrams_found": int(judged.found.sum()),
        "items_by_tenths": judged.tenths().tolist(),
    }


def _remove(folder: Path) -> None:
    """Remove what an earlier run has written; the report first, which vouches for the rest."""
    (folder / "report.json").unlink(missing_ok=True)
    for kind in KINDS:
        for path in folder.rglob(f"*.{kind}.jsonl"):
            path.unlink()


def table(report: dict[str, Any]) -> str:
    """Return the report as text for people."""
    rows = [["test set", "items", "short", "clean", "contaminated", "share", "8-grams found"]]
    for name, entry in report["test_sets"].items():
        share = entry["contaminated_share"]
        grams = entry["ngrams"]
        rows.append(
            [
                # A file's name may hold bytes that no terminal can show.
                name.encode(errors="backslashreplace").decode(),
                f"{entry['items']:,}",
                f"{entry['short']:,}",
                f"{entry['clean']:,}",
                f"{entry['contaminated']:,}",
                "-" if share is None else f"{share:.1%}",
                f"{entry['ngrams_found'] / grams:.1%}" if grams else "-",
            ]
        )
    return (
        f"{align(rows)}\n\ncontaminated: at least 70 % of its 8-grams are in the "
        f"{report['documents']['documents']:,} training documents\nshort: without 8 words in a "
        "row, so not judged; the share is of the others"
    )
