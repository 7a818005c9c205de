"""The overlap stage with containment: pages that hold test items, resume, report and evidence."""

import hashlib
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from massivetext.card import tables
from massivetext.config import Overlap
from massivetext.config_file import to_yaml
from massivetext.dataset import ParquetFile
from massivetext.dropped import DROPPED
from massivetext.errors import StageError
from massivetext.overlap_evidence import excerpt, overlap_story, without_cuts
from massivetext.pipelines import overlap

from . import measured


def words(count, start=0):
    return " ".join(f"w{i}" for i in range(start, start + count))


def row(key, text):
    return {"id": key, "text": text}


# As deduplication leaves it when there is nothing to drop.
DEDUPLICATED = {"files": []}


def compare(root, corpus, rule, bad=None, workers=1):
    config = measured.config(root, corpus, overlap=rule)
    upstream = measured.write(root, corpus, bad)
    return overlap.run(measured.context(root, workers), config, *upstream, DEDUPLICATED)


def read(root, folder):
    return [
        r for p in sorted((root / folder).rglob("*.parquet")) for r in pq.read_table(p).to_pylist()
    ]


TESTS = {
    "first": [
        {"id": "long\nid", "text": words(60)},
        {"id": "twin", "text": words(30, 500)},
        {"id": "short", "text": words(9, 900)},
        {"id": "tiny", "text": "the first seven words of a book"},
        {"id": "none", "text": "?"},
    ],
    "second": [{"id": "twin", "text": words(30, 500)}],
    "common": [{"id": "notice", "text": words(20, 700)}],
}
NOTICE = "notice: " + words(20, 700)
PAGES = {
    "books": [
        [
            row("books/0", f"x {words(300, 2000)} {words(60)} {words(300, 3000)} {NOTICE}"),
            row("books/1", f"\0 {words(30, 500)}, {words(200, 4000)} {NOTICE} {words(9, 900)} z"),
            row("books/2", words(60)),  # the paper's rule takes it
            row("books/3", f"{words(300, 5000)} {words(60)}"),  # dropped by the rules
            row("books/4", "word"),
        ],
        [row(f"books/{i}", f"{words(100, 10_000 * i)} {NOTICE}") for i in range(5, 9)],
    ],
    "web": [
        [row("web/0", f"{words(8, 900)} but not the ninth, {words(100, 7000)}"), row("web/1", "")],
        [row("web/2", f"the first seven words of a book {words(100, 8000)} {NOTICE}")],
    ],
}


@pytest.fixture
def contained(tmp_path):
    for name, items in TESTS.items():
        lines = "".join(json.dumps(item) + "\n" for item in items)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    return Overlap(test_sets=(str(tmp_path / "*.jsonl"),), containment=0.8)


BAD = {"books/part-00000": [3]}


def test_containment_drops_pages_that_hold_items(tmp_path, contained):
    root = tmp_path / "out"
    manifest = compare(root, PAGES, contained, BAD)
    drops = {r["id"]: r for r in read(root, "dropped/overlap")}
    evidence = {r["id"]: r for r in read(root, "overlaps")}
    assert drops.keys() == evidence.keys() == {"books/0", "books/1", "books/2"}
    assert drops["books/2"]["rule"] == "test_set_overlap"
    for key, item in (("books/0", "long\nid"), ("books/1", "twin")):
        drop, found = drops[key], evidence[key]
        assert (drop["rule"], drop["value"], drop["threshold"]) == (
            "test_set_containment", 1.0, 0.8,
        )  # fmt: skip
        assert (drop["partner"], drop["detail"]) == (item, "first.jsonl")
        assert (found["kind"], found["containment"], found["jaccard"]) == (
            "test_set_containment", 1.0, None,
        )  # fmt: skip
        text = PAGES["books"][0][int(key[-1])]["text"]
        passage = text.encode()[found["start"] : found["end"]].decode()
        assert passage == next(i["text"] for i in TESTS["first"] if i["id"] == item)
    # The twin in both test sets, and the short item.
    assert evidence["books/1"]["items"] == 3
    assert manifest["test_sets"] == {
        "common.jsonl": {
            "items": 1, "wordless": 0, "too_short": 0, "too_common": 1,
            "documents_jaccard": 0, "documents_containment": 0, "items_matched": 0,
        },
        "first.jsonl": {
            "items": 5, "wordless": 1, "too_short": 1, "too_common": 0,
            "documents_jaccard": 1, "documents_containment": 3, "items_matched": 3,
        },
        "second.jsonl": {
            "items": 1, "wordless": 0, "too_short": 0, "too_common": 0,
            "documents_jaccard": 0, "documents_containment": 1, "items_matched": 1,
        },
    }  # fmt: skip
    assert manifest["counts"] == {"documents": 11, "test_set": 1, "test_set_containment": 2}
    assert manifest["subsets"]["books"]["test_set_containment"] == 2


