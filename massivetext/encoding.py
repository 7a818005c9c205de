"""Bytes of a web page to text: which encoding, and never an error.

The order is the HTML standard's: byte order mark, HTTP header, declaration in the first KB, then
the content itself: UTF-8 if it is, else what Firefox's detector (chardetng) takes it for. Labels
mean what browsers take them for (WHATWG Encoding): `latin1` and `ascii` are windows-1252, `gb2312`
is GB18030, `shift_jis` is windows-31J.
"""

import codecs
import re

import numpy as np

DECLARATION_BYTES = 1024
DETECTION_BYTES = 1 << 16
FALLBACK = "cp1252"

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# Python's codec -> labels, lower case and without punctuation.
_LABELS = {
    "utf-8": "utf8 unicode11utf8 unicode20utf8 xunicode20utf8",
    "utf-16-le": "utf16 utf16le ucs2 unicode csunicode iso10646ucs2 unicodefeff",
    "utf-16-be": "utf16be unicodefffe",
    "cp1252": "cp1252 windows1252 xcp1252 iso88591 iso885911987 latin1 l1 ascii usascii cp819 "
    "ibm819 isoir100 csisolatin1 ansix341968",
    "cp866": "cp866 866 ibm866 csibm866",
    "cp874": "cp874 windows874 iso885911 tis620 dos874",
    "cp1250": "cp1250 windows1250 xcp1250",
    "cp1251": "cp1251 windows1251 xcp1251",
    "cp1253": "cp1253 windows1253 xcp1253",
    "cp1254": "cp1254 windows1254 xcp1254 iso88599 latin5 l5 csisolatin5",
    "cp1255": "cp1255 windows1255 xcp1255",
    "cp1256": "cp1256 windows1256 xcp1256",
    "cp1257": "cp1257 windows1257 xcp1257",
    "cp1258": "cp1258 windows1258 xcp1258",
    "iso8859-2": "iso88592 latin2 l2 csisolatin2 isoir101",
    "iso8859-3": "iso88593 latin3 l3 csisolatin3",
    "iso8859-4": "iso88594 latin4 l4 csisolatin4",
    "iso8859-5": "iso88595 cyrillic csisolatincyrillic",
    "iso8859-6": "iso88596 arabic csisolatinarabic asmo708 iso88596e iso88596i",
    "iso8859-7": "iso88597 greek greek8 csisolatingreek elot928 suneugreek",
    "iso8859-8": "iso88598 hebrew visual csisolatinhebrew iso88598e iso88598i logical",
    "iso8859-10": "iso885910 latin6 l6 csisolatin6",
    "iso8859-13": "iso885913",
    "iso8859-14": "iso885914",
    "iso8859-15": "iso885915 latin9 l9 csisolatin9",
    "iso8859-16": "iso885916",
    "koi8-r": "koi8r koi8 koi cskoi8r",
    "koi8-u": "koi8u koi8ru",
    "mac-roman": "macintosh mac xmacroman csmacintosh",
    "mac-cyrillic": "xmaccyrillic xmacukrainian",
    "gb18030": "gb18030 gbk gb2312 gb231280 xgbk chinese csgb2312 isoir58 csiso58gb231280",
    "big5hkscs": "big5 big5hkscs cnbig5 xxbig5 csbig5",
    "euc_jp": "eucjp xeucjp cseucpkdfmtjapanese",
    "iso2022_jp": "iso2022jp csiso2022jp",
    "cp932": "shiftjis sjis xsjis ms932 mskanji windows31j csshiftjis",
    "cp949": "euckr ksc5601 ksc56011987 ksc56011989 korean windows949 cseuckr isoir149 "
    "csksc56011987",
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}

_DECLARATION = re.compile(
    rb"<meta\s[^>]*?\bcharset\s*=\s*[\"']?\s*([^\s\"'/>;]+)"
    rb"|<\?xml\s[^>]*?\bencoding\s*=\s*[\"']([^\"'>]+)",
    re.IGNORECASE,
)
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_PUNCTUATION = re.compile(r"[^a-z0-9]+")


def codec_of(label: str | None) -> str | None:
    """Return Python's codec for a charset `label` as browsers understand it; None if unknown."""
    return _CODECS.get(_PUNCTUATION.sub("", label.lower())) if label else None


def decode(content: bytes, charset: str | None) -> str:
    """Return `content` as text; bytes that are invalid in its encoding become U+FFFD.

    Args:
      charset: the label in the HTTP header, or None.
    """
    for mark, codec in _BOMS:
        if content.startswith(mark):
            return content[len(mark) :].decode(codec, "replace")
    known = codec_of(charset) or _declared(content)
    if known is not None:
        return content.decode(known, "replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("utf-8" if _nearly_utf8(content) else _detected(content), "replace")


def _nearly_utf8(content: bytes) -> bool:
    """Whether under a tenth of the characters beyond ASCII is damaged, as where a page was cut."""
    leads = np.count_nonzero(np.frombuffer(content, np.uint8) >= 0xC0)
    return bool(content.decode("utf-8", "replace").count("\ufffd") * 10 < leads)


def _detected(content: bytes) -> str:
    """Return Python's codec for what the first 64 KiB from the first byte beyond ASCII look like.

    That byte never stands inside a character, in any encoding of the web.
    """
    from chardetng_py.detector import EncodingDetector

    first = _NOT_ASCII.search(content)
    start = first.start() if first else 0
    detector = EncodingDetector()
    detector.feed(content[start : start + DETECTION_BYTES], last=True)
    return codec_of(detector.guess(tld=None, allow_utf8=False)) or FALLBACK


def _declared(content: bytes) -> str | None:
    head = _COMMENT.sub(b"", content[:DECLARATION_BYTES])
    for match in _DECLARATION.finditer(head):
        codec = codec_of((match.group(1) or match.group(2)).decode("ascii", "replace"))
        if codec is not None:
            # Bytes in which "charset" could be read are not UTF-16, whatever they say.
            return "utf-8" if codec.startswith("utf-16") else codec
    return None
