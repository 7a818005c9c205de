"""One document, two documents compared, and what other thresholds would change."""

import json
from time import monotonic
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from massivetext.errors import ConfigError
from massivetext.inspector import catalogue, evidence, whatif
from massivetext.inspector.api import Api
from massivetext.inspector.partners import Partners
from massivetext.inspector.states import States
from massivetext.thresholds import compare

from . import folders
from .folders import ask


@pytest.fixture(scope="module")
def port(base) -> int:
    return urlsplit(base).port


def rows_by_rule(port, **filters):
    query = "&".join(f"{key}={quote(value)}" for key, value in filters.items())
    return ask(port, f"/api/documents?limit=200&{query}")["documents"]


def document(port, row, start=0):
    place = f"subset={row['subset']}&part={row['part']}&row={row['row']}"
    return ask(port, f"/api/document?{place}&from={start}")


def test_the_summary_counts_every_document_once(port, out):
    found = ask(port, "/api/summary")
    # The build went no further than the documents.
    assert found["missing"] == []
    assert found["stages"] == ["clean", "exact", "near", "overlap"]
    web = found["subsets"]["web"]
    assert web["documents"] == web["kept"] + web["heldout"] + sum(web["dropped"].values()) == 67
    for state in ("kept", "heldout"):
        assert len(rows_by_rule(port, subset="web", state=state)) == web[state]
    for stage, count in web["dropped"].items():
        assert len(rows_by_rule(port, subset="web", stage=stage)) == count
    signal = next(s for s in found["signals"] if s["name"] == "quality_words")
    assert (signal["low"], signal["high"]) == (36, 60_002)
    assert sum(signal["counts"]) == 67
    rule = next(r for r in found["rules"] if r["rule"] == "min_words")
    assert rule == {
        "rule": "min_words", "group": "quality", "signal": "quality_words", "limit": 50,
        "direction": "min", "subsets": ["web"],
    }  # fmt: skip


def test_a_document_that_repeats_itself(port):
    [row] = [r for r in rows_by_rule(port, subset="web", query="cheap watches")]
    found = document(port, row)
    assert found["state"] == "dropped"
    [drop] = found["drops"]
    assert set(drop) == {"stage", "rule", "value", "threshold", "partner", "detail"}
    assert (drop["stage"], drop["rule"]) == ("clean", "max_duplicate_lines")
    assert found["failed"][0] == "max_duplicate_lines"
    assert "max_duplicate_10gram" in found["failed"]
    lines = [m for m in found["marks"] if m["kind"] == "line"]
    assert len(lines) == 40
    assert found["text"][lines[1]["start"] : lines[1]["stop"]].startswith("buy cheap")
    assert found["signals"]["repetition_duplicate_lines"] == 1.0


def test_a_copy_of_a_test_item(port):
    [row] = rows_by_rule(port, stage="overlap")
    found = document(port, row)
    [overlap] = found["overlaps"]
    assert (overlap["test_set"], overlap["test_id"]) == ("tests.jsonl", "0")
    assert overlap["jaccard"] == 1.0
    assert overlap["text"] == found["text"]
    [mark] = [m for m in found["marks"] if m["kind"] == "test item"]
    passage = found["text"][mark["start"] : mark["stop"]]
    assert len(passage) > 0.95 * len(found["text"])


def test_duplicates_know_each_other_and_are_compared(port):
    [row] = rows_by_rule(port, stage="near")
    lost = document(port, row)
    [partner] = [p for p in lost["partners"] if p["survivor"]]
    assert partner["id"] == lost["drops"][0]["partner"]
    assert partner["jaccard"] == pytest.approx(lost["drops"][0]["value"])
    assert lost["partners_complete"]
    kept = document(port, partner)
    assert lost["id"] in [p["id"] for p in kept["partners"] if not p["survivor"]]
    here, there = (f"{d['subset']}:{d['part']}:{d['row']}" for d in (lost, partner))
    found = ask(port, f"/api/compare?a={here}&b={there}")
    assert (found["left"]["text"], found["right"]["text"]) == (lost["text"], kept["text"])
    assert [op[0] for op in found["operations"]] == ["equal", "replace", "equal"]
    _, a0, a1, b0, b1 = found["operations"][1]
    assert "changed" in found["left"]["text"].split()[a0:a1] + found["right"]["text"].split()[b0:b1]


