"""Unsafe pages (Gopher, A.1.1, 'Content Filtering'): a fastText classifier, and a word list.

Gopher filters by Google's SafeSearch, which is not open; a classifier takes its place. A list of
words that no page may hold is C4's way (Raffel et al. 2020, section 2.2).
"""

from pathlib import Path

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .classifier import LABEL_PREFIX, Classifier
from .document import text_buffers
from .errors import ConfigError, nearest
from .quality import readonly
from .storage import location, read_bytes
from .unicode import PUNCTUATION, SPACE, classes, decode
from .words import combine, mix, skip_space

# A unit is a run of characters that are neither white space nor punctuation, or one character of
# punctuation (symbols such as emoji included). A phrase is a sequence of units.
MAX_UNITS = 32

_SPACED = np.uint64(0x2545F4914F6CDD1D)
_NOTHING = np.uint64(0)
_ONE = np.uint64(1)


class LabelModel:
    """The probability of one label of a fastText classifier."""

    def __init__(self, path: str | Path, label: str):
        self._classifier = Classifier(path)
        self._label = LABEL_PREFIX + label.removeprefix(LABEL_PREFIX)
        if self._label not in self._classifier.labels:
            valid = [name.removeprefix(LABEL_PREFIX) for name in self._classifier.labels]
            raise ConfigError(f"model {path} has no label {label!r}{nearest(label, valid)}")

    def predict(self, data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Return the probability of the label for n documents: float32 in [0, 1].

        The whole text decides.
        """
        out = self._classifier.probability(data, offsets, self._label)
        # fastText's softmax reaches 1.00001.
        return np.minimum(out, np.float32(1))


class WordList:
    """Finds the words and phrases of a list in texts, regardless of case.

    Matches are whole: `ass` is not in 'class', but is in 'bad_ass', since `_` is punctuation.
    White space within a phrase matches any white space. Case is that of Unicode's simple mapping,
    one character to one. Time is linear in the text for phrases of at most `MAX_UNITS` units;
    phrases are compared by 64-bit hashes, so a false match has odds of 2**-64 per position.
    """

    def __init__(self, phrases: list[str]):
        """Take the phrases; repeated ones and ones that differ only in case count once.

        Raises:
          ValueError: there is none, one is empty, or one has more than `MAX_UNITS` units.
        """
        if not phrases:
            raise ValueError("the word list is empty")
        self.phrases = phrases
        data, offsets = text_buffers(_lower(pa.array(phrases, pa.large_string())))
        n = len(phrases)
        hashes = np.zeros(n, np.uint64)
        firsts = np.zeros(n, np.uint64)
        units = np.zeros(n, np.int64)
        _hash_phrases(readonly(data), readonly(offsets), classes(), hashes, firsts, units)
        for phrase, count in zip(phrases, units.tolist(), strict=True):
            if not 1 <= count <= MAX_UNITS:
                raise ValueError(f"phrase {phrase[:80]!r} has {count} units, not 1 to {MAX_UNITS}")
        # The longest phrase by its first unit says how far to look from there.
        self._first_keys, inverse = np.unique(firsts, return_inverse=True)
        self._first_units = np.zeros(len(self._first_keys), np.int64)
        np.maximum.at(self._first_units, inverse, units)
        self._keys, self._numbers = np.unique(hashes, return_index=True)
        # Most units begin no phrase; a flag for a hash's high bits tells so without a search.
        self._filter = np.zeros(1 << 16, np.bool_)
        self._filter[(firsts >> np.uint64(48)).astype(np.int64)] = True

    @classmethod
    def read(cls, path: str | Path) -> "WordList":
        """Read a UTF-8 file of one word or phrase a line; blank lines are skipped.

        Raises:
          ConfigError: the file is missing, not UTF-8 or empty, or a phrase is too long.
        """
        try:
            text = read_bytes(location(path)).decode("utf-8-sig")
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"word list {path} cannot be read: {error}") from error
        try:
            return cls([line.strip() for line in text.split("\n") if line.strip()])
        except ValueError as error:
            raise ConfigError(f"word list {path}: {error}") from error

    def first_match(self, column: pa.Array) -> pa.Array:
        """Return, for each text of a string column, the phrase found first, or null.

        Of several phrases that begin at the same place it is the longest, as the list spells it.
        """
        data, offsets = text_buffers(_lower(column))
        found = np.full(len(column), -1, np.int64)
        _find(
            readonly(data),
            readonly(offsets),
            classes(),
            self._filter,
            self._first_keys,
            self._first_units,
            self._keys,
            self._numbers,
            found,
        )
        return pa.array(self.phrases, pa.string()).take(pa.array(found, mask=found < 0))


def warm_up() -> None:
    """Compile the kernels of the word list, or load them from the cache."""
    WordList(["a"]).first_match(pa.array([""], pa.large_string()))


def _lower(column: pa.Array) -> pa.Array:
    return pc.utf8_lower(column.cast(pa.large_string()))


@numba.njit(cache=True, nogil=True)
def _next_unit(data, i, stop, classes):  # type: ignore[no-untyped-def]
    """Return `(i, hash, spaced)`: the end of the next unit from `i`, its hash (0 when there is
    none), and a hash that also tells whether white space comes before it."""
    start = i
    i, _, _ = skip_space(data, i, stop, classes)
    spaced = i > start
    unit = _NOTHING
    while i < stop:
        point = np.int64(data[i])
        width = 1
        if point >= 0x80:
            point, width = decode(data, i, stop)
        flags = classes[point]
        if unit != _NOTHING and flags & (SPACE | PUNCTUATION):
            break
        # Never 0, which says that there is no unit.
        unit = combine(unit, np.uint64(point) + _SPACED) | _ONE
        i += width
        if flags == PUNCTUATION:
            break
    return i, unit, (unit ^ _SPACED if spaced else unit)


@numba.njit(cache=True, nogil=True)
def _hash_phrases(data, offsets, classes, hashes, firsts, units):  # type: ignore[no-untyped-def]
    for row in range(len(offsets) - 1):
        stop = offsets[row + 1]
        i, first, _ = _next_unit(data, offsets[row], stop, classes)
        firsts[row] = first
        state = first
        while first != _NOTHING:
            units[row] += 1
            i, unit, spaced = _next_unit(data, i, stop, classes)
            if unit == _NOTHING:
                break
            state = combine(state, mix(spaced))
        hashes[row] = state


@numba.njit(cache=True, nogil=True)
def _search(keys, key):  # type: ignore[no-untyped-def]
    """Return the index of `key` in sorted `keys`, or -1."""
    k = np.searchsorted(keys, key)
    return k if k < len(keys) and keys[k] == key else -1


@numba.njit(cache=True, nogil=True)
def _find(  # type: ignore[no-untyped-def]
    data, offsets, classes, maybe, first_keys, first_units, keys, numbers, found
):
    for row in range(len(offsets) - 1):
        i = offsets[row]
        stop = offsets[row + 1]
        while i < stop and found[row] < 0:
            i, first, _ = _next_unit(data, i, stop, classes)
            if not maybe[first >> np.uint64(48)]:
                continue
            k = _search(first_keys, first)
            if k < 0:
                continue
            longest = first_units[k]
            state = first
            ahead = i
            for count in range(1, longest + 1):
                match = _search(keys, state)
                if match >= 0:
                    found[row] = numbers[match]
                if count < longest:
                    ahead, unit, spaced = _next_unit(data, ahead, stop, classes)
                    if unit == _NOTHING:
                        break
                    state = combine(state, mix(spaced))
