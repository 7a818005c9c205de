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


RUSSIAN = (
    "В начале было слово, и слово это долго искали в словаре. Потом его нашли, записали на листе "
    "бумаги и забыли на столе, где оно лежит до сих пор."
)
CZECH = (
    "Příliš žluťoučký kůň úpěl ďábelské ódy, ale nikdo v městečku ho neslyšel, protože všichni "
    "už dávno spali a hodiny na věži odbíjely půlnoc."
)
GERMAN = "Über den Wäldern hängt früh am Morgen noch grauer Dunst, und die Vögel schweigen müde."
FRENCH = (
    "L’été dernier, près de la rivière, nous avons rêvé à voix haute et mangé des pêches mûres."
)
JAPANESE = "昨日の夜、私たちは川のそばを歩きながら、子供のころの思い出について話しました。"
CHINESE = "昨天晚上我们沿着河边散步，谈起了小时候的许多事情，一直走到很晚才回家。"
TRADITIONAL = "昨天晚上我們沿著河邊散步，談起了小時候的許多事情，一直走到很晚才回家。"
KOREAN = "어젯밤 우리는 강가를 걸으며 어린 시절의 추억에 대해 오랫동안 이야기했습니다."
GREEK = "Χθες το βράδυ περπατούσαμε δίπλα στο ποτάμι και μιλούσαμε για τα παλιά χρόνια."


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        (RUSSIAN, "koi8-r"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "cp866"),
        (CZECH, "iso8859-2"),
        (CZECH, "cp1250"),
        (GERMAN, "cp1252"),
        (FRENCH, "cp1252"),
        (JAPANESE, "cp932"),
        (JAPANESE, "euc_jp"),
        (CHINESE, "gb18030"),
        (TRADITIONAL, "big5"),
        (KOREAN, "cp949"),
        (GREEK, "cp1253"),
    ],
)
def test_what_nobody_declares_is_detected(text, codec):
    page = f"<html><head><title>x</title></head><body><p class='a'>{text}</p></body></html>"
    assert decode(page.encode(codec), None) == page
    far = " " * (1 << 17) + page  # beyond what is looked at, were it counted from the start
    assert decode(far.encode(codec), None) == far


def test_evidence_comes_before_detection():
    content = RUSSIAN.encode("koi8-r")
    assert decode(content, "windows-1251") == content.decode("cp1251")
    meta = b'<meta charset="windows-1251">'
    assert decode(meta + content, None) == (meta + content).decode("cp1251")


@pytest.mark.parametrize(("damaged", "is_utf8"), [(0, True), (9, True), (10, False), (100, False)])
def test_utf8_may_be_damaged_in_under_a_tenth(damaged, is_utf8):
    content = "é".encode() * (99 - damaged) + b"\xe9 " * damaged + "é".encode()
    assert (decode(content, None) == content.decode("utf-8", "replace")) is is_utf8


def test_utf8_cut_inside_a_character_is_utf8():
    content = (RUSSIAN * 3).encode()[:-2]
    assert decode(content, None) == content.decode("utf-8", "replace")


@given(st.binary(max_size=300), st.none() | st.text(max_size=20))
def test_never_raises_and_gives_valid_text(content, charset):
    decode(content, charset).encode()


@given(st.text(max_size=100).filter(lambda text: not text.startswith("\ufeff")))
def test_utf8_is_read_back(text):
    assert decode(text.encode(), "utf-8") == text
