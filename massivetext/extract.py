"""Text extraction: HTML to the plain text a reader of the page would want (Gopher, A.1.1).

Gopher extracts text by the tree of tags: it looks for groups of semantic tags at one level that
hold coherent, salient text, and keeps indentation, newlines and bullet points. `extract_blocks`
reads blocks of text off the tree, `extract_groups` chooses the groups and lays out the text.
"""

import json
from typing import Any

import pyarrow as pa

from .document import DOCUMENT, DeadLetter, DeadLetters, metadata_json
from .encoding import decode
from .extract_blocks import read_blocks
from .extract_groups import layout, select
from .extract_guard import PageTooLarge, check

__all__ = ["PageTooLarge", "extract", "extract_batch", "extract_with_title"]

TITLE_CHARACTERS = 1000


def extract(html: str) -> str:
    """Return the salient text of a page, "" if it has none.

    Raises:
      PageTooLarge: more than 16 MiB, or markup whose tree would grow out of bounds.
    """
    return extract_with_title(html)[0]


def extract_with_title(html: str) -> tuple[str, str]:
    """Return the salient text of a page and its title, each "" if there is none."""
    check(html)
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(html.replace("\0", ""))
    node = tree.css_first("head > title")
    title = "" if node is None else " ".join(node.text().split())[:TITLE_CHARACTERS]
    blocks, elements = read_blocks(tree)
    return layout(select(blocks, elements)), title


def extract_batch(pages: pa.RecordBatch, stage: str, dead: DeadLetters) -> pa.RecordBatch:
    """Turn a `PAGE` batch into a `DOCUMENT` batch, in order; the title goes to the metadata.

    A page that cannot be taken apart goes to `dead` under `stage`; the others are unharmed.
    """
    columns: dict[str, list[Any]] = {name: [] for name in DOCUMENT.names}
    for page in (row for batch in _rows(pages) for row in batch):
        try:
            text, title = extract_with_title(decode(page["content"], page["charset"]))
            text.encode()
        except (ValueError, RuntimeError, MemoryError) as error:
            reason = f"{page['id']}: {error or type(error).__name__}"
            dead.add(DeadLetter(page["id"], stage, page["source"], reason, page["content"][:4096]))
            continue
        columns["text"].append(text)
        columns["metadata"].append(_with_title(page["metadata"], title))
        for name in ("id", "source", "url", "timestamp"):
            columns[name].append(page[name])
    return pa.RecordBatch.from_arrays(
        [pa.array(columns[field.name], type=field.type) for field in DOCUMENT], schema=DOCUMENT
    )


def _rows(pages: pa.RecordBatch) -> Any:
    """Yield lists of one row, so that only one page's content is a Python object at a time."""
    for row in range(pages.num_rows):
        yield pages.slice(row, 1).to_pylist()


def _with_title(metadata: str | None, title: str) -> str | None:
    if not title:
        return metadata
    known = json.loads(metadata) if metadata else {}
    return metadata_json({"title": title, **known})
