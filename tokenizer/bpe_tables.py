"""The tables that compiled BPE reads, made of the pieces of a model."""

from typing import NamedTuple

import numpy as np
from numba import njit

from massivetext.hashing import avalanche, hash_bytes

from .model_file import Pieces, PieceType

CODE_POINTS = 0x110000
ESCAPE = "\u2581".encode()

NONE = np.uint64(0xFFFFFFFFFFFFFFFF)
_SEED = np.uint64(0)
_32 = np.uint64(32)

# Pairs of characters that are not both ASCII share this many bits by hash: one that is taken for
# joined only makes a segment longer.
_JOINED_BITS = 20


class Tables(NamedTuple):
    """A BPE model as arrays.

    Attributes:
      characters: int32 [CODE_POINTS], id of each character, -1 where it is no piece.
      byte_ids: int32 [256], id of each byte.
      pairs: uint64 [2 * slots], a hash table: left id and right id (32 bits each), then rank and id
        of what they make; the rank grows as the score falls.
      may_end: uint8 [256 * 256], whether a segment may end between two bytes: 0 within a character
        and between two ASCII characters that stand side by side in a piece.
      joined: uint64, whether two other characters do, one bit for each hash.
    """

    characters: np.ndarray
    byte_ids: np.ndarray
    pairs: np.ndarray
    may_end: np.ndarray
    joined: np.ndarray


