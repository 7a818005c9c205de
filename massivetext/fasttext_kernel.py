"""From texts to the averages of their words' vectors: the first half of fastText's prediction.

As `FastText::predictLine` does for a text of one line: words are what lies between ASCII white
space and NUL, `</s>` closes the line, a word stands for its own row of the input matrix and for
those of its character n-grams, a run of words for those of its word n-grams.

Texts repeat their words, so the sum of a word's rows is kept in a cache. A word's sum is always
rounded to float32 on its own before it is added to its text, and a cached word is recognised by
all its bytes: the result for a text depends to the last bit on that text alone.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from .fasttext_dictionary import EMPTY_HASH, extend, find_bucket, find_entry, may_be_kept, modulo
from .fasttext_matrix import add_quantised, add_rows
from .fasttext_model import LABEL_PREFIX
from .hashing import avalanche, load

# A word of more bytes is not cached. As many are compared, 8 at a time; words hold no NUL, so the
# zeros after a shorter one keep it distinct.
MAX_CACHED = 24
_KEYS = MAX_CACHED // 8
_CACHE_BYTES = 8 << 20

# Rows are summed so many at a time, in float32, and the sums in float64.
_ROWS = 256

# fastText's addWordNgrams.
_NGRAM_FACTOR = np.uint64(116049371)

_LABEL = np.frombuffer(LABEL_PREFIX.encode(), np.uint8)
_LINE_END = np.frombuffer(b"</s>", np.uint8)
_LINE_END_KEY = np.uint64(int.from_bytes(_LINE_END.tobytes(), "little"))

_LESS = np.uint8(ord("<"))
_GREATER = np.uint8(ord(">"))
_NOTHING = np.uint64(0)
_EIGHT = np.uint64(8)
_THIRTY_TWO = np.uint64(32)
_SPREAD_0 = np.uint64(0x9E3779B97F4A7C15)
_SPREAD_1 = np.uint64(0xC2B2AE3D27D4EB4F)
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)

# Instead of an entry or a number of rows: a label in the text, which fastText leaves out.
_IS_LABEL = -2


class Cache(NamedTuple):
    """The sums of the rows of the words seen last, S slots; changed by the kernel."""

    keys: np.ndarray  # uint64 [S, 4]: the word's bytes, then its rows << 32 | its hash
    vectors: np.ndarray  # float32 [S, D]


def new_cache(dim: int) -> Cache:
    """Return an empty cache of at most 10 MB, or of 256 words where those take more."""
    slots = 256
    while slots < 1 << 16 and 2 * slots * dim * 4 <= _CACHE_BYTES:
        slots *= 2
    return Cache(np.zeros((slots, _KEYS + 1), np.uint64), np.zeros((slots, dim), np.float32))


@njit(cache=True, nogil=True, inline="always")
def _is_space(byte):
    return byte <= 32 and (byte == 32 or (9 <= byte <= 13) or byte == 0)


@njit(cache=True, nogil=True)
def _entry(content, starts, slots, words, source, start, stop):
    """Return `(entry, hash)` of a word: -1 where the dictionary lacks it, `_IS_LABEL` for labels.

    What the dictionary lacks is a label if it looks like one (`Dictionary::getType`).
    """
    h = EMPTY_HASH
    for k in range(start, stop):
        h = extend(h, source[k])
    entry = find_entry(content, starts, slots, h, source, start, stop)
    if entry >= words:
        return np.int64(_IS_LABEL), h
    if entry < 0 and stop - start >= len(_LABEL):
        for k in range(len(_LABEL)):
            if source[start + k] != _LABEL[k]:
                return entry, h
        return np.int64(_IS_LABEL), h
    return entry, h


@njit(cache=True, nogil=True)
def _characters(source, start, stop, first, ngrams, kept, pruned, base, rows, n):
    """Append the rows of the character n-grams of `<word>` from position `first` to `rows`.

    Position `start - 1` is the '<' before the word, position `stop` the '>' after it. Returns
    `(first, n)`: where to go on once there is room in `rows` again, `stop` when all is done, and
    the number of rows. N-grams that were pruned have none.
    """
    minn, maxn, bucket, inverse, is_pruned = ngrams
    begin = n
    while first < stop and n + maxn <= len(rows):
        if first >= start and (source[first] & 0xC0) == 0x80:
            first += 1
            continue
        h = EMPTY_HASH
        at = first
        length = 1
        while at <= stop and length <= maxn:
            if at == stop:
                h = extend(h, _GREATER)
            else:
                h = extend(h, source[at] if at >= start else _LESS)
            at += 1
            while at < stop and (source[at] & 0xC0) == 0x80:
                h = extend(h, source[at])
                at += 1
            if length >= minn and not (length == 1 and (first < start or at > stop)):
                row = modulo(h, bucket, inverse)
                rows[n] = base + row
                n += may_be_kept(kept, row) if is_pruned else 1
            length += 1
        first += 1
    if is_pruned:
        kept_rows = begin
        for k in range(begin, n):
            row = find_bucket(pruned, rows[k] - base)
            rows[kept_rows] = base + row
            kept_rows += row >= 0
        n = kept_rows
    return first, n


@njit(cache=True, nogil=True)
def _tail(data, start, stop):
    """Return the bytes from `start` to `stop`, fewer than 8, as a number."""
    key = _NOTHING
    for k in range(stop - start):
        key |= np.uint64(data[start + k]) << (np.uint64(k) * _EIGHT)
    return key


@njit(cache=True, nogil=True, inline="always")
def _key(data, start, stop):
    """Return the bytes from `start` to `stop`, up to 8 of them, as a number."""
    if start >= stop:
        key = _NOTHING
    elif start + 8 <= stop:
        key = load(data, start)
    elif start + 8 <= len(data):
        key = load(data, start) & (_FULL >> (np.uint64(start + 8 - stop) * _EIGHT))
    else:
        key = _tail(data, start, stop)
    return key


@njit(cache=True, nogil=True)
def average(weights, cache, data, offsets, hidden, has_rows):
    """Average the rows of the words of each of n texts, `data[offsets[i]:offsets[i + 1]]`.

    Args:
      weights: `Input` of a model of D dimensions; `cache`: from `new_cache(D)`, used with no
        other weights.
      data: uint8, `offsets`: int64 [n + 1].
      hidden: float32 [n, D], and has_rows: bool [n], False where no word has a row; filled.
    """
    # Arrays are counted references wherever they are passed: so a word that is in the cache is
    # dealt with right here, without a call.
    content, starts, slots, words = weights.content, weights.starts, weights.slots, weights.words
    maxn, bucket = weights.maxn, np.uint64(max(weights.bucket, 1))
    is_pruned, kept, pruned = weights.is_pruned, weights.kept, weights.pruned
    ngrams = (weights.minn, maxn, bucket, weights.reciprocal, is_pruned)
    is_quantised, dense = len(weights.matrix.codes) > 0, weights.matrix.dense
    keys, vectors = cache.keys, cache.vectors
    mask = np.uint64(len(keys) - 1)
    dim = vectors.shape[1]
    total = np.zeros(dim, np.float64)
    scratch = np.zeros(dim, np.float64)
    rows = np.zeros(_ROWS, np.int64)
    # The hashes of the word n-grams so far that start at each of the last words.
    span = max(weights.word_ngrams - 1, 0)
    runs = np.zeros(span, np.uint64)
    ngram_rows = np.zeros(_ROWS if span else 0, np.int64)

    end_entry, end_hash = _entry(content, starts, slots, words, _LINE_END, 0, len(_LINE_END))
    end_sum = np.zeros(dim, np.float32)
    if end_entry >= 0:
        rows[0] = end_entry
        if is_quantised:
            add_quantised(weights.matrix, rows, 1, scratch)
        else:
            add_rows(dense, rows, 1, scratch)
        for d in range(dim):
            end_sum[d] = np.float32(scratch[d])
    for text in range(len(offsets) - 1):
        i = offsets[text]
        end = offsets[text + 1]
        total[:] = 0
        count = np.int64(0)
        n_ngrams = np.int64(0)
        n_words = 0
        closed = False
        while not closed:
            while i < end and _is_space(data[i]):
                i += 1
            start = i
            while i < end and not _is_space(data[i]):
                i += 1
            key_0 = _key(data, start, i)
            closed = start == i or (key_0 == _LINE_END_KEY and i - start == len(_LINE_END))
            more = np.int64(0)
            h = end_hash
            if closed:
                # `</s>` has no character n-grams.
                more = np.int64(_IS_LABEL if end_entry == _IS_LABEL else end_entry >= 0)
                for d in range(dim):
                    total[d] += end_sum[d]
            else:
                key_1 = _key(data, start + 8, i)
                key_2 = _key(data, start + 16, i)
                mixed = avalanche((key_0 * _SPREAD_0 ^ key_1) * _SPREAD_1 ^ key_2)
                slot = np.int64(mixed & mask)
                is_short = i - start <= MAX_CACHED
                if (
                    is_short
                    and keys[slot, 0] == key_0
                    and keys[slot, 1] == key_1
                    and keys[slot, 2] == key_2
                ):
                    info = keys[slot, _KEYS]
                    h = np.uint32(info)
                    more = np.int64(np.int32(info >> _THIRTY_TWO))
                    for d in range(dim):
                        total[d] += vectors[slot, d]
                else:
                    entry, h = _entry(content, starts, slots, words, data, start, i)
                    scratch[:] = 0
                    rows[0] = entry
                    n = np.int64(entry >= 0)
                    first = start - 1 if maxn > 0 and entry != _IS_LABEL else i
                    while n or first < i:
                        first, n = _characters(
                            data, start, i, first, ngrams, kept, pruned, words, rows, n
                        )
                        if is_quantised:
                            add_quantised(weights.matrix, rows, n, scratch)
                        else:
                            add_rows(dense, rows, n, scratch)
                        more += n
                        n = np.int64(0)
                    if entry == _IS_LABEL:
                        more = np.int64(_IS_LABEL)
                    for d in range(dim):
                        total[d] += np.float32(scratch[d])
                    if is_short:
                        keys[slot, 0] = key_0
                        keys[slot, 1] = key_1
                        keys[slot, 2] = key_2
                        keys[slot, _KEYS] = np.uint64(np.uint32(more)) << _THIRTY_TWO | np.uint64(h)
                        for d in range(dim):
                            vectors[slot, d] = np.float32(scratch[d])
            if more != _IS_LABEL:
                count += more
            if span and more != _IS_LABEL:
                signed = np.uint64(np.int64(np.int32(h)))
                for k in range(min(n_words, span)):
                    runs[k] = runs[k] * _NGRAM_FACTOR + signed
                    row = np.int64(runs[k] % bucket)
                    if is_pruned:
                        row = find_bucket(pruned, row)
                    ngram_rows[n_ngrams] = words + row
                    n_ngrams += row >= 0
                runs[n_words % span] = signed
                n_words += 1
            if n_ngrams and (closed or n_ngrams + span > _ROWS):
                if is_quantised:
                    add_quantised(weights.matrix, ngram_rows, n_ngrams, total)
                else:
                    add_rows(dense, ngram_rows, n_ngrams, total)
                count += n_ngrams
                n_ngrams = np.int64(0)
        has_rows[text] = count > 0
        scale = 1 / count if count else 0.0
        for d in range(dim):
            hidden[text, d] = np.float32(total[d] * scale)
