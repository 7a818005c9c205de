import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from massivetext import readers
from massivetext.config import FieldNames, Format, Subset
from massivetext.document import DeadLetters
from massivetext.errors import InputError
from massivetext.readers import split


def subset(path, **more):
    return Subset((str(path),), format=Format.PARQUET, **more)


def read(config):
    dead = DeadLetters()
    rows = []
    for part in readers.plan(config, "s"):
        for batch in readers.read(part, config, "s", dead, lambda count: None):
            rows += batch.to_pylist()
    return rows, dead.letters


def table():
    return pa.table(
        {
            "text": pa.array(["a", None, "c", "d"]).dictionary_encode(),
            "url": ["u", None, "u", "u"],
            "score": [1.5, 2.5, float("nan"), None],
            "tags": [["x"], [], None, ["y"]],
        }
    )


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), None])
def test_parquet_rows(tmp_path, kind):
    data = table()
    if kind is not None:
        data = data.set_column(0, "text", data["text"].cast(pa.string()).cast(kind))
    pq.write_table(data, tmp_path / "a.parquet", row_group_size=2)
    rows, dead = read(subset(tmp_path / "*.parquet"))
    assert [(row["id"], row["text"], row["url"], row["metadata"]) for row in rows] == [
        ("s/a.parquet#0", "a", "u", '{"score": 1.5}'),
        ("s/a.parquet#2", "c", "u", '{"score": "nan"}'),
        ("s/a.parquet#3", "d", "u", None),
    ]
    assert [(letter.id, letter.error) for letter in dead] == [
        ("s/a.parquet#1", "a.parquet: row 1: text is null")
    ]


def test_parquet_row_groups_are_split_and_ids_go_on(tmp_path, monkeypatch):
    pq.write_table(table(), tmp_path / "a.parquet", row_group_size=1)
    config = subset(tmp_path / "a.parquet")
    whole = read(config)
    monkeypatch.setattr(split, "PARQUET_BYTES", 1)
    parts = readers.plan(config, "s")
    assert [(part.start, part.stop) for part in parts] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert len({part.name for part in parts}) == 4
    assert read(config) == whole


def test_parquet_text_that_is_not_utf8(tmp_path):
    schema = pa.schema([("text", pa.string())])
    bad = pa.array([b"ok", b"\xff"]).view(pa.string())
    pq.write_table(pa.Table.from_arrays([bad], schema=schema), tmp_path / "a.parquet")
    rows, dead = read(subset(tmp_path / "a.parquet"))
    assert [row["text"] for row in rows] == ["ok"]
    assert "invalid UTF-8 at byte 0" in dead[0].error


def test_parquet_without_the_column(tmp_path):
    pq.write_table(pa.table({"txt": ["a"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"did you mean 'txt'.*it has: txt, n"):
        read(subset(tmp_path / "a.parquet"))
    with pytest.raises(InputError, match=r"int64, not text"):
        read(subset(tmp_path / "a.parquet", fields=FieldNames(text="n")))


def test_damaged_parquet(tmp_path):
    pq.write_table(
        pa.table({"text": [os.urandom(500).hex() for _ in range(200)]}),
        tmp_path / "a.parquet",
        row_group_size=100,
        compression="zstd",
        use_dictionary=False,
    )
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    rows, dead = read(subset(tmp_path / "cut.parquet"))
    assert (rows, [letter.id for letter in dead]) == ([], ["s/cut.parquet#0"])
    data[len(data) * 3 // 4 : len(data) * 3 // 4 + 64] = b"\0" * 64
    (tmp_path / "bad.parquet").write_bytes(data)
    rows, dead = read(subset(tmp_path / "bad.parquet"))
    assert len(rows) >= 100
    assert [letter.id for letter in dead] == [f"s/bad.parquet#{len(rows)}"]
    assert "corrupt Parquet" in dead[0].error
