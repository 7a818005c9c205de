"""Gopher's repetition signals (Rae et al. 2021, A.1.1, 'Repetition Removal', Table A1).

`rules` holds them against the thresholds of `config.Repetition`.

Every copy of a duplicate counts, the first included, as 'contained within all duplicate n-grams'
reads. n-grams are compared as sequences of words; the characters of an n-gram are those of its
words, and where n-grams overlap each is counted once. White space is in no numerator and in no
denominator, so reflowing a text or indenting it does not change its scores.
"""

import numba
import numpy as np

from .errors import InputError
from .quality import ratio, readonly
from .unicode import classes
from .words import combine, scan_word, skip_space

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)

# Word numbers are int32, and there may be a word every two bytes.
MAX_BYTES = 2**32 - 2

# Columns of the kernel's counts; those of the n-grams follow from `_NGRAMS` on.
_CHARACTERS = 0
_LINES, _DUPLICATE_LINES, _LINE_CHARACTERS = 1, 2, 3
_PARAGRAPHS, _DUPLICATE_PARAGRAPHS, _PARAGRAPH_CHARACTERS = 4, 5, 6
_NGRAMS = 7
_MIN_N, _MAX_TOP_N, _MAX_N = TOP[0], TOP[-1], DUPLICATE[-1]

