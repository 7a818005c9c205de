"""MediaWiki XML dumps (`pages-articles`), streamed: a document an article, as plain text."""

from collections.abc import Iterator
from xml.parsers import expat

import pyarrow as pa

from . import sink as limits
from .sink import Sink
from .stream import DamagedError, Stream
from .wikitext import HIDDEN, is_redirect, plain_text

# Longest tag. Expat keeps an unfinished tag and scans it again with every piece it is fed.
TAG_BYTES = 4 << 20
FIELD_BYTES = 1 << 16
# Namespaces whose links show no text: media, files, categories.
_HIDDEN_KEYS = ("-2", "6", "14")
_WANTED = {
    "page/title": "title",
    "page/ns": "ns",
    "page/id": "id",
    "page/revision/timestamp": "timestamp",
    "page/revision/text": "text",
}


class _Page:
    """Fields of the page being read; of several revisions the last counts."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.redirect = False
        self.too_large = False


class _Handler:
    """Expat callbacks. Keeps the path of open elements, and text only where it is wanted."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.pages: list[_Page] = []
        self.hidden: set[str] = set()
        self._page: _Page | None = None
        self._target = ""
        self._parts: list[str] = []
        self._size = 0

    def doctype(self, *_: object) -> None:
        raise DamagedError(
            "a DOCTYPE, which no MediaWiki dump has; refused, as it can expand entities"
        )

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.path and name != "mediawiki":
            raise DamagedError(f"the root element is <{name[:40]}>, not <mediawiki>")
        if len(self.path) > 64:
            raise DamagedError("elements nested more than 64 deep")
        self.path.append(name)
        depth = len(self.path)
        if name == "page" and depth == 2:
            self._page = _Page()
        elif self._page is not None:
            if name == "redirect" and depth == 3:
                self._page.redirect = True
            self._target = _WANTED.get("/".join(self.path[1:]), "")
        elif name == "namespace" and attributes.get("key") in _HIDDEN_KEYS:
            self._target = "namespace"
        self._parts.clear()
        self._size = 0

    def characters(self, text: str) -> None:
        if not self._target:
            return
        self._size += len(text)
        limit = limits.RECORD_BYTES // 4 if self._target == "text" else FIELD_BYTES
        if self._size <= limit:
            self._parts.append(text)
        else:
            self._parts.clear()
            if self._page is not None:
                self._page.too_large = True

    def end(self, name: str) -> None:
        if self._target:
            value = "".join(self._parts)
            if self._target == "namespace":
                self.hidden.add(value.lower())
            elif self._page is not None:
                self._page.fields[self._target] = value
            self._target = ""
        self.path.pop()
        if name == "page" and self._page is not None and len(self.path) == 1:
            self.pages.append(self._page)
            self._page = None


def read_mediawiki(stream: Stream, sink: Sink) -> Iterator[pa.RecordBatch]:
    """Yield batches of the articles (namespace 0, no redirects) of one dump."""
    handler = _Handler()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = 1 << 16
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.characters
    parser.StartDoctypeDeclHandler = handler.doctype
    fed = 0
    damage: DamagedError | None = None
    chunks = stream.chunks()
    while damage is None:
        try:
            chunk = next(chunks, b"")
            parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            damage = DamagedError(f"invalid XML ({error})")
        except DamagedError as error:
            damage = error
        fed += len(chunk) if damage is None else 0
        if damage is None and fed - parser.CurrentByteIndex > TAG_BYTES:
            damage = DamagedError(f"a tag exceeds {TAG_BYTES:,} bytes")
        for page in handler.pages:
            batch = _add(page, HIDDEN | handler.hidden, sink)
            if batch is not None:
                yield batch
        handler.pages.clear()
        if damage is None and not chunk:
            return
    raise damage


def _add(page: _Page, hidden: frozenset[str], sink: Sink) -> pa.RecordBatch | None:
    fields = page.fields
    title = fields.get("title", "")
    text = fields.get("text", "")
    if page.too_large:
        sink.reject(f"{sink.name}: page {title[:200]!r}: {limits.too_large()}")
        return None
    if fields.get("ns", "0").strip() != "0" or page.redirect or is_redirect(text):
        sink.record += 1
        return None
    return sink.document(
        plain_text(text, hidden),
        timestamp=fields.get("timestamp"),
        metadata={"title": title, "page_id": fields.get("id", "")},
    )
