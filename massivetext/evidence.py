"""Why a document was dropped or kept: looks its id up in what every stage left behind."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from . import rules
from .config_file import load
from .dropped import DROP_STAGES
from .errors import ConfigError
from .overlap_evidence import excerpt, overlap_story, without_cuts


def _find(folder: Path, key: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows whose id (or URL, where there is one) is `key`, streaming."""
    if not folder.is_dir() or not any(folder.rglob("*.parquet")):
        return []
    dataset = ds.dataset(folder, format="parquet", exclude_invalid_files=False)
    condition = pc.field("id") == key
    if "url" in dataset.schema.names:
        condition = condition | (pc.field("url") == key)
    scanner = dataset.scanner(filter=condition, columns=columns, batch_size=1024)
    rows: list[dict[str, Any]] = []
    for batch in scanner.to_batches():
        rows += batch.to_pylist()
    return rows


def explain(root: Path, key: str) -> str:
    """Return the story of the document with id or URL `key` in the dataset at `root`.

    Raises:
      ConfigError: no stage has seen such a document.
    """
    subset = key.partition("/")[0]
    measured = root / "measured" / subset
    found = _find(measured if measured.is_dir() else root / "measured", key)
    dead = _find(root / "dead", key)
    if not found and not dead:
        example = _example_id(root)
        raise ConfigError(
            f"no document {key!r} in {root}"
            + (f"; ids look like {example!r}, and URLs are found too" if example else "")
        )
    if not found:
        letter = dead[0]
        return (
            f"{_inline(letter['id'])}\n  set aside at stage {letter['stage']}: {letter['error']}\n"
            f"  source: {letter['source']}"
        )
    return "\n".join(_story(root, document) for document in found)


def _story(root: Path, document: dict[str, Any]) -> str:
    key = document["id"]
    subset = key.partition("/")[0]
    lines = [_inline(key), f"  source: {document['source']}"]
    if document["url"]:
        lines.append(f"  url: {document['url']}")
    lines.append(f"  text: {document['text_bytes']:,} bytes: {excerpt(document['text'])}")
    dropped = [
        row for stage in DROP_STAGES for row in _find(root / "dropped" / stage / subset, key)
    ]
    for row in dropped:
        lines.append(f"  DROPPED at stage {row['stage']} by rule {row['rule']}{_measured(row)}")
        if row["stage"] == "overlap":
            text = without_cuts(document["text"], _find(root / "spans" / subset, key))
            for found in _find(root / "overlaps" / subset, key):
                lines += overlap_story(root, text, found)
            continue
        if row["stage"] in ("exact", "near"):
            lines += _partner(root, row["partner"], row["detail"])
            continue
        if row["detail"]:
            lines.append(f"    found: {row['detail']!r}")
        if row["partner"]:
            lines += _partner(root, row["partner"])
        if row["stage"] == "clean":
            lines += _other_rules(root, document, subset, row["rule"])
    for row in _find(root / "duplicates" / subset, key):
        survivor = _named(row["survivor"], row["survivor_build"])
        partner = _named(row["partner"], row["partner_build"])
        told = f"  duplicate ({row['kind']}): survivor of its cluster is {survivor}; "
        if row["kind"] == "url":
            told += f"same URL as {partner}"
        else:
            told += f"closest verified partner {partner}, Jaccard {row['jaccard']:.4f}"
        lines.append(told)
    lines += _cuts(document["text"], _find(root / "spans" / subset, key))
    if not dropped:
        for kind, meaning in (
            ("documents", "kept for training"),
            ("heldout", "kept, held out for evaluation"),
        ):
            if _find(root / kind / subset, key, ["id"]):
                lines.append(f"  KEPT: {meaning}, in {kind}/{subset}")
        if len(lines) and not any("KEPT" in line for line in lines):
            lines.append("  passed every stage that has run so far")
    return "\n".join(lines)


def _cuts(text: str, cuts: list[dict[str, Any]]) -> list[str]:
    """Return what span deduplication took out of a document, and where the first copy stays."""
    if not cuts:
        return []
    first = min(cuts, key=lambda cut: cut["start"])
    size = sum(cut["stop"] - cut["start"] for cut in cuts)
    words = text.encode()[first["start"] : first["stop"]].decode("utf-8", "replace")
    return [
        f"  CUT: {len(cuts):,} repeated spans, {size:,} bytes; the first: {excerpt(words)}",
        f"    stays in row {first['survivor_row']} of measured/{first['survivor_part']}.parquet",
    ]


def _inline(key: str) -> str:
    """Return an id as it is, or quoted when it would break the line."""
    return key if key.isprintable() else repr(key)


def _measured(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return ""
    limit = f", threshold {row['threshold']:.6g}" if row["threshold"] is not None else ""
    return f": value {row['value']:.6g}{limit}"


def _named(key: str, build: str | None) -> str:
    """Return an id, with the folder of the earlier build that it is of, if it is."""
    return _inline(key) + (f" of the earlier build {build}" if build else "")


def _partner(root: Path, partner: str, build: str | None = None) -> list[str]:
    lines = [f"    partner: {_named(partner, build)}"]
    root = Path(build) if build else root
    subset = partner.partition("/")[0]
    if (root / "measured" / subset).is_dir():
        for row in _find(root / "measured" / subset, partner, ["text"]):
            lines.append(f"    its text: {excerpt(row['text'])}")
    return lines


def _other_rules(root: Path, document: dict[str, Any], subset: str, first: str) -> list[str]:
    """Return the other rules that the stored signals fail, by the thresholds of the build."""
    config = load(root / "config.yaml").config
    names = rules.SIGNALS.names
    row = pa.RecordBatch.from_pylist([{n: document[n] for n in names}], schema=rules.SIGNALS)
    decision = rules.decide(rules.signal_columns(row), config.rules(subset), config)
    failed = [str(rule) for rule in rules.RULES if decision.failed[0] & rule.bit]
    others = [name for name in failed if name != first]
    return [f"    also fails: {', '.join(others)}"] if others else []


def _example_id(root: Path) -> str | None:
    for path in sorted((root / "measured").rglob("*.parquet")):
        table = ds.dataset(path).head(1, columns=["id"])
        if table.num_rows:
            return str(table.column("id")[0].as_py())
    return None