_FIRST_SLOTS = 256
_NONE = np.int32(-1)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def signals(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    """Measure n documents; time and memory are linear in their bytes, and the longest's.

    Lines end at `\\n`; paragraphs are separated by lines of white space. Both are compared after
    stripping, and empty ones do not count. A document without words scores 0 in everything.

    Args:
      data: uint8 UTF-8 bytes.
      offsets: n + 1 int64 offsets into `data`, as from `document.text_buffers`.

    Returns:
      float64 arrays of n values each, all fractions:
      `duplicate_lines`, `duplicate_paragraphs`: of the lines or paragraphs, those that occur more
      than once;
      `duplicate_line_characters`, `duplicate_paragraph_characters`: of the characters, those in
      such lines or paragraphs;
      `top_2gram` to `top_4gram`: of the characters, those in words covered by the n-gram that
      occurs most often, of several the one with most characters, of those the first in the text;
      0 when it occurs once;
      `duplicate_5gram` to `duplicate_10gram`: of the characters, those in words covered by any
      n-gram that occurs more than once.

    Raises:
      InputError: a document is longer than `MAX_BYTES`.
    """
    longest = int(np.diff(offsets).max(initial=0))
    if longest > MAX_BYTES:
        raise InputError(f"a document has {longest} bytes; split it to at most {MAX_BYTES}")
    counts = np.zeros((len(offsets) - 1, _NGRAMS + _MAX_N - _MIN_N + 1), np.int64)
    _count(readonly(data), readonly(offsets), classes(), longest // 2 + 1, counts)
    characters = counts[:, _CHARACTERS]
    out = {
        "duplicate_lines": ratio(counts[:, _DUPLICATE_LINES], counts[:, _LINES]),
        "duplicate_paragraphs": ratio(counts[:, _DUPLICATE_PARAGRAPHS], counts[:, _PARAGRAPHS]),
        "duplicate_line_characters": ratio(counts[:, _LINE_CHARACTERS], characters),
        "duplicate_paragraph_characters": ratio(counts[:, _PARAGRAPH_CHARACTERS], characters),
    }
    for n in TOP + DUPLICATE:
        name = f"top_{n}gram" if n in TOP else f"duplicate_{n}gram"
        out[name] = ratio(counts[:, _NGRAMS + n - _MIN_N], characters)
    return out


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    signals(np.zeros(0, np.uint8), np.zeros(1, np.int64))


# A table counts keys. `keys[k]` and `counts[k]` are those of the k-th different key, in order of
# first occurrence; `slots` is an open-addressing index of k + 1 over them, 0 where free, of which
# the first `mask + 1` are in use: short documents then touch only a little memory.


@numba.njit(cache=True, nogil=True, inline="always")
def _home(key, mask):  # type: ignore[no-untyped-def]
    """Return the slot where the search for `key` begins: high bits of a product mix them all."""
    return np.int64((key * _SPREAD) >> np.uint64(32)) & mask


@numba.njit(cache=True, nogil=True, inline="always")
def _intern(slots, mask, keys, counts, used, key):  # type: ignore[no-untyped-def]
    """Count uint64 `key`; return its number, which is `used` when the key is new."""
    slot = _home(key, mask)
    while True:
        number = slots[slot] - 1
        if number < 0:
            slots[slot] = used + 1
            keys[used] = key
            counts[used] = 1
            return used
        if keys[number] == key:
            counts[number] += 1
            return np.int64(number)
        slot = (slot + 1) & mask


@numba.njit(cache=True, nogil=True)
def _grow(slots, mask, keys, used):  # type: ignore[no-untyped-def]
    """Double the slots in use when the keys fill half of them; return the new mask."""
    if 2 * used <= mask:
        return mask
    mask = 2 * mask + 1
    slots[: mask + 1] = 0
    for number in range(used):
        slot = _home(keys[number], mask)
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = number + 1
    return mask


@numba.njit(cache=True, nogil=True, inline="always")
def _clear(slots):  # type: ignore[no-untyped-def]
    slots[:_FIRST_SLOTS] = 0
    return _FIRST_SLOTS - 1


@numba.njit(cache=True, nogil=True, inline="always")
def _duplicates(counts, characters, used):  # type: ignore[no-untyped-def]
    """Return how many items, and characters, belong to keys that occur more than once."""
    items = 0
    within = 0
    for number in range(used):
        if counts[number] > 1:
            items += counts[number]
            within += np.int64(counts[number]) * characters[number]
    return items, within


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, classes, capacity, out):  # type: ignore[no-untyped-def]
    # Scratch for the longest document, of which the system maps a page only when it is touched.
    # Nothing is reallocated below: an array that changes in a loop costs an atomic count each turn.
    capacity_slots = _FIRST_SLOTS
    while capacity_slots < 2 * capacity + 2:
        capacity_slots *= 2
    grams = np.empty(capacity, np.int32)
    lengths = np.empty(capacity, np.int32)
    active = np.empty(capacity, np.int32)
    keys = np.empty(capacity, np.uint64)
    counts = np.empty(capacity, np.int32)
    slots = np.empty(capacity_slots, np.int32)
    line_keys = np.empty(capacity, np.uint64)
    line_counts = np.empty(capacity, np.int32)
    line_characters = np.empty(capacity, np.int64)
    line_slots = np.empty(capacity_slots, np.int32)
    paragraph_keys = np.empty(capacity, np.uint64)
    paragraph_counts = np.empty(capacity, np.int32)
    paragraph_characters = np.empty(capacity, np.int64)
    paragraph_slots = np.empty(capacity_slots, np.int32)

    for row in range(len(offsets) - 1):
        i = offsets[row]
        stop = offsets[row + 1]
        mask = _clear(slots)
        line_mask = _clear(line_slots)
        paragraph_mask = _clear(paragraph_slots)
        used = line_used = paragraph_used = 0
        words = lines = paragraphs = total = 0
        line = paragraph = np.uint64(0)
        line_length = paragraph_length = 0

        # Words are numbered; lines and paragraphs are hashed as words and the white space between.
        while True:
            i, line_feeds, gap = skip_space(data, i, stop, classes)
            if words > 0 and (line_feeds > 0 or i == stop):
                lines += 1
                k = _intern(line_slots, line_mask, line_keys, line_counts, line_used, line)
                if k == line_used:
                    line_characters[k] = line_length
                    line_used += 1
                    line_mask = _grow(line_slots, line_mask, line_keys, line_used)
                paragraph = combine(paragraph, line)
                paragraph_length += line_length
                line = np.uint64(0)
                line_length = 0
                if line_feeds > 1 or i == stop:
                    paragraphs += 1
                    k = _intern(
                        paragraph_slots,
                        paragraph_mask,
                        paragraph_keys,
                        paragraph_counts,
                        paragraph_used,
                        paragraph,
                    )
                    if k == paragraph_used:
                        paragraph_characters[k] = paragraph_length
                        paragraph_used += 1
                        paragraph_mask = _grow(
                            paragraph_slots, paragraph_mask, paragraph_keys, paragraph_used
                        )
                    paragraph = np.uint64(0)
                    paragraph_length = 0
            if i == stop:
                break
            i, length, word = scan_word(data, i, stop, classes)
            if line_length > 0:
                line = combine(line, gap)
            elif paragraph_length > 0:
                paragraph = combine(paragraph, gap)
            line = combine(line, word)
            line_length += length
            total += length
            k = _intern(slots, mask, keys, counts, used, word)
            if k == used:
                used += 1
                mask = _grow(slots, mask, keys, used)
            grams[words] = k
            lengths[words] = length
            words += 1

        out[row, _CHARACTERS] = total
        out[row, _LINES] = lines
        out[row, _PARAGRAPHS] = paragraphs
        out[row, _DUPLICATE_LINES], out[row, _LINE_CHARACTERS] = _duplicates(
            line_counts, line_characters, line_used
        )
        out[row, _DUPLICATE_PARAGRAPHS], out[row, _PARAGRAPH_CHARACTERS] = _duplicates(
            paragraph_counts, paragraph_characters, paragraph_used
        )

        # From here on `grams[i]` numbers the n-gram that starts at word i, or is _NONE where that
        # n-gram occurs once: then no longer one that starts there occurs twice. `active` lists the
        # starts that are left, in order. An n-gram is the pair of (n-1)-grams it consists of.
        left = 0
        for i in range(words):
            if counts[grams[i]] > 1:
                active[left] = i
                left += 1
            else:
                grams[i] = _NONE
        for n in range(_MIN_N, _MAX_N + 1):
            mask = _clear(slots)
            used = 0
            most = 1
            candidates = 0
            for a in range(left):
                i = active[a]
                if i + 1 < words and i + n <= words and grams[i + 1] != _NONE:
                    key = (np.uint64(grams[i]) << np.uint64(32)) | np.uint64(grams[i + 1])
                    k = _intern(slots, mask, keys, counts, used, key)
                    if k == used:
                        used += 1
                        mask = _grow(slots, mask, keys, used)
                    most = max(most, counts[k])
                    grams[i] = k
                    active[candidates] = i
                    candidates += 1
                else:
                    grams[i] = _NONE
            left = 0
            for a in range(candidates):
                i = active[a]
                if counts[grams[i]] > 1:
                    active[left] = i
                    left += 1
                else:
                    grams[i] = _NONE
            if left == 0:
                break

            top = _NONE
            if n <= _MAX_TOP_N:
                longest = 0
                for a in range(left):
                    i = active[a]
                    if counts[grams[i]] == most:
                        length = 0
                        for k in range(i, i + n):
                            length += lengths[k]
                        if length > longest:
                            longest = length
                            top = grams[i]
            covered = 0
            covered_stop = 0
            for a in range(left):
                i = active[a]
                if top == _NONE or grams[i] == top:
                    for k in range(max(i, covered_stop), i + n):
                        covered += lengths[k]
                    covered_stop = i + n
            out[row, _NGRAMS + n - _MIN_N] = covered
