import bz2
import gzip
import json
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import readers
from massivetext.config import FieldNames, Format, Subset
from massivetext.document import DOCUMENT, PAGE, DeadLetters
from massivetext.errors import InputError
from massivetext.readers import sink
from massivetext.readers.jsonl import lines


def subset(path, kind=Format.JSONL, **more):
    inputs = path if isinstance(path, tuple) else (str(path),)
    return Subset(tuple(map(str, inputs)), format=kind, **more)


def read(config, name="s"):
    dead = DeadLetters()
    seen = []
    rows = []
    for split in readers.plan(config, name):
        for batch in readers.read(split, config, name, dead, seen.append):
            assert batch.schema in (DOCUMENT, PAGE)
            rows += batch.to_pylist()
    assert all(count >= 0 for count in seen)
    return rows, dead.letters


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def records(count, start=0):
    return b"".join(
        json.dumps({"text": f"text {i} " + "x" * (i % 50), "n": i}).encode() + b"\n"
        for i in range(start, start + count)
    )


PACK = {
    "a.jsonl": lambda data: data,
    "a.jsonl.gz": gzip.compress,
    "a.jsonl.zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "a.jsonl.bz2": bz2.compress,
}


@pytest.mark.parametrize("name", PACK)
def test_jsonl_of_several_members(tmp_path, name):
    pack = PACK[name]
    path = write(tmp_path / name, pack(records(300)) + pack(records(200, 300)))
    rows, dead = read(subset(path))
    assert dead == []
    assert [row["id"] for row in rows] == [f"s/{name}#{i}" for i in range(500)]
    assert rows[7] == {
        "id": f"s/{name}#7",
        "text": "text 7 xxxxxxx",
        "source": name,
        "url": None,
        "timestamp": None,
        "metadata": '{"n": 7}',
    }


