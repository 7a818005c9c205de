import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.encoding import codec_of, decode


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("latin1", "cp1252"),
        ("ISO-8859-1", "cp1252"),
        ("us-ascii", "cp1252"),
        ("UTF-8", "utf-8"),
        (" utf8 ", "utf-8"),
        ("gb2312", "gb18030"),
        ("Shift_JIS", "cp932"),
        ("windows-1251", "cp1251"),
        ("ISO-8859-9", "cp1254"),
        ("rot13", None),
        ("unicode_escape", None),
        ("", None),
        (None, None),
    ],
)
def test_labels_mean_what_browsers_take_them_for(label, codec):
    assert codec_of(label) == codec


def test_every_codec_exists():
    from massivetext.encoding import _LABELS

    assert [codecs.lookup(codec).name for codec in _LABELS]


def test_order_of_evidence():
    meta = b'<meta charset="windows-1251">'
    assert decode(codecs.BOM_UTF8 + "é".encode(), "latin1") == "é"
    assert decode(codecs.BOM_UTF16_LE + "é".encode("utf-16-le"), None) == "é"
    assert decode(codecs.BOM_UTF16_BE + "é".encode("utf-16-be"), None) == "é"
    assert decode(meta + b"\xe9", "latin1")[-1] == "é"
    assert decode(meta + b"\xe9", None)[-1] == "й"
    assert decode(meta + b"\xe9", "no-such-charset")[-1] == "й"
    assert decode("é".encode(), None) == "é"
    assert decode(b"\xe9\x80", None) == "é€"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b'<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">', "И"),
        (b"<META CHARSET = 'koi8-r'>", "И"),
        (b'<?xml version="1.0" encoding="koi8-r"?>', "И"),
        (b'<!-- <meta charset="koi8-r"> -->', "é"),
        (b'<meta charset="nonsense"><meta charset="koi8-r">', "И"),
        (b'<meta name="charset" content="x">', "é"),
    ],
)
def test_declarations(head, expected):
    assert decode(head + b"\xe9", None)[-1] == expected


def test_a_declaration_counts_in_the_first_kilobyte_only():
    meta = b'<meta charset="koi8-r">'
    for start, expected in ((1024 - len(meta), "И"), (1024, "é")):
        assert decode(b" " * start + meta + b"\xe9", None)[-1] == expected


def test_a_declared_utf16_that_reads_as_ascii_is_utf8():
    assert decode('<meta charset="utf-16">é'.encode(), None).endswith("é")


def test_invalid_bytes_become_the_replacement_character():
    assert decode(b"a\xffb", "utf-8") == "a\ufffdb"
    assert decode(b"a\x81b", "latin1") == "a\ufffdb"


@given(st.binary(max_size=300), st.none() | st.text(max_size=20))
def test_never_raises_and_gives_valid_text(content, charset):
    decode(content, charset).encode()


@given(st.text(max_size=100).filter(lambda text: not text.startswith("\ufeff")))
def test_utf8_is_read_back(text):
    assert decode(text.encode(), "utf-8") == text
