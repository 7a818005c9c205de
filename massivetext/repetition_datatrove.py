"""Gopher's repetition signals as datatrove measures them, for corpora that must match FineWeb's.

`config.Repetition.compat` selects this module instead of `repetition`, whose docstring says how we
read the paper. What datatrove's `GopherRepetitionFilter` (0.10) does otherwise, all of it kept:

- Of equal lines, paragraphs and n-grams the first is no duplicate: only later copies count.
- Lines are what lies between runs of line feeds, not stripped. A text that starts or ends with a
  line feed has an empty first or last line; when it does both, one is a copy of the other.
- Paragraphs are what lies between runs of two or more line feeds of the stripped text; a line of
  white space separates nothing. They are not stripped either.
- The denominator of every character ratio is the length of the text, white space included.
- Lines and paragraphs count with their inner white space, but without the line feeds between.
- The top n-gram is the most frequent one, of several the first; one that occurs once counts too.
  Its characters are its length, with a space between words whatever the text has, times its count:
  overlapping copies count twice, so that the ratio can exceed 1.
- Duplicate n-grams are searched from the left: a copy of an n-gram met before counts with the
  characters of its words, without spaces, and the search goes on after it; otherwise it goes on
  with the next word. n-grams within a copy are never looked at, so a longer n-gram can score more.
- There the words of an n-gram are concatenated before comparing: 'ab c' equals 'a bc'.

One thing differs: datatrove's words are the tokens of a tokenizer (spaCy's for English, where
punctuation is a token of its own); ours are maximal runs of characters that are not white space.
"""

import numba
import numpy as np

from .quality import ratio, readonly
from .repetition import DUPLICATE, TOP
from .scan import BLOCK, padded
from .unicode import SPACE, classes, decode
from .words import combine, mix, word_hash

_MIN_TOP, _MAX_TOP = TOP[0], TOP[-1]
_MIN_DUPLICATE, _MAX_DUPLICATE = DUPLICATE[0], DUPLICATE[-1]

# Columns of the kernel's counts; those of the n-grams follow from `_NGRAMS` on.
_CHARACTERS = 0
_LINES, _DUPLICATE_LINES, _LINE_CHARACTERS = 1, 2, 3
_PARAGRAPHS, _DUPLICATE_PARAGRAPHS, _PARAGRAPH_CHARACTERS = 4, 5, 6
_NGRAMS = 7

# Bytes by which n-grams are told apart at first.
_PREFIX = 16

_LINE_FEED, _BLANK = 10, 32
_FREE = np.uint64(0)
_NOTHING = np.uint64(0)
_ONE = np.uint64(1)


