"""Pairs of documents that a tool found, as contenders of dedup.py report them."""

from collections.abc import Hashable, Iterable


class FoundPairs:
    """Distinct pairs of documents, by their numbers in the input."""

    def __init__(self, documents: int):
        self._documents = documents
        self._found: set[int] = set()

    def add(self, document: int, others: Iterable[int]) -> None:
        """Pair `document` with each of `others`; itself among them is ignored."""
        for other in others:
            low, high = (document, other) if document < other else (other, document)
            if low != high:
                self._found.add(low * self._documents + high)

    def add_buckets(self, keys: Iterable[tuple[int, Hashable]]) -> None:
        """Pair documents, each with the key of a bucket, where they share a bucket."""
        buckets: dict[Hashable, list[int]] = {}
        for document, key in keys:
            members = buckets.setdefault(key, [])
            self.add(document, members)
            members.append(document)

    def result(self) -> list[int]:
        """Return the pairs (i, j), i < j, sorted, each as i * documents + j."""
        return sorted(self._found)
