import unicodedata

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext import unicode


@numba.njit
def _decode_all(data):
    points = np.zeros(len(data), np.int64)
    widths = np.zeros(len(data), np.int64)
    i = count = 0
    while i < len(data):
        points[count], widths[count] = unicode.decode(data, i, len(data))
        i += widths[count]
        count += 1
    return points[:count], widths[:count]


def test_table_is_that_of_python():
    table, python = unicode.classes(), unicode.python_classes()
    if unicodedata.unidata_version == unicode.version():
        assert np.array_equal(table, python)
    else:
        # A later Python only knows more characters, none of them white space.
        assert not table[table != python].any()
        assert np.array_equal(table & unicode.SPACE, python & unicode.SPACE)


def test_table_is_that_of_unicode_14():
    assert unicode.version() == "14.0.0"
    assert unicode.classes().shape == (0x110000,)
    assert unicode.classes().dtype == np.uint8


def test_table_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        unicode.classes()[0] = 1


@pytest.mark.parametrize(
    ("character", "flags"),
    [
        *((character, unicode.SPACE) for character in " \n\t\x1c\x85\u00a0\u2028\u3000"),
        *((character, unicode.ALPHABETIC) for character in "aZéßж日א"),
        *((character, unicode.PUNCTUATION) for character in ".#_…•+$😀^"),
        *((character, 0) for character in "0½\0\u0301\u200b\u200d"),
    ],
)
def test_classes(character, flags):
    assert unicode.classes()[ord(character)] == flags


def test_decodes_every_code_point():
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    text = "".join(map(chr, points))
    decoded, widths = _decode_all(np.frombuffer(text.encode(), np.uint8))
    assert decoded.tolist() == points
    assert widths.tolist() == [len(chr(point).encode()) for point in points]


@given(st.binary(max_size=50))
def test_decode_of_any_bytes_stays_in_bounds(data):
    points, widths = _decode_all(np.frombuffer(data, np.uint8))
    assert widths.sum() == len(data)
    assert ((points >= 0) & (points <= 0x10FFFF)).all()


@pytest.mark.parametrize("data", [b"\x80", b"\xe2\x80", b"\xf0\x9f\x98", b"\xff\xff\xff\xff"])
def test_decode_replaces_what_is_cut_short_or_too_high(data):
    points, _ = _decode_all(np.frombuffer(data, np.uint8))
    assert points[0] == 0xFFFD