def test_a_long_text_comes_in_pieces_that_join(port):
    [row] = rows_by_rule(port, subset="web", signal="quality_words", min="10000")
    pieces, start = [], 0
    while True:
        found = document(port, row, start)
        assert found["from"] == start
        assert found["to"] - start <= evidence.PIECE_BYTES
        pieces.append(found["text"])
        start = found["to"]
        if start == found["bytes"]:
            break
    assert len(pieces) == -(-row["bytes"] // evidence.PIECE_BYTES) > 1
    assert len("".join(pieces).encode()) == row["bytes"]
    assert "".join(pieces).endswith("thevery end")


def test_pieces_are_cut_between_characters(monkeypatch):
    monkeypatch.setattr(evidence, "PIECE_BYTES", 5)
    text = "aéß日本😀z"
    column = pa.array([text], pa.large_string())
    joined, start = b"", 0
    while start < len(text.encode()):
        data, first, start, size = evidence.piece(column, start)
        data.decode()
        joined += data
        assert size == len(text.encode())
    assert joined.decode() == text
    # A place within a character is that character's, one past the end the last character's.
    assert evidence.piece(column, 2)[:2] == ("éß".encode(), 1)
    assert evidence.piece(column, 10**9)[0] == b"z"
    assert evidence.piece(pa.array([""], pa.string()), 7) == (b"", 0, 0, 0)


def test_marks_move_over_what_was_cut_out_before_them():
    cuts = [{"start": 2, "stop": 5}, {"start": 8, "stop": 9}]
    text = "ab[[[cde]fg"
    left = "abcdefg"
    for i, letter in enumerate(left):
        assert text[evidence._before_cuts(i, cuts)] == letter


def test_span_cuts_are_marked_and_explained(tmp_path):
    root = folders.make(tmp_path / "out")
    place = {"id": "books/f0#7", "row": 7, "survivor_part": "books/part-00001", "survivor_row": 2}
    path = root / "spans/books/part-00000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([place | {"start": 5, "stop": 11}]), path)
    found = catalogue.read(root)
    found.drops.append("spans")
    part = found.part("books", "part-00000")
    [mark] = evidence.Documents(found, States(found)).document(part, 7)["marks"]
    assert (mark["start"], mark["stop"], mark["kind"]) == (5, 11, "cut")
    assert mark["label"] == "repeated span; stays in books/part-00001 row 2"


def test_rows_are_found_by_id_in_the_likeliest_part_first(tmp_path):
    found = catalogue.read(folders.make(tmp_path / "out"))
    partners = Partners(found)
    part, row = partners.locate("books/f1#17", monotonic() + 60)
    assert (part.subset, part.name, row) == ("books", "part-00001", 17)
    assert partners.locate("books/f1#99", monotonic() + 60) is None
    assert partners.locate("nowhere/f1#1", monotonic() + 60) is None
    assert partners.locate("books/f1#17", monotonic() - 1) is None


def test_other_thresholds_agree_with_the_command(port, out):
    found = ask(port, "/api/thresholds?min_words=100&max_duplicate_lines=0.9")
    expected = compare(out, ["quality.min_words=100", "repetition.max_duplicate_lines=0.9"])
    for name, change in expected.items():
        assert found["subsets"][name] == {
            "kept": change.before.documents, "after": change.after.documents,
            "lost": change.lost.documents, "won": change.won.documents,
        }  # fmt: skip
    assert found["sampled"] == 1
    assert found["fragment"] == (
        "quality:\n  min_words: 100\nrepetition:\n  max_duplicate_lines: 0.9\n"
    )
    lost = found["examples"]["lost"]
    assert {e["id"] for e in lost} >= set(expected["web"].lost.examples)
    assert all(e["rule"] == "min_words" and e["value"] < 100 == e["threshold"] for e in lost)


def test_without_changes_nothing_changes(port):
    found = ask(port, "/api/thresholds")
    assert found["fragment"] == ""
    assert found["examples"] == {"lost": [], "won": []}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("min_word=1", "did you mean 'min_words'"),
        ("language=1", "no rule 'language'"),
        ("min_words=1.5", "whole number"),
        ("min_words=inf", "whole number"),
        ("max_hash_ratio=inf", "must be a number"),
        ("max_duplicate_lines=2", "max_duplicate_lines"),
        ("max_hash_ratio=x", "must be a number"),
        ("max_hash_ratio=nan", "not a number"),
    ],
)
def test_thresholds_that_are_none(port, query, message):
    status, _, body = folders.request(port, f"/api/thresholds?{query}")
    assert status == 400
    assert message in json.loads(body)["error"]


def test_a_sample_says_its_share_and_is_scaled(tmp_path):
    found = catalogue.read(folders.make(tmp_path / "out"))
    # The language of every document is kept, so only the words decide: rows 5 and on stay.
    whole = whatif.WhatIf(found).answer({})
    assert whole["sampled"] == 1
    assert whole["subsets"]["massiveweb"] == {"kept": 36, "after": 36, "lost": 0, "won": 0}
    some = whatif.WhatIf(found, most=20)
    assert 0 < some.sampled < 0.5
    assert some.sampled == some.answer({})["sampled"]
    # Of books, that no rule judges, a sample of any size says: all.
    assert some.answer({})["subsets"]["books"]["kept"] == 46


def test_rules_that_were_not_measured_are_said(tmp_path):
    root = folders.make(tmp_path / "out")
    text = (root / "config.yaml").read_text().replace("language, quality", "repetition")
    (root / "config.yaml").write_text(text)
    api = Api(root)
    summary = api.answer("/api/summary", {})
    assert any("repetition_duplicate_lines was not measured" in m for m in summary["missing"])
    assert "massiveweb" not in api.answer("/api/thresholds", {})["subsets"]
    place = {"subset": "massiveweb", "part": "part-00000", "row": "3"}
    assert api.answer("/api/document", place)["failed"] == []


def test_a_build_that_goes_on_is_read_anew(tmp_path):
    root = folders.make(tmp_path / "out")
    path = root / "manifests/documents.json"
    body = path.read_bytes()
    path.unlink()
    api = Api(root)
    assert api.answer("/api/summary", {})["subsets"]["books"]["heldout"] == 0
    path.write_bytes(body)
    assert api.answer("/api/summary", {})["subsets"]["books"]["heldout"] == 4


def test_an_empty_folder(tmp_path):
    api = Api(tmp_path)
    summary = api.answer("/api/summary", {})
    assert summary["subsets"] == {}
    assert len(summary["missing"]) == 6
    assert api.answer("/api/documents", {})["complete"]
    assert not api.answer("/api/run", {})["present"]
    with pytest.raises(ConfigError):
        api.answer("/api/thresholds", {})
