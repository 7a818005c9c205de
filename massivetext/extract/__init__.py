"""Text extraction: HTML to the plain text a reader of the page would want (Gopher, A.1.1).

Gopher extracts text by the tree of tags: it looks for groups of semantic tags at one level that
hold coherent, salient text, and keeps indentation, newlines and bullet points. `blocks`
reads blocks of text off the tree, `groups` chooses the groups and lays out the text.
`libraries` has the alternatives.
"""

import json
from collections.abc import Iterator
from typing import Any, Protocol

import pyarrow as pa

from ..document import DOCUMENT, DeadLetter, DeadLetters, metadata_json
from ..encoding import decode
from .blocks import read_blocks
from .groups import layout, select
from .guard import PageTooLarge, check

__all__ = [
    "Extract",
    "PageTooLarge",
    "extract",
    "extract_batch",
    "extract_with_title",
    "title_of",
    "warm_up",
]

TITLE_CHARACTERS = 1000


class Extract(Protocol):
    """Turns a page into text."""

    def __call__(self, html: bytes, address: str) -> tuple[bytes, str]:
        """Return the text and the title of the page, UTF-8 and str, each empty if there is none.

        Raises ValueError on a page that cannot be taken apart, naming `address`.
        """


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    extract("<p>text")


def extract(html: str) -> str:
    """Return the salient text of a page, "" if it has none.

    Time and memory are linear in the bytes of the page, but for a number of steps that
    `guard` bounds: no page of the allowed size takes longer than some seconds.

    Raises:
      PageTooLarge: more than 16 MiB, or markup whose tree would grow out of bounds.
    """
    return extract_with_title(html.encode(), "")[0].decode()


def extract_with_title(html: bytes, address: str) -> tuple[bytes, str]:
    """Return the salient text and the title of a page: Gopher's `Extract`."""
    tree = _parse(html)
    title = _title(tree)
    return layout(select(read_blocks(tree))), title


def title_of(html: bytes) -> str:
    """Return the title of a page, white space collapsed, "" if it has none."""
    return _title(_parse(html))


def _parse(html: bytes) -> Any:
    from selectolax.lexbor import LexborHTMLParser

    html = html.replace(b"\0", b"")
    check(html)
    return LexborHTMLParser(html)


def _title(tree: Any) -> str:
    node = tree.css_first("head > title")
    return "" if node is None else " ".join(node.text().split())[:TITLE_CHARACTERS]


def extract_batch(
    pages: pa.RecordBatch, stage: str, dead: DeadLetters, extractor: Extract = extract_with_title
) -> pa.RecordBatch:
    """Turn a `PAGE` batch into a `DOCUMENT` batch, in order; the title goes to the metadata.

    A page that cannot be taken apart goes to `dead` under `stage`; the others are unharmed.

    Args:
      extractor: as `libraries.extractor` gives it.
    """
    columns: dict[str, list[Any]] = {name: [] for name in DOCUMENT.names}
    for page in _rows(pages):
        try:
            html = decode(page["content"], page["charset"]).encode()
            text, title = extractor(html, page["url"] or page["id"])
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


def _rows(pages: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield rows, so that only one page's content is a Python object at a time."""
    for row in range(pages.num_rows):
        yield from pages.slice(row, 1).to_pylist()


def _with_title(metadata: str | None, title: str) -> str | None:
    if not title:
        return metadata
    known = json.loads(metadata) if metadata else {}
    return metadata_json({"title": title, **known})