def test_documents_that_are_dropped_before_do_not_count(tmp_path, contained):
    # The notice is in 7 of 11 documents. Were all but one of those dropped, it would be an item
    # like others.
    gone = {"books/part-00000": [0, 1, 3], "books/part-00001": [0, 1, 2, 3]}
    manifest = compare(tmp_path / "out", PAGES, contained, gone)
    assert manifest["test_sets"]["common.jsonl"]["too_common"] == 0
    assert manifest["test_sets"]["common.jsonl"]["documents_containment"] == 1


def test_what_the_stage_spans_has_cut_or_dropped_is_not_compared(tmp_path, contained):
    root = tmp_path / "out"
    schema = pa.schema([(name, pa.int64()) for name in ("row", "start", "stop")])
    text = PAGES["books"][0][0]["text"]
    start = text.index(words(60))
    cuts = [{"row": 0, "start": start, "stop": start + len(words(60))}]
    with ParquetFile(root, "spans/books/part-00000.parquet", schema) as file:
        file.write(pa.RecordBatch.from_pylist(cuts, schema))
    gone = {"id": "books/2", "subset": "books", "stage": "spans", "rule": "r", "row": 2}
    with ParquetFile(root, "dropped/spans/books/part-00000.parquet", DROPPED) as file:
        file.write(pa.RecordBatch.from_pylist([gone], DROPPED))
    manifest = compare(root, PAGES, contained, BAD)
    assert manifest["counts"] == {"documents": 10, "test_set": 0, "test_set_containment": 1}
    assert [r["id"] for r in read(root, "overlaps")] == ["books/1"]
    assert without_cuts(text, cuts) == text.replace(words(60), "")


def files(root):
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for folder in ("dropped/overlap", "overlaps")
        for p in sorted((root / folder).rglob("*.parquet"))
    }


def test_containment_does_not_depend_on_workers_or_the_order_of_patterns(tmp_path, contained):
    one = compare(tmp_path / "1", PAGES, contained, BAD)
    patterns = tuple(str(tmp_path / f"{name}.jsonl") for name in ("second", "first", "common"))
    turned = dict(reversed(PAGES.items()))
    two = compare(tmp_path / "2", turned, replace(contained, test_sets=patterns), BAD, workers=2)
    assert files(tmp_path / "1") == files(tmp_path / "2")
    assert one["test_sets"] == two["test_sets"]


def test_a_stopped_stage_goes_on_with_what_is_missing(tmp_path, contained):
    compare(tmp_path / "whole", PAGES, contained, BAD)
    root = tmp_path / "out"
    config = measured.config(root, PAGES, overlap=contained)
    context = measured.context(root)
    upstream = measured.write(root, PAGES, BAD)
    stages = (context, config, *upstream, DEDUPLICATED)
    last = root / "measured/web/part-00001.parquet"
    whole = last.read_bytes()
    last.write_bytes(b"damaged")
    with pytest.raises(StageError, match="stage overlap-count, part web-part-00001"):
        overlap.run(*stages)
    last.write_bytes(whole)
    # Where a file should be there is a folder: now the deciding step fails, twice.
    blocked = root / "overlaps/web/part-00001.parquet"
    blocked.mkdir(parents=True)
    times = []
    for _ in range(2):
        with pytest.raises(StageError, match="stage overlap, part web-part-00001"):
            overlap.run(*stages)
        counted = sorted(root.glob(".work/overlap/*/hits/*/*.arrow"))
        assert len(counted) == 4
        times.append([path.stat().st_mtime_ns for path in counted])
    assert times[0] == times[1]
    decided = [p for p in (root / "overlaps").rglob("*.parquet") if p.is_file()]
    times = [path.stat().st_mtime_ns for path in decided]
    blocked.rmdir()
    overlap.run(*stages)
    assert [path.stat().st_mtime_ns for path in decided] == times
    assert files(root) == files(tmp_path / "whole")
    assert not (root / ".work/overlap").exists()


