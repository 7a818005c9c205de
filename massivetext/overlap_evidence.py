"""What a dropped document shares with a test document, shown beside it."""

from pathlib import Path
from typing import Any

from .config_file import load
from .errors import MassivetextError
from .test_sets import find_item

EXCERPT = 300


def excerpt(text: str) -> str:
    """Return the start of `text` on one line, quoted, with what cannot be printed escaped."""
    start = " ".join(text[: 2 * EXCERPT].split())
    cut = len(start) > EXCERPT or len(text) > 2 * EXCERPT
    return repr(start[:EXCERPT]) + ("…" if cut else "")


def without_cuts(text: str, cuts: list[dict[str, Any]]) -> str:
    """Return what the overlap stage saw of a measured text: without the rows of `spans/`."""
    data = text.encode()
    for cut in sorted(cuts, key=lambda row: row["start"], reverse=True):
        data = data[: cut["start"]] + data[cut["stop"] :]
    return data.decode()


def overlap_story(root: Path, text: str, row: dict[str, Any]) -> list[str]:
    """Return what a row of `overlaps/` says of the document with `text`, and both passages.

    The test item is read again from the test sets that the dataset's config names; where that is
    impossible the lines say why.
    """
    if row["kind"] == "title":
        return [f"    its title is in overlap.wikipedia_titles: {row['test_id']!r}"]
    item = f"test item {row['test_id']!r} of {row['test_set']!r}"
    if row["kind"] == "test_set":
        lines = [f"    like {item}, Jaccard {row['jaccard']:.4f}"]
    else:
        lines = [f"    holds {item}, containment {row['containment']:.4f}"]
    if row["items"] > 1:
        lines.append(f"    and {row['items'] - 1:,} more test items above the threshold")
    passage = text.encode()[row["start"] : row["end"]].decode(errors="replace")
    lines.append(
        f"    bytes {row['start']:,} to {row['end']:,} of the document: {excerpt(passage)}"
    )
    return [*lines, f"    in the test set: {_test_passage(root, passage, row)}"]


def _test_passage(root: Path, passage: str, row: dict[str, Any]) -> str:
    """Return the test item's text from where it has `passage`, or why it cannot be shown."""
    try:
        config = load(root / "config.yaml").config.overlap
        key = (row["test_set"], row["test_id"])
        item = find_item(config.test_sets, config.text_field, *key)
    except MassivetextError as error:
        return f"its text cannot be shown ({error})"
    if item is None:
        return "no such item any more; overlap.test_sets has changed since the build"
    start = _where(passage, item.text, config.ngram)
    return ("… " if start else "") + excerpt(item.text.encode()[start:].decode())


def _where(passage: str, text: str, ngram: int) -> int:
    """First byte of `text` of the passage, or 0 when the text does not have it any more."""
    import numpy as np
    import pyarrow as pa

    from .document import text_buffers
    from .overlap_index import build_index
    from .overlap_span import matched_spans
    from .test_sets import Item

    index = build_index([Item("", "", passage)], ngram)
    column = pa.array([text], pa.large_string())
    return int(matched_spans(*text_buffers(column), np.zeros(1, np.int64), index)[0, 0])
