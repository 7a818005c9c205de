"""Exact tokens of words seen before, for whole Arrow buffers at a time.

A BPE model whose pieces hold no space after another character cannot merge across the start of a
run of spaces: each word with the spaces before it has the same tokens wherever it stands. So a
word is given to SentencePiece once, and found by its bytes after that. The cache is a bounded hash
table over arrays that compiled loops read; when it is full it starts afresh, which changes the
time and never the tokens.
"""

from collections.abc import Callable

import numpy as np
from numba import njit

from massivetext.hashing import hash_bytes

# Longer words are rare and do not come back; they are encoded each time.
MAX_WORD_BYTES = 64
MAX_WORDS = 1 << 18
_SEED = np.uint64(0)

_MISSING = -1


class WordCache:
    """Encodes rows of UTF-8 text word by word.

    Args:
      encode: gives the tokens of each of a list of words. A word is U+2581 alone, or spaces with
        the other characters that follow them up to the next boundary.
      after_ascii: begin words only at a space after a visible ASCII character (safe where the model
        normalises: other characters may turn into spaces or compose with their neighbours).
      dtype: type of a token.
      max_words: words held before the cache starts afresh; words are encoded so many at a time.
    """

    def __init__(
        self,
        encode: Callable[[list[str]], list[np.ndarray]],
        after_ascii: bool,
        dtype: np.dtype,
        max_words: int = MAX_WORDS,
    ):
        self._encode, self._after_ascii, self._dtype = encode, after_ascii, dtype
        self._max_words = max_words
        self._clear()

    def _clear(self) -> None:
        slots = 1 << (4 * self._max_words - 1).bit_length()
        self._slots = np.full(slots, _MISSING, np.int32)
        self._words = np.zeros(1 << 16, np.uint8)
        self._word_ends = np.zeros(self._max_words + 1, np.int64)
        self._tokens = np.zeros(1 << 16, self._dtype)
        self._token_ends = np.zeros(self._max_words + 1, np.int64)
        self._count = 0

    def encode(self, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `(tokens, offsets)` of the rows `data[offsets[i]:offsets[i + 1]]`.

        Raises:
          UnicodeDecodeError: the bytes are not UTF-8.
        """
        rows = len(offsets) - 1
        lengths = np.zeros(rows, np.int64)
        begins = np.empty(self._max_words, np.int64)
        ends = np.empty(self._max_words, np.int64)
        owners = np.empty(self._max_words, np.int64)
        blocks = [np.zeros(0, self._dtype)]
        row, position = 0, offsets[0]
        while True:
            count, row, position = _split(
                data, offsets, row, position, self._after_ascii, begins, ends, owners
            )
            if count == 0:
                break
            tokens, sizes = self._block(data, begins[:count], ends[:count])
            blocks.append(tokens)
            _add_at(lengths, owners[:count], sizes)
        out = np.zeros(rows + 1, np.int64)
        np.cumsum(lengths, out=out[1:])
        return np.concatenate(blocks), out

    def _block(
        self, data: np.ndarray, begins: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of at most `max_words` words, and the number of tokens of each."""
        entries = _lookup(data, begins, ends, self._slots, self._words, self._word_ends)
        new = _number(data, begins, ends, entries)
        if self._count + sum(len(word) <= MAX_WORD_BYTES for word in new) > self._max_words:
            self._clear()
            entries[:] = _MISSING
            new = _number(data, begins, ends, entries)
        if not new:
            return _emit(self._tokens, self._token_ends, entries)
        # All new words stand after the cache's tokens while this block is written out; only the
        # short ones stay.
        encoded = self._encode([word.decode() for word in new])
        count, used = self._count, self._token_ends[self._count]
        sizes = np.array([len(tokens) for tokens in encoded], np.int64)
        arena_ends = np.concatenate([self._token_ends[: count + 1], used + np.cumsum(sizes)])
        arena = np.concatenate([self._tokens[:used], *encoded]).astype(self._dtype, copy=False)
        out = _emit(arena, arena_ends, np.where(entries < 0, count - 2 - entries, entries))
        short = [i for i, word in enumerate(new) if len(word) <= MAX_WORD_BYTES]
        self._insert([new[i] for i in short], [encoded[i] for i in short])
        return out

    def _insert(self, words: list[bytes], encoded: list[np.ndarray]) -> None:
        if not words:
            return
        added = np.frombuffer(b"".join(words), np.uint8)
        start, stop = self._count, self._count + len(words)
        ends = self._word_ends[start] + np.cumsum([len(word) for word in words])
        self._words = _room(self._words, int(ends[-1]))
        self._words[self._word_ends[start] : ends[-1]] = added
        self._word_ends[start + 1 : stop + 1] = ends
        token_ends = self._token_ends[start] + np.cumsum([len(tokens) for tokens in encoded])
        self._tokens = _room(self._tokens, int(token_ends[-1]))
        self._tokens[self._token_ends[start] : token_ends[-1]] = np.concatenate(encoded)
        self._token_ends[start + 1 : stop + 1] = token_ends
        self._count = stop
        _index(self._slots, self._words, self._word_ends, start, stop)


def _number(
    data: np.ndarray, begins: np.ndarray, ends: np.ndarray, entries: np.ndarray
) -> list[bytes]:
    """Return the distinct missing words in order of appearance; number their `entries` -2, -3, …"""
    place: dict[bytes, int] = {}
    for i in np.flatnonzero(entries == _MISSING).tolist():
        word = data[begins[i] : ends[i]].tobytes()
        entries[i] = -2 - place.setdefault(word, len(place))
    return list(place)


def _room(array: np.ndarray, size: int) -> np.ndarray:
    """Return `array`, copied to at least twice its length when `size` does not fit."""
    if size <= len(array):
        return array
    larger = np.zeros(max(size, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def _escape_at(data, i, stop):
    """Whether U+2581, SentencePiece's own mark for a space, stands at byte `i`."""
    return i + 2 < stop and data[i] == 0xE2 and data[i + 1] == 0x96 and data[i + 2] == 0x81


@njit(cache=True, nogil=True)
def _split(data, offsets, row, position, after_ascii, begins, ends, owners):
    """Fill `begins`, `ends`, `owners` with the next words from `position` in `row` on."""
    count = 0
    while row < len(offsets) - 1:
        stop = offsets[row + 1]
        while position < stop:
            if count == len(begins):
                return count, row, position
            i = position
            if _escape_at(data, i, stop):
                i += 3
            else:
                i += 1
                while i < stop:
                    before = data[i - 1]
                    if data[i] == 0x20:
                        if after_ascii:
                            if 0x20 < before < 0x7F:
                                break
                        elif before != 0x20:
                            break
                    elif data[i] == 0xE2 and _escape_at(data, i, stop):
                        break
                    i += 1
            begins[count] = position
            ends[count] = i
            owners[count] = row
            count += 1
            position = i
        row += 1
        if row < len(offsets) - 1:
            position = offsets[row]
    return count, row, position


@njit(cache=True, nogil=True)
def _same(data, start, stop, words, start_word, stop_word):
    if stop - start != stop_word - start_word:
        return False
    for i in range(stop - start):  # noqa: SIM110 - a compiled loop
        if data[start + i] != words[start_word + i]:
            return False
    return True


@njit(cache=True, nogil=True)
def _lookup(data, begins, ends, slots, words, word_ends):
    """Return the entry of each word, int64, or -1 where the cache does not hold it."""
    entries = np.full(len(begins), _MISSING, np.int64)
    mask = np.uint64(len(slots) - 1)
    for i in range(len(begins)):
        start, stop = begins[i], ends[i]
        if stop - start > MAX_WORD_BYTES:
            continue
        slot = hash_bytes(data, start, stop, _SEED) & mask
        while slots[slot] >= 0:
            entry = slots[slot]
            if _same(data, start, stop, words, word_ends[entry], word_ends[entry + 1]):
                entries[i] = entry
                break
            slot = (slot + np.uint64(1)) & mask
    return entries


@njit(cache=True, nogil=True)
def _index(slots, words, word_ends, start, stop):
    """Enter the distinct, new words `start` to `stop` into the hash table."""
    mask = np.uint64(len(slots) - 1)
    for entry in range(start, stop):
        slot = hash_bytes(words, word_ends[entry], word_ends[entry + 1], _SEED) & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = entry


@njit(cache=True, nogil=True)
def _emit(arena, arena_ends, entries):
    """Return the tokens of `entries` one after another, and the number of tokens of each."""
    sizes = np.empty(len(entries), np.int64)
    total = 0
    for i in range(len(entries)):
        sizes[i] = arena_ends[entries[i] + 1] - arena_ends[entries[i]]
        total += sizes[i]
    out = np.empty(total, arena.dtype)
    position = 0
    for i in range(len(entries)):
        start = arena_ends[entries[i]]
        for k in range(sizes[i]):
            out[position + k] = arena[start + k]
        position += sizes[i]
    return out, sizes


@njit(cache=True, nogil=True)
def _add_at(lengths, owners, sizes):
    for i in range(len(owners)):
        lengths[owners[i]] += sizes[i]
