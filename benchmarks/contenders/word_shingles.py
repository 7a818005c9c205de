"""13-word shingles by the paper's rule, for tools that leave the shingling to their user."""

import sys
import unicodedata

_IGNORED = {
    point: None
    for point in range(sys.maxunicode + 1)
    if unicodedata.category(chr(point))[0] in "PS"
}


def words(text: str) -> list[str]:
    """Return the words of `text` without punctuation and symbols; case is kept."""
    return text.translate(_IGNORED).split()


def shingles(text: str, n: int = 13) -> set[str]:
    """Return the n-grams of the words; of fewer than n words the one shingle of all of them."""
    found = words(text)
    if not found:
        return set()
    return {" ".join(found[i : i + n]) for i in range(max(1, len(found) - n + 1))}
