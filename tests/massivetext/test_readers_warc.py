import gzip
import io
import zlib

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import readers
from massivetext.config import Format, Subset
from massivetext.document import DeadLetters
from massivetext.readers import sink


def record(kind, body, url="http://x/", version=b"WARC/1.0", length=None):
    head = (
        f"WARC-Type: {kind}\r\nContent-Type: application/http\r\n"
        f"WARC-Target-URI: {url}\r\nWARC-Date: 2026-01-02T03:04:05Z\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return version + b"\r\n" + head.encode() + body + b"\r\n\r\n"


def http(body, status="200 OK", kind="text/html; charset=UTF-8", more=""):
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}\r\n".encode() + body


def read(tmp_path, data, kind=Format.WARC, name="a.warc"):
    (tmp_path / name).write_bytes(data)
    config = Subset((str(tmp_path / name),), format=kind)
    dead = DeadLetters()
    (split,) = readers.plan(config, "web")
    batches = readers.read(split, config, "web", dead, lambda count: None)
    return [row for batch in batches for row in batch.to_pylist()], dead.letters


ARCHIVE = (
    record("warcinfo", b"software: test\r\n")
    + record("response", http(b"<p>one"))
    + record("request", b"GET / HTTP/1.1\r\n\r\n")
    + record("response", http(b"gone", status="404 Not Found"))
    + record("response", http(b"%PDF", kind="application/pdf"))
    + record("response", http(b"<p>two", kind="application/xhtml+xml"), url="<http://y/>")
    + record("response", http(b"plain", kind="text/plain"))
    + record("response", b"no http at all")
)


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_html_responses_are_pages(tmp_path, name):
    data = ARCHIVE
    if name.endswith("gz"):
        data = b"".join(gzip.compress(b"WARC/" + part) for part in ARCHIVE.split(b"WARC/")[1:])
    rows, dead = read(tmp_path, data, name=name)
    assert dead == []
    assert rows == [
        {
            "id": f"web/{name}#1",
            "content": b"<p>one",
            "charset": "UTF-8",
            "source": name,
            "url": "http://x/",
            "timestamp": "2026-01-02T03:04:05Z",
            "metadata": None,
        },
        {
            "id": f"web/{name}#5",
            "content": b"<p>two",
            "charset": None,
            "source": name,
            "url": "http://y/",
            "timestamp": "2026-01-02T03:04:05Z",
            "metadata": None,
        },
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from(["response", "request", "metadata"]), st.binary(max_size=80)),
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_agrees_with_fastwarc(tmp_path_factory, items):
    data = b"".join(record(kind, http(body)) for kind, body in items)
    rows, dead = read(tmp_path_factory.mktemp("w"), data)
    archive = ArchiveIterator(io.BytesIO(data), record_types=WarcRecordType.response)
    assert dead == []
    assert [row["content"] for row in rows] == [item.reader.read() for item in archive]


def test_transfer_and_content_encodings(tmp_path):
    chunked = b"3\r\n<p>\r\n3;x=y\r\nabc\r\n0\r\n\r\n"
    bodies = [
        (chunked, "Transfer-Encoding: chunked\r\n", b"<p>abc"),
        (b"<p>stored decoded", "Transfer-Encoding: chunked\r\n", b"<p>stored decoded"),
        (gzip.compress(b"<p>z"), "Content-Encoding: gzip\r\n", b"<p>z"),
        (b"<p>stored decoded", "Content-Encoding: gzip\r\n", b"<p>stored decoded"),
        (zlib.compress(b"<p>d"), "Content-Encoding: deflate\r\n", b"<p>d"),
    ]
    data = b"".join(record("response", http(body, more=more)) for body, more, _ in bodies)
    rows, dead = read(tmp_path, data)
    assert dead == []
    assert [row["content"] for row in rows] == [expected for _, _, expected in bodies]


def test_bodies_that_cannot_be_decoded(tmp_path):
    data = record("response", http(b"x", more="Content-Encoding: br\r\n"))
    data += record("response", http(b"\x1f\x8bnonsense", more="Content-Encoding: gzip\r\n"))
    rows, dead = read(tmp_path, data + ARCHIVE)
    assert [row["id"] for row in rows] == ["web/a.warc#3", "web/a.warc#7"]
    assert [letter.id for letter in dead] == ["web/a.warc#0", "web/a.warc#1"]
    assert "'br' is not supported" in dead[0].error
    assert "corrupt gzip body" in dead[1].error


def test_an_archive_cut_anywhere_gives_the_whole_records(tmp_path):
    one = record("response", http(b"<p>one"))
    two = record("response", http(b"<p>two"))
    for cut in range(len(two) + 1):
        rows, dead = read(tmp_path, one + two[:cut])
        whole = cut >= len(two) - 4  # the blank lines after the record may be missing
        assert len(rows) == 1 + whole, cut
        if whole or cut == 0:
            assert dead == []
        else:
            assert [letter.id for letter in dead] == ["web/a.warc#1"], cut


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"garbage\r\n", "starts with WARC/"),
        (record("response", b"x", length="many"), "Content-Length 'many'"),
        (record("response", b"x", length=10**15), "before the end of a record"),
        (b"WARC/1.0\r\nX: " + b"y" * (2 << 20), "exceeds 1,048,576 bytes"),
        (b"WARC/1.0\r\n" + b"X: y\r\n" * 400_000, "exceeds 1,048,576 bytes"),
    ],
)
def test_damage_inside(tmp_path, bad, message):
    rows, dead = read(tmp_path, record("response", http(b"<p>")) + bad)
    assert len(rows) == 1
    assert [letter.id for letter in dead] == ["web/a.warc#1"]
    assert message in dead[0].error


def test_a_record_beyond_the_limit_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(sink, "RECORD_BYTES", 1000)
    data = record("response", http(b"x" * 1001)) + record("request", b"y" * 2000)
    rows, dead = read(tmp_path, data + record("response", http(b"<p>")))
    assert [row["id"] for row in rows] == ["web/a.warc#2"]
    assert [letter.id for letter in dead] == ["web/a.warc#0"]


def test_compressed_body_beyond_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(sink, "RECORD_BYTES", 10_000)
    bomb = http(gzip.compress(b"x" * 10_001), more="Content-Encoding: gzip\r\n")
    rows, dead = read(tmp_path, record("response", bomb))
    assert rows == []
    assert "exceeds the limit" in dead[0].error


def test_wet_conversions_are_documents(tmp_path):
    data = (
        record("warcinfo", b"x")
        + record("conversion", "naïve text\n".encode())
        + record("conversion", b"bad \xff")
        + record("conversion", b"")
    )
    rows, dead = read(tmp_path, gzip.compress(data), Format.WET, "a.wet.gz")
    assert [(row["id"], row["text"]) for row in rows] == [
        ("web/a.wet.gz#1", "naïve text\n"),
        ("web/a.wet.gz#3", ""),
    ]
    assert rows[0]["url"] == "http://x/"
    assert [letter.id for letter in dead] == ["web/a.wet.gz#2"]
