"""Which groups of blocks are the page's text, and how they are laid out.

The thresholds are ours (the paper prints none). A group is all blocks of one level of the tree.
"""

from collections import defaultdict
from dataclasses import dataclass

from .extract_blocks import Block

# A block longer than this, without links, is prose rather than a label.
SALIENT_CHARACTERS = 60
# A group counts that scores this share of the best group, has this many characters, and is salient
# to this extent.
BEST_SHARE = 0.2
GROUP_CHARACTERS = 140
SALIENT_SHARE = 0.5
# The main element holds this share of the salient text; smaller groups inside it are kept too.
MAIN_SHARE = 0.8
# A list or table with more link text than this is navigation.
LINK_SHARE = 0.6


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SEMANTIC = _words("p h1 h2 h3 h4 h5 h6 li pre blockquote tr dd dt figcaption caption summary")
_TIGHT = frozenset({"li", "tr", "dt", "dd"})


@dataclass(slots=True)
class _Group:
    characters: int = 0
    links: int = 0
    score: int = 0


def select(blocks: list[Block], parents: list[int]) -> list[Block]:
    """Return the blocks of the salient groups, in document order.

    Args:
      blocks: all blocks of the page.
      parents: parent of every element, as `read_blocks` numbers them.
    """
    navigation = _navigation(blocks)
    blocks = [block for block in blocks if block.root not in navigation]
    groups: dict[int, _Group] = defaultdict(_Group)
    for block in blocks:
        group = groups[block.level]
        size = len(block.text)
        salient = size - block.links > SALIENT_CHARACTERS
        if block.tag == "tr" and not salient:
            continue  # rows of numbers say nothing for or against the prose around their table
        group.characters += size
        group.links += block.links
        if salient:
            group.score += size - block.links
    best = max((group.score for group in groups.values()), default=0)
    if best == 0:
        return []
    strong = {
        level: group.score
        for level, group in groups.items()
        if group.score >= BEST_SHARE * best
        and group.characters >= GROUP_CHARACTERS
        and group.score >= SALIENT_SHARE * group.characters
    }
    inside = _inside_main(strong, parents)
    return [
        block
        for block in blocks
        if block.level in strong
        or (
            inside[block.level]
            and block.tag in _SEMANTIC
            and groups[block.level].links <= SALIENT_SHARE * groups[block.level].characters
        )
    ]


def _navigation(blocks: list[Block]) -> set[int]:
    """Return the lists and tables that are mostly links."""
    sizes: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for block in blocks:
        if block.root >= 0:
            sizes[block.root][0] += len(block.text)
            sizes[block.root][1] += block.links
    return {root for root, (size, links) in sizes.items() if links > LINK_SHARE * size}


def _inside_main(strong: dict[int, int], parents: list[int]) -> list[bool]:
    """Return for every element whether it is inside the deepest one with most salient text."""
    totals = [0] * len(parents)
    for level, score in strong.items():
        totals[level] = score
    for index in range(len(parents) - 1, 0, -1):
        totals[parents[index]] += totals[index]
    inside = [False] * len(parents)
    if totals[0] == 0:
        return inside
    # Totals only shrink downwards, so the last element above the bar is the deepest of one chain.
    main = max(i for i, total in enumerate(totals) if total >= MAIN_SHARE * totals[0])
    inside[main] = True
    for index in range(main + 1, len(parents)):
        inside[index] = inside[parents[index]]
    return inside


def layout(blocks: list[Block]) -> str:
    """Return the text: items and rows on lines of their own, paragraphs a blank line apart."""
    parts: list[str] = []
    before: Block | None = None
    for block in blocks:
        if before is not None:
            tight = block.tag in _TIGHT and before.tag in _TIGHT and block.root == before.root
            parts.append("\n" if tight else "\n\n")
        indent = " " * block.indent
        if block.tag == "pre" or "\n" in block.text:
            hang = indent + " " * len(block.bullet)
            first, *rest = block.text.split("\n")
            lines = [indent + block.bullet + first, *(hang + line if line else "" for line in rest)]
            parts.append("\n".join(lines))
        else:
            parts.append(indent + block.bullet + block.text)
        before = block
    return "".join(parts)