def test_a_changed_threshold_is_decided_again(tmp_path, contained):
    root = tmp_path / "out"
    first = compare(root, PAGES, contained, BAD)
    assert compare(root, PAGES, contained, BAD) == first
    again = compare(root, PAGES, replace(contained, containment=None), BAD)
    assert again["counts"] == {"documents": 11, "test_set": 1}
    assert compare(root, PAGES, contained, BAD) == first


def test_the_card_shows_the_test_sets_that_were_found(tmp_path, contained):
    sets = compare(tmp_path / "out", PAGES, contained, BAD)["test_sets"]
    lines = tables({"subsets": {}, "rules": {}, "test_sets": sets}).splitlines()
    assert lines[-4].split("  ")[0] == "test set"
    assert lines[-3].split() == ["first.jsonl", "5", "3", "1", "3", "1", "1", "0"]
    assert lines[-2].split() == ["second.jsonl", "1", "1", "0", "1", "0", "0", "0"]
    assert lines[-1].split() == ["1", "without", "any", "1", "0", "0", "0", "0", "0", "1"]


def story(root, contained, key):
    row = next(r for r in read(root, "overlaps") if r["id"] == key)
    text = next(
        r["text"] for parts in PAGES.values() for part in parts for r in part if r["id"] == key
    )
    return overlap_story(root, text, row)


def test_why_shows_both_passages(tmp_path, contained):
    root = tmp_path / "out"
    compare(root, PAGES, contained, BAD)
    config = measured.config(root, PAGES, overlap=contained)
    (root / "config.yaml").write_text(to_yaml(config))
    assert story(root, contained, "books/1") == [
        "    holds test item 'twin' of 'first.jsonl', containment 1.0000",
        "    and 2 more test items above the threshold",
        f"    bytes 2 to 151 of the document: '{words(30, 500)}'",
        f"    in the test set: '{words(30, 500)}'",
    ]
    assert story(root, contained, "books/0")[0].startswith("    holds test item 'long\\nid' of")
    assert story(root, contained, "books/2")[0] == (
        "    like test item 'long\\nid' of 'first.jsonl', Jaccard 1.0000"
    )
    # The test item is shown from where it has the passage.
    item = {"id": "twin", "text": f"{words(400, 9000)} {words(30, 500)} end"}
    (tmp_path / "first.jsonl").write_text(json.dumps(item) + "\n")
    assert story(root, contained, "books/1")[-1] == (
        f"    in the test set: … '{words(30, 500)} end'"
    )
    # It may be gone, or unreadable by now.
    (tmp_path / "first.jsonl").write_text(json.dumps({"id": "other", "text": "x"}) + "\n")
    assert "no such item any more" in story(root, contained, "books/1")[-1]
    (tmp_path / "first.jsonl").write_text("{")
    assert "cannot be shown (" in story(root, contained, "books/1")[-1]
    for path in tmp_path.glob("*.jsonl"):
        path.unlink()
    assert "matches no file" in story(root, contained, "books/1")[-1]


def test_excerpts_are_bounded_and_on_one_line():
    assert excerpt("a\n b\0") == "'a b\\x00'"
    assert excerpt("x" * 10_000) == repr("x" * 300) + "…"
    assert excerpt(" " * 10_000 + "x") == "''…"
