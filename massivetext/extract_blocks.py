"""Blocks of text of an HTML page, with the level of the tree on which each one stands.

The DOM is lexbor's, which repairs markup as browsers do. It is written out again as well-formed
HTML and read tag by tag with one regular expression: in Python that is faster than visiting nodes
and needs no recursion, however deep the tree.
"""

import re
from dataclasses import dataclass, field
from typing import Any

# Elements without readable text, removed by the parser. Their content is not escaped when the tree
# is written out, so they must go before it is read.
_REMOVED = [
    *("head", "script", "style", "noscript", "template", "iframe", "noembed", "noframes", "xmp"),
    *("plaintext", "svg", "canvas", "object", "audio", "video", "select", "textarea", "button"),
    *("nav", "footer", "aside", "datalist", "dialog", "math > semantics > annotation"),
]

MAX_INDENT = 40  # spaces; hostile pages nest lists ten thousand deep

_TOKEN = re.compile(
    r'<(?:(/?)([a-zA-Z][^ />]*+)((?: =?[^= >]*+="[^"]*+")*+)>|(?:!--.*?--|[!?][^>]*+)>)([^<]*+)',
    re.DOTALL,
)
# Tags that neither break text nor hide it: taken out at once, as a page can be half of them.
_PHRASING = re.compile(
    r"</?(?:abbr|b|big|cite|code|data|dfn|em|font|i|kbd|mark|q|s|samp|small|strong|sub|sup|time|tt"
    r'|u|var|wbr)(?: =?[^= >]*+="[^"]*+")*+>'
)
_CLASSES = re.compile(r'\b(?:class|id|role)="([^"]*+)"')
_WORD = re.compile(r"[^\W_]+")
_HIDDEN = re.compile(r'\shidden(?:=|\s|$)|\saria-hidden="true"|display:\s*none')


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words of class, id or role, alone or with one other ("site-footer"), that mark what is on every
# page of a site. Narrow on purpose: "share", "related" or "sidebar" also stand on wrappers of the
# main text, and so does any word in a long name ("nav-drawer-slide-panel").
_BOILERPLATE = _words(
    "nav navbar navigation navheader navfooter menu menubar breadcrumb breadcrumbs toc cookie "
    "cookies footer contentinfo copyright search disqus comments pagination headerlink"
)
_NEVER_BOILERPLATE = frozenset({"html", "body", "main", "article"})

_BLOCKS = _words(
    "html body main article section header hgroup div p h1 h2 h3 h4 h5 h6 ul ol menu li dl dt dd "
    "blockquote pre table caption thead tbody tfoot tr td th figure figcaption address form "
    "fieldset legend details summary center hr"
)
# Elements that are part of the level in which they stand: their blocks belong to that level.
_LIFTED = _words(
    "ul ol menu li dl dt dd blockquote pre table caption thead tbody tfoot tr figure figcaption "
    "details summary hgroup center address"
)
_LISTS = frozenset({"ul", "ol", "menu"})
_PLAIN = frozenset({"p", "div", "td", "th"})  # one of these in a cell is only how it is written
_ROOTS = frozenset({"ul", "ol", "menu", "dl", "table"})
_VOID = _words("area base br col embed hr img input link meta source track wbr param frame keygen")


@dataclass(slots=True)
class Block:
    """A run of text in one element. `level` is the element whose group it belongs to.

    `root` is the outermost list or table around it, or -1; `links` its characters inside links.
    """

    text: str
    links: int
    tag: str
    level: int
    indent: int
    bullet: str
    root: int


