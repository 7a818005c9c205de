"""Text in blocks of 64 bytes, a bit per byte, as the compiled kernels scan it.

A block of text becomes uint64 masks, bit k for byte i + k: of white space, of letters, of line
feeds. What would be a branch per character is then a few operations on a whole block (Langdale
and Lemire 2019, 'Parsing Gigabytes of JSON per Second', section 3.1, finds JSON's structure so):
`starts` and `ends` of words are where neighbouring bits differ, and `carry_through` passes along
runs of ones by the carry of an addition. Byte order is little-endian, as on every machine that
numba supports.

Nothing here reads outside `data`, which therefore must have at least `BLOCK` bytes: `padded`.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic as _intrinsic

from .unicode import SPACE, decode

BLOCK = 64

# Typed as the function that makes it, not as what kernels call.
intrinsic: Any = _intrinsic

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_ALL = np.uint64(2**64 - 1)

_BYTE = ir.IntType(8)
_WORD = ir.IntType(64)


def padded(data: np.ndarray) -> np.ndarray:
    """Return uint8 `data`, or a copy followed by zeros if it has fewer than `BLOCK` bytes."""
    if len(data) >= BLOCK:
        return data
    block = np.zeros(BLOCK, np.uint8)
    block[: len(data)] = data
    return block


def _pointer(context: Any, builder: Any, kind: Any, array: Any, i: Any, pointee: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [i]), pointee.as_pointer())


@intrinsic
def _load(typingctx, data, i):  # type: ignore[no-untyped-def]
    """Return `data[i:i + 8]` as a uint64, unaligned and unchecked."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        array, start = args
        pointer = _pointer(context, builder, signature.args[0], array, start, _WORD)
        return builder.load(pointer, align=1)

    return types.uint64(data, types.int64), generate


@intrinsic
def _block_between(typingctx, data, i, low, high):  # type: ignore[no-untyped-def]
    """Return the mask of the bytes of `data[i:i + 64]` in `low` to `high`, unchecked."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        array, start, low, high = args
        vector = ir.VectorType(_BYTE, BLOCK)
        pointer = _pointer(context, builder, signature.args[0], array, start, vector)
        # low <= byte <= high in one comparison: below low, the difference wraps around.
        lows, spans = (
            builder.shuffle_vector(
                builder.insert_element(vector(ir.Undefined), value, ir.IntType(32)(0)),
                vector(ir.Undefined),
                ir.VectorType(ir.IntType(32), BLOCK)([0] * BLOCK),
            )
            for value in (
                builder.trunc(low, _BYTE),
                builder.trunc(builder.sub(high, low), _BYTE),
            )
        )
        found = builder.icmp_unsigned(
            "<=", builder.sub(builder.load(pointer, align=1), lows), spans
        )
        return builder.bitcast(found, _WORD)

    return types.uint64(data, types.int64, types.int64, types.int64), generate


@intrinsic
def ones(typingctx, mask):  # type: ignore[no-untyped-def]
    """Return the number of ones in uint64 `mask`."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ctpop(args[0])

    return types.int64(types.uint64), generate


@intrinsic
def lowest(typingctx, mask):  # type: ignore[no-untyped-def]
    """Return the index of the lowest one in uint64 `mask`, 64 when there is none."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], cgutils.false_bit)

    return types.int64(types.uint64), generate


@intrinsic
def highest(typingctx, mask):  # type: ignore[no-untyped-def]
    """Return the index of the highest one in uint64 `mask`, -1 when there is none."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.sub(_WORD(63), builder.ctlz(args[0], cgutils.false_bit))

    return types.int64(types.uint64), generate


@numba.njit(cache=True, nogil=True, inline="always")
def load(data, i, stop):  # type: ignore[no-untyped-def]
    """Return the bytes of `data[i:min(i + 8, stop)]` as a uint64, zero above them; i < stop."""
    # At the end of the buffer: the last eight bytes, shifted to where they would be.
    start = min(i, len(data) - 8)
    value = _load(data, start) >> np.uint64(8 * (i - start))
    return value & (_ALL >> np.uint64(64 - 8 * min(stop - i, 8)))


@numba.njit(cache=True, nogil=True, inline="always")
def between(data, i, low, high):  # type: ignore[no-untyped-def]
    """Return the mask of the bytes of `data[i:i + 64]` in `low` to `high`, for i < len(data).

    Bits past the end of `data` are 0. For i = len(data), bit 0 is meaningless.
    """
    start = min(i, len(data) - BLOCK)
    return _block_between(data, start, low, high) >> np.uint64(min(i - start, 63))


@numba.njit(cache=True, nogil=True, inline="always")
def white_space(data, i, stop, classes, spill):  # type: ignore[no-untyped-def]
    """Return `(spaces, spill)`: the mask of the white space in `data[i:i + 64]`, for i <= stop.

    All bytes of a character count; those in the next block are the new `spill`, 0 at first.
    Bits at or past `stop` are ones, so a word always ends.
    """
    spaces = spill | between(data, i, 9, 13) | between(data, i, 28, 32)
    spill = _ZERO
    # The lead bytes of all other white space: U+0085, U+00A0; U+1680; U+2000 on; U+3000.
    leads = between(data, i, 0xC2, 0xC2) | between(data, i, 0xE1, 0xE3)
    if stop - i < BLOCK:
        past = _ALL << np.uint64(stop - i)
        spaces |= past
        leads &= ~past
    while leads != _ZERO:
        k = lowest(leads)
        leads &= leads - _ONE
        point, width = decode(data, i + k, stop)
        if classes[point] == SPACE:
            bits, over = character_bits(k, width)
            spaces |= bits
            spill |= over
    return spaces, spill


@numba.njit(cache=True, nogil=True, inline="always")
def character_bits(k, width):  # type: ignore[no-untyped-def]
    """Return the bits of `width` bytes (1 to 4) from k on, and those of them in the next block."""
    bits = (_ONE << np.uint64(width)) - _ONE
    return bits << np.uint64(k), (bits << np.uint64(4)) >> np.uint64(min(68 - k, 63))


@numba.njit(cache=True, nogil=True, inline="always")
def word_bounds(spaces, inside):  # type: ignore[no-untyped-def]
    """Return `(starts, ends, inside)`: the words' first bytes, the spaces that follow words.

    `inside` is 1 where a word goes on from the last block, and on into the next; at first 0.
    """
    solid = ~spaces
    after_solid = (solid << _ONE) | inside
    return solid & ~after_solid, spaces & after_solid, solid >> np.uint64(63)


@numba.njit(cache=True, nogil=True, inline="always")
def carry_through(runs, marks, carry):  # type: ignore[no-untyped-def]
    """Pass marks along runs of ones; `marks` lie within `runs`.

    Returns `(after, carry)`: a mask whose bit, where `runs` has a 0, says whether a mark lies in
    the run right before it; and whether (0 or 1) the next block's first run has been marked.
    """
    # A run's first mark turns the ones above it to zeros and carries into the zero that ends the
    # run; its other marks fall on those zeros and carry no further.
    half = runs + marks
    after = half + carry
    return after, np.uint64((half < runs) | (after < half))
