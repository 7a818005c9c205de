"""Shingles, similarity and clusters the slow and obvious way, in plain Python."""

import unicodedata
from itertools import combinations


def words(text: str) -> list[str]:
    kept = ("".join(c for c in w if unicodedata.category(c)[0] not in "PS") for w in text.split())
    return [word for word in kept if word]


def shingles(text: str, n: int = 13) -> set[tuple[str, ...]]:
    found = words(text)
    if not found:
        return set()
    return {tuple(found[i : i + n]) for i in range(max(1, len(found) - n + 1))}


def jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def near_pairs(texts: dict[str, str], threshold: float) -> dict[tuple[str, str], float]:
    """Return the pairs of keys whose similarity is above the threshold, and the similarity."""
    sets = {key: shingles(text) for key, text in texts.items()}
    values = {(a, b): jaccard(sets[a], sets[b]) for a, b in combinations(sets, 2)}
    return {pair: value for pair, value in values.items() if value > threshold}


def clusters(pairs) -> list[set[str]]:
    groups: list[set[str]] = []
    for a, b in pairs:
        touching = [g for g in groups if a in g or b in g]
        groups = [g for g in groups if g not in touching] + [set().union({a, b}, *touching)]
    return groups