def make_tables(pieces: Pieces) -> Tables | None:
    """Return the tables of a model, or None if it has what they cannot express.

    That is: user-defined or unused pieces, a byte or the space that is no piece, a score that is
    not a number, a piece with a character that is none itself, two pieces with one text.
    """
    types = pieces.types
    special = {PieceType.USER_DEFINED, PieceType.UNUSED}
    if special.intersection(types.tolist()) or not np.isfinite(pieces.scores).all():
        return None
    numbers = {text: i for i, text in enumerate(pieces.texts)}
    if len(numbers) < len(types):
        return None
    byte_ids = [numbers.get(b"<0x%02X>" % byte, -1) for byte in range(256)]
    if min(byte_ids) < 0 or any(types[i] != PieceType.BYTE for i in byte_ids):
        return None
    # A real space in a piece is never met: SentencePiece looks for U+2581 alone.
    normal = [
        i for i in np.flatnonzero(types == PieceType.NORMAL).tolist() if b" " not in pieces.texts[i]
    ]
    texts = [pieces.texts[i].replace(ESCAPE, b" ") for i in normal]
    characters = np.full(CODE_POINTS, -1, np.int32)
    for i, text in zip(normal, texts, strict=True):
        if len(string := text.decode()) == 1:
            characters[ord(string)] = i
    reserved = [pieces.texts[i] for i in np.flatnonzero(types != PieceType.NORMAL)]
    if characters[ord(" ")] < 0 or any(len(text.decode()) < 2 for text in reserved):
        return None
    data = np.frombuffer(b"".join(texts) + b"\0", np.uint8)
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    ranks = _ranks(pieces.scores)
    ids = np.array(normal, np.int64)
    may_end = np.ones(256 * 256, np.uint8)
    may_end.reshape(256, 256)[:, 0x80:0xC0] = 0
    joined = np.zeros(1 << (_JOINED_BITS - 6), np.uint64)
    if not _join(data, offsets, characters, may_end, joined):
        return None
    index = np.full(_slots(len(texts)), -1, np.int64)
    _index(data, offsets, index)
    count = _pair(data, offsets, index, ids, ranks, np.zeros(0, np.uint64))
    pairs = np.full(2 * _slots(count), NONE, np.uint64)
    _pair(data, offsets, index, ids, ranks, pairs)
    return Tables(characters, np.array(byte_ids, np.int32), pairs, may_end, joined)


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Return the rank of each score, 0 for the highest, uint64; equal scores have equal ranks.

    SentencePiece orders scores by their bits, so -0.0 comes after 0.0.
    """
    bits = scores.view(np.int32).astype(np.int64)
    ordered = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return np.unique(-ordered, return_inverse=True)[1].astype(np.uint64)


def _slots(count: int) -> int:
    """Return a power of two that `count` entries fill to a half at most."""
    return 1 << max(4, (2 * count - 1).bit_length())


@njit(inline="always")
def character(data, i):
    """Code point at byte `i` of valid UTF-8, and its number of bytes."""
    first = np.int64(data[i])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | np.int64(data[i + 1]) & 0x3F, 2
    if first < 0xF0:
        return (
            (first & 0x0F) << 12
            | (np.int64(data[i + 1]) & 0x3F) << 6
            | np.int64(data[i + 2]) & 0x3F,
            3,
        )
    return (
        (first & 0x07) << 18
        | (np.int64(data[i + 1]) & 0x3F) << 12
        | (np.int64(data[i + 2]) & 0x3F) << 6
        | np.int64(data[i + 3]) & 0x3F,
        4,
    )


@njit(inline="always")
def bit_of(left, right):
    """Where the pair of two code points stands in `Tables.joined`."""
    h = avalanche(np.uint64(left) << _32 | np.uint64(right)) & np.uint64((1 << _JOINED_BITS) - 1)
    return h >> np.uint64(6), np.uint64(1) << (h & np.uint64(63))


@njit(cache=True)
def _join(data, offsets, characters, may_end, joined):
    """Note which characters stand side by side; return whether each of them is a piece."""
    for piece in range(len(offsets) - 1):
        last = np.int64(-1)
        i = offsets[piece]
        while i < offsets[piece + 1]:
            point, size = character(data, i)
            if characters[point] < 0:
                return False
            if last >= 0:
                if last < 128 and point < 128:
                    may_end[last << 8 | point] = 0
                else:
                    word, bit = bit_of(last, point)
                    joined[word] |= bit
            last = point
            i += size
    return True


@njit(cache=True)
def _same(data, a, b, size):
    for k in range(size):  # noqa: SIM110 - a compiled loop
        if data[a + k] != data[b + k]:
            return False
    return True


@njit(cache=True)
def _find(data, offsets, index, start, stop):
    """Number of the piece spelled `data[start:stop]`, or -1."""
    mask = np.uint64(len(index) - 1)
    slot = hash_bytes(data, start, stop, _SEED) & mask
    while index[slot] >= 0:
        found = index[slot]
        size = offsets[found + 1] - offsets[found]
        if size == stop - start and _same(data, start, offsets[found], size):
            return found
        slot = (slot + np.uint64(1)) & mask
    return -1


@njit(cache=True)
def _index(data, offsets, index):
    mask = np.uint64(len(index) - 1)
    for piece in range(len(offsets) - 1):
        slot = hash_bytes(data, offsets[piece], offsets[piece + 1], _SEED) & mask
        while index[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        index[slot] = piece


@njit(cache=True)
def _pair(data, offsets, index, ids, ranks, pairs):
    """Enter every way to make a piece of two into `pairs`, unless it is empty; count them."""
    count = 0
    mask = np.uint64(len(pairs) // 2 - 1)
    for piece in range(len(offsets) - 1):
        start, stop = offsets[piece], offsets[piece + 1]
        for cut in range(start + 1, stop):
            if data[cut] & 0xC0 == 0x80:
                continue
            left = _find(data, offsets, index, start, cut)
            if left < 0:
                continue
            right = _find(data, offsets, index, cut, stop)
            if right < 0:
                continue
            count += 1
            if len(pairs) == 0:
                continue
            key = np.uint64(ids[left]) << _32 | np.uint64(ids[right])
            slot = avalanche(key) & mask
            while pairs[np.uint64(2) * slot] != NONE:
                slot = (slot + np.uint64(1)) & mask
            pairs[np.uint64(2) * slot] = key
            value = ranks[ids[piece]] << _32 | np.uint64(ids[piece])
            pairs[np.uint64(2) * slot + np.uint64(1)] = value
    return count
