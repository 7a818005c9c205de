"""Which words of two texts are the same, in order.

Words that occur once in both texts, together with the two after them, are anchors (patience diff);
the longest rising run of them is kept, grown while words are equal, and the gaps between are
compared the same way with fewer words, at last word by word. Time is about linear in the words of
texts that resemble each other, and bounded for any.
"""

from bisect import bisect_left
from difflib import SequenceMatcher
from itertools import pairwise

# Gaps of more pairs of words than this hold nothing that is worth the time to align.
_PAIRS = 1 << 14
Operation = tuple[str, int, int, int, int]


def operations(left: list[str], right: list[str]) -> list[Operation]:
    """Return what turns `left` into `right`: `(op, a0, a1, b0, b1)` in order, covering both.

    `op` says that the words a0 up to a1 of `left` and b0 up to b1 of `right` are `equal`, that the
    ones `replace` the others, or that there are none on one side: `delete` and `insert`.
    """
    result: list[Operation] = []
    a = b = 0
    blocks = [*_blocks(left, right, 0, len(left), 0, len(right), 3), (len(left), len(right), 0)]
    for start, other, length in blocks:
        if a < start or b < other:
            op = "replace" if a < start and b < other else "delete" if a < start else "insert"
            result.append((op, a, start, b, other))
        a, b = start + length, other + length
        if length and result and result[-1][0] == "equal" and result[-1][2] == start:
            result[-1] = ("equal", result[-1][1], a, result[-1][3], b)
        elif length:
            result.append(("equal", start, a, other, b))
    return result


def _blocks(
    left: list[str], right: list[str], a: int, a_end: int, b: int, b_end: int, n: int
) -> list[tuple[int, int, int]]:
    """Return `(start in left, start in right, length)` of equal runs between the bounds."""
    found: list[tuple[int, int, int]] = []
    first, other = a, b
    while first < a_end and other < b_end and left[first] == right[other]:
        first, other = first + 1, other + 1
    if first > a:
        found.append((a, b, first - a))
    tail = 0
    while (
        first < a_end - tail
        and other < b_end - tail
        and (left[a_end - tail - 1] == right[b_end - tail - 1])
    ):
        tail += 1
    found += _between(left, right, first, a_end - tail, other, b_end - tail, n)
    if tail:
        found.append((a_end - tail, b_end - tail, tail))
    return found


def _between(
    left: list[str], right: list[str], a: int, a_end: int, b: int, b_end: int, n: int
) -> list[tuple[int, int, int]]:
    if a >= a_end or b >= b_end:
        return []
    anchors = _anchors(left, right, a, a_end, b, b_end, n)
    if not anchors:
        if n > 1:
            return _between(left, right, a, a_end, b, b_end, n - 1)
        if (a_end - a) * (b_end - b) > _PAIRS:
            return []
        matcher = SequenceMatcher(None, left[a:a_end], right[b:b_end], autojunk=False)
        return [(a + i, b + j, size) for i, j, size in matcher.get_matching_blocks() if size]
    found: list[tuple[int, int, int]] = []
    for (start, other), (stop, other_stop) in pairwise([(a, b), *anchors, (a_end, b_end)]):
        # An anchor begins its stretch, so every stretch but the first begins with equal words.
        found += _blocks(left, right, start, stop, other, other_stop, max(1, n - 1))
    return found


def _anchors(
    left: list[str], right: list[str], a: int, a_end: int, b: int, b_end: int, n: int
) -> list[tuple[int, int]]:
    """Return the longest rising run of the n-grams that occur once on either side."""
    mine, theirs = _once(left, a, a_end, n), _once(right, b, b_end, n)
    pairs = [(i, theirs[gram]) for gram, i in mine.items() if gram in theirs]
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        at = bisect_left(tails, place)
        before.append(ends[at - 1] if at else -1)
        if at == len(tails):
            tails.append(place)
            ends.append(index)
        else:
            tails[at], ends[at] = place, index
    run: list[tuple[int, int]] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        run.append(pairs[index])
        index = before[index]
    return run[::-1]


def _once(words: list[str], start: int, stop: int, n: int) -> dict[tuple[str, ...], int]:
    """Return where the n-grams that occur once are, in order."""
    places: dict[tuple[str, ...], int] = {}
    for i in range(start, stop - n + 1):
        gram = tuple(words[i : i + n])
        places[gram] = -1 if gram in places else i
    return {gram: i for gram, i in places.items() if i >= 0}
