"""Blocks of a page read off lexbor's tree node by node: slow, and with nothing clever about it."""

from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from massivetext.extract.tags import _FLAGS, BLOCK, LIFTED, LIST, PLAIN, REMOVED, ROOT, VOID

NAMES = {flag: frozenset(names.split()) for flag, names in _FLAGS.items()}
MAX_INDENT = 40


@dataclass
class Block:
    text: str
    links: int
    tag: str
    level: int
    indent: int
    bullet: str
    root: int


@dataclass
class Element:
    index: int
    tag: str
    level: int
    root: int
    indent: int = 0
    lists: int = 0
    items: int = 0
    bullet: str = ""
    has_blocks: bool = False
    first_block: int = 0
    cells: list[tuple[str, int, int]] = field(default_factory=list)


def size(text: str) -> int:
    return sum(3 if character >= "\u3000" else 1 for character in text)


class Reader:
    """`parts` is the text since the last block: (character, whether in a link); None is a break."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.parents = [-1]
        self.stack = [Element(0, "html", 0, -1)]
        self.parts: list[tuple[str | None, bool]] = []

    def read(self, node: LexborNode, linked: bool) -> None:
        if node.is_text_node:
            self.parts += [(character, linked) for character in node.text_content or ""]
            return
        if not node.is_element_node:
            return
        tag = node.tag
        if tag in NAMES[REMOVED] or (tag not in NAMES[VOID] and "hidden" in node.attributes):
            if tag in NAMES[BLOCK]:
                self.flush()
            return
        if tag == "br":
            self.parts.append((None, linked))
        if tag == "hr":
            self.flush()
        opened = tag in NAMES[BLOCK] and tag != "hr"
        if tag == "a":
            linked = linked or not (node.attributes.get("href") or "").startswith("javascript:")
        if opened:
            self.open(tag)
        for child in node.iter(include_text=True):
            self.read(child, linked)
        if opened:
            self.close()

    def open(self, tag: str) -> None:
        self.flush()
        outer = self.stack[-1]
        outer.has_blocks = True
        index = len(self.parents)
        self.parents.append(outer.index)
        inner = Element(
            index,
            tag,
            outer.level if tag in NAMES[LIFTED] else index,
            index if outer.root < 0 and tag in NAMES[ROOT] else outer.root,
            outer.indent,
            outer.lists,
            first_block=len(self.blocks),
        )
        if tag in NAMES[LIST]:
            inner.indent = min(outer.indent + (2 if outer.lists else 0), MAX_INDENT)
            inner.lists += 1
        elif tag in ("dd", "blockquote"):
            inner.indent = min(outer.indent + 2, MAX_INDENT)
        elif tag == "li":
            outer.items += 1
            inner.bullet = f"{outer.items}. " if outer.tag == "ol" else "- "
        elif tag in ("td", "th"):
            inner.root = -1
        self.stack.append(inner)

    def close(self) -> None:
        element = self.stack[-1]
        if element.tag in ("td", "th"):
            if not element.has_blocks:
                text, links = self.take()
                inside = [Block(text, links, "p", 0, 0, "", 0)]
            else:
                self.flush()
                inside = self.blocks[element.first_block :]
            if not inside:
                self.stack[-2].cells.append(("", 0, 0))
            elif len(inside) == 1 and inside[0].tag in NAMES[PLAIN]:
                del self.blocks[element.first_block :]
                cell = inside[0]
                self.stack[-2].cells.append((cell.text, cell.links, size(cell.text)))
        self.flush()
        self.stack.pop()
        if element.tag == "tr" and any(text for text, _, _ in element.cells):
            row = "\t".join(text.replace("\n", " ") for text, _, _ in element.cells).rstrip("\t")
            self.add(row, sum(links for _, links, _ in element.cells), element, element.level)

    def take(self) -> tuple[str, int]:
        parts, self.parts = self.parts, []
        kept: list[tuple[str, bool]] = []
        spaces: list[bool] = []
        breaks = 0
        for character, linked in parts:
            if character is None:
                breaks += 1
            elif character.isspace():
                spaces.append(linked)
            else:
                if kept and breaks:
                    kept += [("\n", False)] * breaks
                elif kept and spaces:
                    kept.append((" ", linked and kept[-1][1] and all(spaces)))
                spaces, breaks = [], 0
                kept.append((character, linked))
        return "".join(c for c, _ in kept), sum(size(c) for c, linked in kept if linked)

    def flush(self) -> None:
        element = self.stack[-1]
        if element.tag == "pre":
            parts, self.parts = self.parts, []
            text = "".join("\n" if c is None else c for c, _ in parts)
            text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
            links = sum(size(c) for c, linked in parts if c and c != "\n" and linked)
            links = min(links, size(text))
        else:
            text, links = self.take()
        if not text:
            return
        level = element.level
        if level == element.index and element.tag not in ("html", "body", "td", "th"):
            level = self.stack[-2].level
        self.add(text, links, element, level)

    def add(self, text: str, links: int, element: Element, level: int) -> None:
        bullet = ""
        for outer in [element, *self.stack[-1:-3:-1]]:
            if outer.tag == "li":
                bullet, outer.bullet = outer.bullet, ""
                break
        inner = 2 if not bullet and element.lists and element.tag != "li" else 0
        self.blocks.append(
            Block(text, links, element.tag, level, element.indent + inner, bullet, element.root)
        )


def read_blocks(tree: LexborHTMLParser) -> tuple[list[Block], list[int]]:
    """Return the blocks of `tree`, and the parent of every block-level element."""
    reader = Reader()
    for child in tree.root.iter(include_text=True):
        reader.read(child, False)
    reader.flush()
    return reader.blocks, reader.parents