@dataclass(slots=True)
class _Element:
    index: int
    tag: str
    level: int
    root: int
    indent: int
    lists: int = 0
    count: int = 0
    bullet: str = ""
    has_blocks: bool = False
    first: int = 0
    cells: list[tuple[str, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Reader:
    blocks: list[Block] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    stack: list[_Element] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    links: int = 0

    def open(self, tag: str) -> None:
        parent = self.stack[-1]
        self.flush()
        parent.has_blocks = True
        index = len(self.parents)
        self.parents.append(parent.index)
        element = _Element(
            index,
            tag,
            parent.level if tag in _LIFTED else index,
            index if parent.root < 0 and tag in _ROOTS else parent.root,
            parent.indent,
            parent.lists,
        )
        if tag in _LISTS:
            element.lists = parent.lists + 1
            element.indent = min(parent.indent + (2 if parent.lists else 0), MAX_INDENT)
        elif tag in ("dd", "blockquote"):
            element.indent = min(parent.indent + 2, MAX_INDENT)
        elif tag == "li":
            parent.count += 1
            element.bullet = f"{parent.count}. " if parent.tag == "ol" else "- "
        elif tag in ("td", "th"):
            element.root = -1  # blocks inside a cell stand for themselves
            element.first = len(self.blocks)
        self.stack.append(element)

    def close(self) -> None:
        element = self.stack[-1]
        if element.tag in ("td", "th") and (cell := self._cell(element)) is not None:
            self.stack.pop()
            self.stack[-1].cells.append(cell)
            return
        self.flush()
        self.stack.pop()
        if element.tag == "tr" and any(text for text, _ in element.cells):
            row = "\t".join(text.replace("\n", " ") for text, _ in element.cells).rstrip("\t")
            self._add(row, sum(links for _, links in element.cells), "tr", element, element.level)

    def _cell(self, element: _Element) -> tuple[str, int] | None:
        """Return text and links of a cell that is closing; None if it holds blocks of its own."""
        if not element.has_blocks:
            return self.take()
        self.flush()
        inside = self.blocks[element.first :]
        if len(inside) > 1 or any(block.tag not in _PLAIN for block in inside):
            return None
        del self.blocks[element.first :]
        return (inside[0].text, inside[0].links) if inside else ("", 0)

    def take(self) -> tuple[str, int]:
        """Return the text gathered since the last block, white space collapsed, and its links."""
        text = "".join(self.parts)
        if "\0" in text:  # a line break
            lines = (" ".join(line.split()) for line in text.split("\0"))
            text = "\n".join(lines).strip("\n")
        else:
            text = " ".join(text.split())
        links = min(self.links, len(text))
        self.parts.clear()
        self.links = 0
        return text, links

    def flush(self) -> None:
        if not self.parts:
            return
        element = self.stack[-1]
        if element.tag == "pre":
            text = "".join(self.parts).replace("\0", "\n")
            links = min(self.links, len(text))
            self.parts.clear()
            self.links = 0
            text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
        else:
            text, links = self.take()
        if not text:
            return
        # Loose text of a leaf belongs to the level around it; of a container, to the container.
        level = element.level
        if level == element.index and element.tag not in ("html", "body", "td", "th"):
            level = self.stack[-2].level
        self._add(text, links, element.tag, element, level)

    def _add(self, text: str, links: int, tag: str, element: _Element, level: int) -> None:
        bullet = ""
        for outer in (element, self.stack[-1], self.stack[-2] if len(self.stack) > 1 else element):
            if outer.tag == "li":
                bullet, outer.bullet = outer.bullet, ""
                break
        inner = 2 if not bullet and element.lists and tag != "li" else 0
        self.blocks.append(
            Block(text, links, tag, level, element.indent + inner, bullet, element.root)
        )


def read_blocks(tree: Any) -> tuple[list[Block], list[int]]:
    """Return the blocks of a lexbor `tree`, in order, and the parent of every block-level element.

    Elements are numbered in document order, parents before children; the root's parent is -1.
    """
    tree.strip_tags(_REMOVED)
    reader = _Reader(parents=[-1])
    reader.stack.append(_Element(0, "html", 0, -1, 0))
    parts, stack = reader.parts, reader.stack
    boilerplate: dict[str, bool] = {}
    skipping = 0  # depth inside a boilerplate element
    anchors = 0
    for match in _TOKEN.finditer(_PHRASING.sub("", tree.html or "")):
        closing, tag, attributes, text = match.groups()
        if tag is not None and not skipping:
            if closing:
                if tag == "a":
                    anchors -= 1
                elif tag == stack[-1].tag and tag != "html":
                    reader.close()
            else:
                if attributes and tag not in _NEVER_BOILERPLATE and tag not in _VOID:
                    skip = boilerplate.get(attributes)
                    if skip is None:
                        skip = boilerplate[attributes] = _is_boilerplate(attributes)
                    if skip:
                        skipping = 1
                        if tag in _BLOCKS:
                            reader.flush()
                        continue
                if tag == "a":
                    anchors += 1
                elif tag == "br":
                    parts.append("\0")
                elif tag == "hr":
                    reader.flush()
                elif tag in _BLOCKS and tag != "html":
                    reader.open(tag)
        elif tag is not None:
            if closing:
                skipping -= 1
                if skipping:
                    continue
            else:
                skipping += tag not in _VOID
                continue
        if text and not skipping:
            if "&" in text:
                text = _unescape(text)
            parts.append(text)
            if anchors > 0:
                reader.links += len(text.strip())
    reader.flush()
    return reader.blocks, reader.parents


def _is_boilerplate(attributes: str) -> bool:
    if _HIDDEN.search(attributes):
        return True
    for match in _CLASSES.finditer(attributes):
        for name in match.group(1).lower().split():
            words = _WORD.findall(name)
            if len(words) <= 2 and not _BOILERPLATE.isdisjoint(words):
                return True
    return False


def _unescape(text: str) -> str:
    """Undo what writing a tree out escapes, and nothing else."""
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u00a0")
    return text.replace("&amp;", "&")
