"""CRC-32C (Castagnoli; RFC 3720, appendix B.4) inside compiled kernels, by the CPU's own
instruction.

x86-64 with SSE 4.2 and AArch64 with the CRC extension have one for eight bytes; which of them there
is, is asked of the target that numba compiles for, so that a kernel from numba's cache never meets
a processor without it. Elsewhere eight tables do the same (Kounavis and Berry 2008, "slicing by
8"). The states in here are as the instruction keeps them: a CRC begins with `INITIAL` and ends with
`crc ^ INITIAL`.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .hashing import load

INITIAL = np.uint32(0xFFFFFFFF)
POLYNOMIAL = 0x82F63B78  # bits reversed

# Triple, processor and features, as numba's `magic_tuple` has them.
Target = tuple[str, str, str]

_WORD, _HALF, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)


def _tables() -> np.ndarray:
    """Return uint32 [8, 256]: what a byte does to the state after 0 to 7 more bytes."""
    tables = np.zeros((8, 256), np.uint32)
    state = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        state = (state >> np.uint32(1)) ^ np.where(state & np.uint32(1), POLYNOMIAL, 0).astype("u4")
    tables[0] = state
    for i in range(1, 8):
        before = tables[i - 1]
        tables[i] = tables[0][before & np.uint32(0xFF)] ^ (before >> np.uint32(8))
    return tables


TABLES = _tables()


def word_by_table(crc, word):  # type: ignore[no-untyped-def]
    """Return the state, uint32, after the eight bytes of `word` (uint64, little-endian)."""
    word = np.uint64(word) ^ np.uint64(crc)
    state = np.uint32(0)
    for i in range(8):
        state ^= TABLES[7 - i, (word >> np.uint64(8 * i)) & np.uint64(0xFF)]
    return state


def byte_by_table(crc, byte):  # type: ignore[no-untyped-def]
    """Return the state, uint32, after one byte (uint8)."""
    return TABLES[0, (crc ^ np.uint32(byte)) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))


class _Instructions(NamedTuple):
    """LLVM's names of the instructions for eight bytes and for one, and how wide the first takes
    its state, and the second its byte."""

    feature: str
    word: str
    word_state: ir.IntType
    byte: str
    byte_operand: ir.IntType


_ARM = _Instructions("+crc", "llvm.aarch64.crc32cx", _HALF, "llvm.aarch64.crc32cb", _HALF)
_INSTRUCTIONS = {
    "x86_64": _Instructions(
        "+crc32", "llvm.x86.sse42.crc32.64.64", _WORD, "llvm.x86.sse42.crc32.32.8", _BYTE
    ),
    "aarch64": _ARM,
    "arm64": _ARM,
}


def _instructions(target: Target) -> _Instructions | None:
    triple, _, features = target
    found = _INSTRUCTIONS.get(triple.partition("-")[0])
    return found if found is not None and found.feature in features.split(",") else None


def emit_word(builder: Any, target: Target, crc: Any, word: Any) -> Any:
    """Emit the instruction for a word; return its result, or None where there is none."""
    found = _instructions(target)
    if found is None:
        return None
    state = _call(builder, found.word, builder.zext(crc, found.word_state), word)
    return builder.trunc(state, _HALF)


def emit_byte(builder: Any, target: Target, crc: Any, byte: Any) -> Any:
    """Emit the instruction for a byte; otherwise as `emit_word`."""
    found = _instructions(target)
    if found is None:
        return None
    return _call(builder, found.byte, crc, builder.zext(byte, found.byte_operand))


def _call(builder: Any, name: str, state: Any, data: Any) -> Any:
    function = ir.FunctionType(state.type, [state.type, data.type])
    return builder.call(builder.module.declare_intrinsic(name, (), function), [state, data])


@intrinsic
def add_word(typingctx, crc, word):  # type: ignore[no-untyped-def]
    """Return the state `crc`, uint32, after the eight bytes of `word` (uint64, little-endian)."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        state = emit_word(builder, context.codegen().magic_tuple(), *args)
        if state is None:
            state = context.compile_internal(builder, word_by_table, sig, args)
        return state

    return types.uint32(types.uint32, types.uint64), codegen


@intrinsic
def add_byte(typingctx, crc, byte):  # type: ignore[no-untyped-def]
    """Return the state `crc`, uint32, after one byte (uint8)."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        state = emit_byte(builder, context.codegen().magic_tuple(), *args)
        if state is None:
            state = context.compile_internal(builder, byte_by_table, sig, args)
        return state

    return types.uint32(types.uint32, types.uint8), codegen


@njit(cache=True, nogil=True)
def crc_of_three(data, a, b, c, size):  # type: ignore[no-untyped-def]
    """Return the CRC-32C, uint32, of `size` bytes of `data` (uint8) from `a`, `b` and `c` on.

    An instruction takes three cycles and another can begin in each, so three at once take no longer
    than one.
    """
    x = y = z = INITIAL
    whole = size - size % 8
    for i in range(0, whole, 8):
        x = add_word(x, load(data, a + i))  # type: ignore[call-arg]
        y = add_word(y, load(data, b + i))  # type: ignore[call-arg]
        z = add_word(z, load(data, c + i))  # type: ignore[call-arg]
    for i in range(whole, size):
        x = add_byte(x, data[a + i])  # type: ignore[call-arg]
        y = add_byte(y, data[b + i])  # type: ignore[call-arg]
        z = add_byte(z, data[c + i])  # type: ignore[call-arg]
    return x ^ INITIAL, y ^ INITIAL, z ^ INITIAL
