"""Containment the slow and obvious way: sets of tuples of words, and the formula as written."""

from math import log

from .reference_shingles import words

MIN_WORDS = 8


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}


def item_grams(text: str, n: int) -> set[tuple[str, ...]]:
    """An item's n-grams; a short one is an n-gram of its own length, none when it is too short."""
    count = len(words(text))
    if count < min(n, MIN_WORDS):
        return set()
    return grams(text, min(n, count))


def held_grams(text: str, n: int) -> set[tuple[str, ...]]:
    """Every n-gram of a document that some item can have."""
    return set().union(*(grams(text, size) for size in range(min(n, MIN_WORDS), n + 1)))


def containments(documents, items, n):
    """Return rows of one value an item, `items` being pairs of test set and text; None where the
    item cannot match."""
    held = [held_grams(document, n) for document in documents]
    of_items = [item_grams(text, n) for _, text in items]
    sets = [name for name, _ in items]

    def weight(gram):
        df = sum(gram in document for document in held)
        return 1.0 if df <= 1 else max(0.0, 1 - log(df) / log(len(documents)))

    def template(gram, name):
        having = sum(gram in g and s == name for g, s in zip(of_items, sets, strict=True))
        return having >= 3 and having > sets.count(name) / 2

    rows = [[None] * len(items) for _ in documents]
    for number, (found, name) in enumerate(zip(of_items, sets, strict=True)):
        weights = {gram: weight(gram) for gram in found if not template(gram, name)}
        total = sum(weights.values())
        if not weights or total < len(weights) / 2 - 1e-4:
            continue
        for row, document in enumerate(held):
            rows[row][number] = sum(w for g, w in weights.items() if g in document) / total
    return rows
