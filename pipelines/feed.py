"""How the input of a stage is cut into bundles."""

import threading
from collections.abc import Iterator
from typing import Any

from .spill import elements, size

BUNDLE_BYTES = 32 << 20
SMALL_BYTES = 8 << 20
LARGE_SHARE_BYTES = 64 << 10
SHARES = 4
QUICK_SECONDS = 0.1
SLOW_SECONDS = 1.0

Inputs = dict[str, list[bytes]]


class Feed:
    """Cuts the inputs of a stage into bundles as workers ask for them.

    It begins with single elements, so that a stage whose elements are whole files spreads evenly,
    and doubles the number while bundles come back quickly. No bundle is more than a fourth of
    what would be left for each worker, nor more than `BUNDLE_BYTES`, except for a single element.
    """

    def __init__(self, inputs: dict[str, Any], workers: int):
        self._names = list(inputs)
        self._workers = workers
        self._left = sum(size(buffer) for buffer in inputs.values())
        self._least = LARGE_SHARE_BYTES
        self._count = 1
        self._lock = threading.Lock()
        self._elements: Iterator[tuple[str, bytes]] = (
            (name, element) for name, buffer in inputs.items() for element in elements(buffer)
        )
        if self._left <= SMALL_BYTES:
            # The size of a group is known only when it is formed; here it is worth knowing, for
            # these may be the files of a stage, which must spread evenly to the last one.
            formed = list(self._elements)
            self._elements = iter(formed)
            self._left, self._least = sum(len(element) for _, element in formed), 0
        self._next = next(self._elements, None)
        self._empty = self._next is None

    def take(self) -> Inputs | None:
        """Return the next bundle, by input; None when there are no more.

        A stage without any input still gets one, empty bundle.
        """
        with self._lock:
            if self._empty:
                self._empty = False
                return {name: [] for name in self._names}
            if self._next is None:
                return None
            name = self._next[0]
            share = max(self._least, self._left // (SHARES * self._workers))
            limit = min(BUNDLE_BYTES, share)
            taken: list[bytes] = []
            total = 0
            while self._next is not None and self._next[0] == name and len(taken) < self._count:
                total += len(self._next[1])
                if taken and total > limit:
                    break
                taken.append(self._next[1])
                self._left -= len(self._next[1])
                self._next = next(self._elements, None)
            return {other: taken if other == name else [] for other in self._names}

    def took(self, seconds: float) -> None:
        """Learn how long a bundle took."""
        with self._lock:
            if seconds < QUICK_SECONDS:
                self._count *= 2
            elif seconds > SLOW_SECONDS:
                self._count = max(1, self._count // 2)