def test_jsonl_bad_lines_are_counted_and_located(tmp_path):
    bad = [
        (b"{", "invalid JSON"),
        (b"[1]", "found list"),
        (b'{"txt": "a"}', "field 'text' is missing; the record has txt"),
        (b'{"text": 5}', "a int, not a string"),
        (b'{"text": null}', "is missing"),
        (b'{"text": "\\ud800"}', "lone surrogate"),
        (b'{"text": "a", "m": "\\udc00"}', "lone surrogate"),
        (b'{"text": "\xff"}', "invalid UTF-8 at byte 10"),
        (b'{"text": "a", "x": NaN}', "NaN is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
    ]
    good = b'\xef\xbb\xbf{"text": "first"}\r\n\n  \n'
    path = write(tmp_path / "a.jsonl", good + b"\n".join(line for line, _ in bad) + b"\n{}")
    rows, dead = read(subset(path))
    assert [row["text"] for row in rows] == ["first"]
    assert [letter.id for letter in dead] == [f"s/a.jsonl#{i}" for i in range(1, 12)]
    for number, ((line, message), letter) in enumerate(zip(bad, dead, strict=False), start=4):
        assert letter.error.startswith(f"a.jsonl:{number}: ")
        assert message in letter.error
        assert letter.payload == line[:4096]
        assert letter.stage == "read"


def test_jsonl_fields_and_metadata(tmp_path):
    line = {"body": "b\0", "id": "own", "u": "http://x", "date": 5, "é": [1, {"b": 2, "a": 1}]}
    path = write(tmp_path / "a.jsonl", json.dumps(line).encode())
    fields = FieldNames(text="body", url="u", timestamp="date")
    (row,), dead = read(subset(path, fields=fields))
    assert dead == []
    assert row["text"] == "b\0"
    assert row["url"] == "http://x"
    assert row["timestamp"] is None
    assert row["metadata"] == '{"date": 5, "id": "own", "é": [1, {"a": 1, "b": 2}]}'


def test_jsonl_of_html_gives_pages(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"html": "<p>\\u00e9", "url": "u"}\n{"html": ""}')
    config = subset(path, fields=FieldNames(html="html"))
    assert readers.yields_pages(config)
    rows, dead = read(config)
    assert dead == []
    assert [(row["content"], row["charset"]) for row in rows] == [
        ("<p>é".encode(), "utf-8"),
        (b"", "utf-8"),
    ]
    assert read(subset(path, Format.HTML))[0] == rows


def test_a_long_line_passes_and_a_longer_one_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(sink, "RECORD_BYTES", 3_000_000)
    fits = b'{"text": "' + b"a" * (3_000_000 - 12) + b'"}'
    path = write(tmp_path / "a.jsonl", fits + b"\n" + fits + b" \n" + records(1))
    rows, dead = read(subset(path))
    assert [len(row["text"]) for row in rows] == [3_000_000 - 12, 7]
    assert [letter.error for letter in dead] == [
        "a.jsonl:2: the record exceeds the limit of 3,000,000 bytes; split it"
    ]
    assert [row["id"] for row in rows] == ["s/a.jsonl#0", "s/a.jsonl#2"]


@given(
    st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"x", b"\n")), max_size=12),
)
@settings(max_examples=200)
def test_lines_do_not_depend_on_chunks(chunks):
    whole = b"".join(chunks)
    expected = whole.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert list(lines(chunks)) == expected


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl.bz2"])
@pytest.mark.parametrize("damage", ["cut", "flip", "tail"])
def test_damaged_compression_gives_what_is_whole(tmp_path, name, damage):
    plain = records(20_000)
    packed = PACK[name](plain)
    if damage == "cut":
        packed = packed[: len(packed) * 2 // 3]
    elif damage == "flip":
        middle = len(packed) // 2
        packed = packed[:middle] + b"\0\xff\0\xff" * 8 + packed[middle + 32 :]
    else:
        packed += b"not compressed at all"
    rows, dead = read(subset(write(tmp_path / name, packed)))
    letter = dead[-1]
    assert "damaged at record" in letter.error
    # A flipped bit may decode to rubbish before it is found out; what is cut or added may not.
    if damage != "flip":
        assert len(dead) == 1
        assert [row["metadata"] for row in rows] == [f'{{"n": {i}}}' for i in range(len(rows))]
        assert letter.id == f"s/{name}#{len(rows)}"
        assert f"damaged at record {len(rows)}" in letter.error
    if damage == "tail":
        assert len(rows) == 20_000
    elif name != "a.jsonl.bz2":
        assert 5_000 < len(rows) < 20_000
    else:
        assert len(rows) < 20_000


def test_whole_records_before_a_bad_checksum_are_kept(tmp_path):
    packed = bytearray(gzip.compress(records(1000)))
    packed[-6] ^= 1
    rows, dead = read(subset(write(tmp_path / "a.jsonl.gz", bytes(packed))))
    assert len(rows) == 1000
    assert "Incorrect checksum" in dead[0].error


def test_salvage_gives_every_byte_before_the_damage(tmp_path):
    import zlib

    packed = bytearray(gzip.compress(os.urandom(300_000).hex().encode()))
    packed[200_000:200_032] = b"\xff" * 32
    path = write(tmp_path / "a.gz", bytes(packed))
    codec, expected = zlib.decompressobj(wbits=31), b""
    for i in range(len(packed)):
        try:
            expected += codec.decompress(bytes(packed[i : i + 1]))
        except zlib.error:
            break
    stream = readers.Stream(str(path), lambda count: None)
    got = []
    with pytest.raises(readers.DamagedError):
        got.extend(iter(lambda: stream.read(1000), b""))
    assert b"".join(got) == expected


@pytest.mark.parametrize("content", [b"", b"hello, this is no gzip"])
@pytest.mark.parametrize("suffix", ["gz", "zst", "bz2"])
def test_unreadable_from_the_start(tmp_path, content, suffix):
    rows, dead = read(subset(write(tmp_path / f"a.jsonl.{suffix}", content)))
    assert rows == []
    assert [letter.id for letter in dead] == [f"s/a.jsonl.{suffix}#0"]


def test_zero_padding_after_gzip_is_no_damage(tmp_path):
    path = write(tmp_path / "a.jsonl.gz", gzip.compress(records(3)) + b"\0" * 1000)
    rows, dead = read(subset(path))
    assert (len(rows), dead) == (3, [])


def test_a_vanished_file_is_an_input_error(tmp_path):
    config = subset(write(tmp_path / "a.jsonl", records(1)))
    (split,) = readers.plan(config, "s")
    os.unlink(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match=r"a\.jsonl"):
        list(readers.read(split, config, "s", DeadLetters(), lambda count: None))


def test_files_are_documents(tmp_path):
    write(tmp_path / "d/b.py", b"\xef\xbb\xbfx = 1\n")
    write(tmp_path / "d/sub/a.py", "é\0".encode())
    write(tmp_path / "d/empty.py", b"")
    write(tmp_path / "d/bad.py", b"a\xff")
    write(tmp_path / "d/.hidden/c.py", b"no")
    write(tmp_path / "d/readme.md", b"no")
    config = subset(tmp_path / "d", Format.FILES, include=("*.py",))
    rows, dead = read(config, "github")
    assert [(row["id"], row["text"]) for row in rows] == [
        ("github/b.py", "x = 1\n"),
        ("github/empty.py", ""),
        ("github/sub/a.py", "é\0"),
    ]
    assert [(letter.id, letter.payload) for letter in dead] == [("github/bad.py", b"a\xff")]
    assert "invalid UTF-8 at byte 1" in dead[0].error


def test_a_file_beyond_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sink, "RECORD_BYTES", 10)
    write(tmp_path / "a.txt", b"x" * 10)
    write(tmp_path / "b.txt", b"x" * 11)
    rows, dead = read(subset(tmp_path, Format.FILES))
    assert [row["id"] for row in rows] == ["s/a.txt"]
    assert [letter.id for letter in dead] == ["s/b.txt"]


def test_html_files_are_pages(tmp_path):
    write(tmp_path / "a.html", b"<p>\xe9")
    write(tmp_path / "b.htm", b"<p>")
    write(tmp_path / "style.css", b"p {}")
    rows, dead = read(subset(tmp_path, Format.HTML))
    assert dead == []
    assert [(row["id"], row["content"], row["charset"]) for row in rows] == [
        ("s/a.html", b"<p>\xe9", None),
        ("s/b.htm", b"<p>", None),
    ]


def test_bytes_reported_end_at_the_size_of_the_split(tmp_path):
    write(tmp_path / "a.txt", b"x" * 1000)
    write(tmp_path / "b.txt", b"y" * 500)
    config = subset(tmp_path, Format.FILES)
    (split,) = readers.plan(config, "s")
    seen = []
    list(readers.read(split, config, "s", DeadLetters(), seen.append))
    assert seen == [1000, 1500]
    assert split.bytes == 1500
