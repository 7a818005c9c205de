"""CRC-32C by instruction and by tables, against Google's library and against long division."""

import json
import os
import subprocess
import sys

import google_crc32c
import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir

from massivetext import crc32c
from massivetext.crc32c import (
    INITIAL,
    POLYNOMIAL,
    TABLES,
    byte_by_table,
    crc_of_three,
    word_by_table,
)

PROCESSORS = {
    "x86_64-unknown-linux-gnu": "+crc32",
    "aarch64-unknown-linux-gnu": "+crc",
    "arm64-apple-darwin": "+crc",
}


def divided(data):
    """The remainder, bit by bit."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (POLYNOMIAL if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def of_three(data, starts, size):
    return [int(crc) for crc in crc_of_three(np.frombuffer(data, np.uint8), *starts, size)]


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_known_answers(data, crc):
    """RFC 3720, appendix B.4, and the usual check value."""
    assert of_three(data, (0, 0, 0), len(data)) == [crc] * 3
    assert divided(data) == google_crc32c.value(data) == crc


@given(st.binary(max_size=300), st.data())
def test_three_pieces_each_have_their_own(data, draw):
    size = draw.draw(st.integers(0, len(data)))
    starts = [draw.draw(st.integers(0, len(data) - size)) for _ in range(3)]
    expected = [google_crc32c.value(data[start : start + size]) for start in starts]
    assert of_three(data, starts, size) == expected


@given(st.binary(max_size=80))
def test_tables_do_what_the_instructions_do(data):
    state = INITIAL
    whole = len(data) - len(data) % 8
    for word in np.frombuffer(data[:whole], "<u8"):
        state = word_by_table(state, word)
    for byte in np.frombuffer(data[whole:], np.uint8):
        state = byte_by_table(state, byte)
    assert int(state ^ INITIAL) == google_crc32c.value(data) == divided(data)


def test_the_first_table_is_that_of_single_bytes():
    assert (TABLES.shape, TABLES.dtype) == ((8, 256), np.uint32)
    assert [int(TABLES[0, i]) for i in (0, 1, 128, 255)] == [0, 0xF26B8303, POLYNOMIAL, 0xAD7D5351]


PROGRAM = """
import json, sys
import numpy as np
from massivetext.crc32c import crc_of_three
data = np.random.default_rng(0).integers(0, 256, 200).astype(np.uint8)
crcs = crc_of_three(data, 3, 50, 100, 93)
print(json.dumps([list(map(int, crcs)), "crc32" in crc_of_three.inspect_asm(
    crc_of_three.signatures[0]).replace("massivetext", "").replace("crc32c", "")]))
"""


def test_a_processor_without_the_instruction_gives_the_same(tmp_path):
    """numba is told that there is none."""
    named = {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **named, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    found, instruction = json.loads(done.stdout)
    data = np.random.default_rng(0).integers(0, 256, 200).astype(np.uint8).tobytes()
    assert found == [google_crc32c.value(data[start : start + 93]) for start in (3, 50, 100)]
    assert not instruction


def emitted(triple, features, emit, width):
    """The assembly of a function that does one step, or None."""
    module = ir.Module()
    module.triple = triple
    kind = ir.FunctionType(ir.IntType(32), [ir.IntType(32), ir.IntType(width)])
    function = ir.Function(module, kind, "step")
    builder = ir.IRBuilder(function.append_basic_block())
    state = emit(builder, (triple, "generic", features), *function.args)
    if state is None:
        return None
    builder.ret(state)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(features=features)
    return machine.emit_assembly(llvm.parse_assembly(str(module)))


@pytest.mark.parametrize("triple", PROCESSORS)
def test_each_processor_has_its_instructions(triple):
    try:
        llvm.initialize_all_targets()
        llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"llvmlite was built without {triple}")
    word, byte = ("crc32q", "crc32b") if triple.startswith("x86") else ("crc32cx", "crc32cb")
    features = PROCESSORS[triple]
    assert word in emitted(triple, features, crc32c.emit_word, 64)
    assert byte in emitted(triple, features, crc32c.emit_byte, 8)


@pytest.mark.parametrize(
    ("triple", "features"),
    [
        ("x86_64-unknown-linux-gnu", "+sse4.2"),
        ("x86_64-unknown-linux-gnu", "-crc32"),
        ("i686-unknown-linux-gnu", "+crc32"),  # has no instruction for 64 bits
        ("aarch64-unknown-linux-gnu", "+crc32"),
        ("riscv64-unknown-linux-gnu", ""),
    ],
)
def test_no_instruction_is_assumed(triple, features):
    assert emitted(triple, features, crc32c.emit_word, 64) is None
    assert emitted(triple, features, crc32c.emit_byte, 8) is None