def signals(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    """Measure n documents; time and memory are linear in their bytes, and the longest's.

    A text without words scores 0 in every n-gram; datatrove drops an empty one as such.

    Args:
      data: uint8 UTF-8 bytes.
      offsets: n + 1 int64 offsets into `data`, as from `document.text_buffers`.

    Returns:
      float64 arrays of n values each, under the names of `repetition.signals`. All but the
      `top_*` are fractions.
    """
    counts = np.zeros((len(offsets) - 1, _NGRAMS + len(TOP) + len(DUPLICATE)), np.int64)
    longest = int(np.diff(offsets).max(initial=0))
    _count(readonly(padded(data)), readonly(offsets), classes(), longest, counts)
    characters = counts[:, _CHARACTERS]
    out = {
        "duplicate_lines": ratio(counts[:, _DUPLICATE_LINES], counts[:, _LINES]),
        "duplicate_paragraphs": ratio(counts[:, _DUPLICATE_PARAGRAPHS], counts[:, _PARAGRAPHS]),
        "duplicate_line_characters": ratio(counts[:, _LINE_CHARACTERS], characters),
        "duplicate_paragraph_characters": ratio(counts[:, _PARAGRAPH_CHARACTERS], characters),
    }
    for column, n in enumerate(TOP + DUPLICATE, _NGRAMS):
        name = f"top_{n}gram" if n in TOP else f"duplicate_{n}gram"
        out[name] = ratio(counts[:, column], characters)
    return out


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    signals(np.zeros(0, np.uint8), np.zeros(1, np.int64))


# A set of keys is an open-addressing table of uint64, 0 where free, of which the first `mask + 1`
# slots are in use. It is sized for the items to come, so short documents touch little memory.


@numba.njit(cache=True, nogil=True, inline="always")
def clear(slots, items):  # type: ignore[no-untyped-def]
    """Empty the set for at most `items` keys; return its mask. `slots` has `slots_for(items)`."""
    used = slots_for(items)
    slots[:used] = _FREE
    return used - 1


@numba.njit(cache=True, nogil=True, inline="always")
def slots_for(items):  # type: ignore[no-untyped-def]
    """Return how many slots hold `items` keys: a power of two, at most half of it in use."""
    used = 16
    while used < 2 * items:
        used *= 2
    return used


@numba.njit(cache=True, nogil=True, inline="always")
def find(slots, mask, key):  # type: ignore[no-untyped-def]
    """Return the slot that holds `key` (a mixed uint64, not 0), or the free one that it goes to."""
    slot = np.int64(key >> np.uint64(20)) & mask
    while slots[slot] != _FREE and slots[slot] != key:
        slot = (slot + 1) & mask
    return slot


@numba.njit(cache=True, nogil=True, inline="always")
def line_feeds(data, i, stop):  # type: ignore[no-untyped-def]
    """Return the number of line feeds in `data[i:stop]`."""
    count = 0
    for k in range(i, stop):
        count += data[k] == _LINE_FEED
    return count


@numba.njit(cache=True, nogil=True, inline="always")
def bytes_key(data, i, stop):  # type: ignore[no-untyped-def]
    """Return a uint64 hash of the bytes `data[i:stop]`, possibly none, that is not 0."""
    return _ONE if i == stop else word_hash(data, i, stop) | _ONE


@numba.njit(cache=True, nogil=True)
def _duplicates(data, i, stop, separator, slots):  # type: ignore[no-untyped-def]
    """Split `data[i:stop]` at runs of at least `separator` line feeds.

    Returns:
      How many parts there are, how many of them equal an earlier one, and the latter's characters.
    """
    # As many parts as there are line feeds, and one; they alternate with runs of those.
    mask = clear(slots, min(line_feeds(data, i, stop), (stop - i + 1) // 2) + 1)
    parts = copies = within = characters = 0
    begin = i
    while True:
        run = i
        while run < stop and data[run] == _LINE_FEED:
            run += 1
        if i == stop or run - i >= separator:
            parts += 1
            key = bytes_key(data, begin, i)
            slot = find(slots, mask, key)
            if slots[slot] == key:
                copies += 1
                within += characters
            slots[slot] = key
            if i == stop:
                return parts, copies, within
            begin = run
            characters = 0
        else:
            characters += run - i
        i = run
        while i < stop and data[i] != _LINE_FEED:
            characters += (data[i] & 0xC0) != 0x80
            i += 1


@numba.njit(cache=True, nogil=True)
def _top(hashes, characters, words, n, slots, counts, places):  # type: ignore[no-untyped-def]
    """Return the characters of the top n-gram of `words` >= n words, as often as it occurs."""
    mask = clear(slots, words - n + 1)
    most = 0
    for i in range(words - n + 1):
        key = _NOTHING
        for k in range(i, i + n):
            key = combine(key, hashes[k])
        key = mix(key) | _ONE
        slot = find(slots, mask, key)
        if slots[slot] != key:
            slots[slot] = key
            counts[slot] = 0
        counts[slot] += 1
        places[i] = slot
        most = max(most, counts[slot])
    first = 0
    while counts[places[first]] != most:
        first += 1
    return (characters[first + n] - characters[first] + n - 1) * most


@numba.njit(cache=True, nogil=True)
def _mark_shared(joined, starts, words, slots, firsts, shared):  # type: ignore[no-untyped-def]
    """Set `shared[i]` where the `_PREFIX` bytes from word i are also those from another word."""
    mask = clear(slots, words)
    for i in range(words):
        key = bytes_key(joined, starts[i], min(starts[i] + _PREFIX, starts[words]))
        slot = find(slots, mask, key)
        shared[i] = slots[slot] == key
        if shared[i]:
            shared[firsts[slot]] = True
        else:
            slots[slot] = key
            firsts[slot] = i


@numba.njit(cache=True, nogil=True)
def _repeated(joined, starts, shared, characters, words, n, slots):  # type: ignore[no-untyped-def]
    """Return the characters of the n-grams that the search from the left meets again."""
    mask = clear(slots, words - n + 1)
    repeated = 0
    i = 0
    while i + n <= words:
        if not shared[i] and starts[i + n] - starts[i] >= _PREFIX:
            # Most n-grams: no other begins like this one, so it neither is nor has a copy.
            i += 1
            continue
        key = bytes_key(joined, starts[i], starts[i + n])
        slot = find(slots, mask, key)
        if slots[slot] == key:
            repeated += characters[i + n] - characters[i]
            i += n
        else:
            slots[slot] = key
            i += 1
    return repeated


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, classes, longest, out):  # type: ignore[no-untyped-def]
    # Scratch for the longest document, of which the system maps a page only when it is touched.
    # Word i is joined[starts[i]:starts[i + 1]], the words without the white space between them;
    # characters[i] is the number of characters before it.
    capacity = longest // 2 + 1
    joined = np.empty(longest + BLOCK, np.uint8)
    hashes = np.empty(capacity, np.uint64)
    starts = np.empty(capacity + 1, np.int64)
    characters = np.empty(capacity + 1, np.int64)
    slots = np.empty(slots_for(capacity + 1), np.uint64)
    counts = np.empty(slots_for(capacity), np.int64)
    places = np.empty(capacity, np.int64)
    shared = np.empty(capacity, np.bool_)

    for row in range(len(offsets) - 1):
        begin = offsets[row]
        stop = offsets[row + 1]
        text = words = solid = end = 0
        stripped = stripped_stop = begin
        within_word = False
        for i in range(begin, stop):
            byte = data[i]
            if (byte & 0xC0) != 0x80:
                text += 1
                space = False
                if byte <= _BLANK:
                    space = classes[byte] == SPACE
                elif 0xC0 <= byte < 0xE4:
                    # Beyond U+3FFF there is no white space.
                    point, _ = decode(data, i, stop)
                    space = classes[point] == SPACE
                if not space:
                    if not within_word:
                        starts[words] = end
                        characters[words] = solid
                        words += 1
                        if end == 0:
                            stripped = i
                    solid += 1
                within_word = not space
            if within_word:
                joined[end] = byte
                end += 1
                stripped_stop = i + 1
        starts[words] = end
        characters[words] = solid
        for i in range(words):
            hashes[i] = word_hash(joined, starts[i], starts[i + 1])

        out[row, _CHARACTERS] = text
        (
            out[row, _LINES],
            out[row, _DUPLICATE_LINES],
            out[row, _LINE_CHARACTERS],
        ) = _duplicates(data, begin, stop, 1, slots)
        (
            out[row, _PARAGRAPHS],
            out[row, _DUPLICATE_PARAGRAPHS],
            out[row, _PARAGRAPH_CHARACTERS],
        ) = _duplicates(data, stripped, stripped_stop, 2, slots)
        column = _NGRAMS
        for n in range(_MIN_TOP, _MAX_TOP + 1):
            if n <= words:
                out[row, column] = _top(hashes, characters, words, n, slots, counts, places)
            column += 1
        _mark_shared(joined, starts, words, slots, counts, shared)
        for n in range(_MIN_DUPLICATE, _MAX_DUPLICATE + 1):
            if n <= words:
                out[row, column] = _repeated(joined, starts, shared, characters, words, n, slots)
            column += 1
