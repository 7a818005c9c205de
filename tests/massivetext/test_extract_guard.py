import pytest

from massivetext.extract.guard import GROWTH_BYTES, PAGE_BYTES, STEPS, PageTooLarge, check


def refused(html):
    try:
        check(html)
    except PageTooLarge as error:
        return str(error)
    return ""


def test_the_number_of_bytes():
    assert refused(b"x" * PAGE_BYTES) == ""
    assert "16,777,216 bytes" in refused(b"x" * (PAGE_BYTES + 1))


def test_the_sum_of_depths():
    assert 32767 * 32768 // 2 <= STEPS < 32768 * 32769 // 2
    assert refused(b"<div>" * 32767) == ""
    assert "nested too deeply" in refused(b"<div>" * 32768)
    assert refused(b"<div></div>" * 100_000) == ""
    assert refused(b"<P><Br><tD>" * 100_000) == ""


@pytest.mark.parametrize(
    ("opening", "size"),
    [
        (b"<b>", 2),
        (b"<b>" * 10, 6),  # no more than three that are the same
        (b"<b id=1><b id=2>", 14),
        (b"<B class=x><i>", 12),
        (b"<b><i></b>", 2),
        (b"<b id=1><b></b>", 7),
        (b"<b><b/></B ><u></U>", 2),
        (b"</b><b>", 2),
    ],
)
def test_growth_is_open_formatting_times_brackets(opening, size):
    brackets = GROWTH_BYTES // size
    assert refused(opening + b"<" * (brackets - 4)) == ""
    assert "formatting" in refused(opening + b"<" * (brackets + 1))


def test_closed_formatting_does_not_grow():
    assert refused(b"<b id=1></b><font size=2>x</font>" + b"<" * (GROWTH_BYTES // 2 + 1)) == ""
    assert refused(b"<bold><a><nobr>" + b"<" * (GROWTH_BYTES // 2 + 1)) == ""
    assert refused(b"<" + b"<b" * 10) == ""


def test_open_formatting_without_end_is_bounded():
    html = b"".join(b"<b id=%d>" % i for i in range(200_000))
    assert "nested too deeply" in refused(html)
