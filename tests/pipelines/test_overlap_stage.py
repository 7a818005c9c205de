"""The overlap stage end to end: test sets, titles, and drops of the stages before."""

import hashlib
import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from massivetext.config import Overlap
from massivetext.dropped import DROPPED
from massivetext.errors import ConfigError, InputError
from massivetext.pipelines import deduplicate, overlap

from . import measured


def words(count, start=0):
    return " ".join(f"w{i}" for i in range(start, start + count))


def row(key, text, title=None):
    metadata = json.dumps({"title": title}) if title else None
    return {"id": key, "text": text, "metadata": metadata}


def run(root, corpus, rule, bad=None, workers=1):
    config = measured.config(root, corpus, overlap=rule)
    context = measured.context(root, workers)
    upstream = measured.write(root, corpus, bad)
    deduplicated = deduplicate.run(context, config, *upstream)
    return overlap.run(context, config, *upstream, deduplicated)


# As deduplication leaves it when there is nothing to drop.
DEDUPLICATED = {"files": []}


def compare(root, corpus, rule, bad=None, workers=1):
    config = measured.config(root, corpus, overlap=rule)
    upstream = measured.write(root, corpus, bad)
    return overlap.run(measured.context(root, workers), config, *upstream, DEDUPLICATED)


@pytest.fixture
def rule(tmp_path):
    tests = [{"id": "q1", "text": words(20)}, {"id": "q2", "text": words(20, 100)}]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(t) + "\n" for t in tests))
    (tmp_path / "titles.txt").write_text("Some  Page\nWords\n")
    return Overlap(
        test_sets=(str(tmp_path / "test.jsonl"),),
        wikipedia_titles=(str(tmp_path / "titles.txt"),),
    )


CORPUS = {
    "books": [
        [
            row("books/0", words(22), "Some Page"),  # 8 of 10 shingles: exactly 0.8, stays
            row("books/1", words(21)),  # 8 of 9: goes
            row("books/2", words(21, 99)),
            row("books/3", words(20)),  # dropped by the rules
            row("books/4", words(20, 100)),
        ],
        [row("books/5", words(20, 100) + "!")],  # duplicate of books/4
    ],
    "wikipedia": [
        [
            row("wikipedia/0", words(50, 500), "Some Page"),
            row("wikipedia/1", words(50, 600), "some page"),
            row("wikipedia/2", words(20, 100), "Words"),
            row("wikipedia/3", ""),
        ]
    ],
}


def read(root, folder):
    return [
        r for p in sorted((root / folder).rglob("*.parquet")) for r in pq.read_table(p).to_pylist()
    ]


def test_drops_and_their_evidence(tmp_path, rule):
    root = tmp_path / "out"
    manifest = run(root, CORPUS, rule, {"books/part-00000": [3]})
    gone = {r["id"] for kind in ("exact", "near") for r in read(root, f"dropped/{kind}")}
    evidence = {r["id"]: r for r in read(root, "overlaps")}
    drops = {r["id"]: r for r in read(root, "dropped/overlap")}
    assert drops.keys() == evidence.keys()
    copies = {"books/1", "books/2", "books/4", "books/5", "wikipedia/2"} - gone
    assert drops.keys() == copies | {"wikipedia/0"}
    assert gone
    assert "books/0" not in gone
    for key in copies:
        item = "q1" if key == "books/1" else "q2"
        value = 1.0 if key in ("books/4", "books/5", "wikipedia/2") else 8 / 9
        found = evidence[key]
        assert (found["test_set"], found["test_id"]) == ("test.jsonl", item)
        assert (found["jaccard"], found["kind"]) == (value, "test_set")
        assert (found["containment"], found["items"]) == (None, 1)
        texts = {r["id"]: r["text"] for parts in CORPUS.values() for part in parts for r in part}
        passage = texts[key].encode()[found["start"] : found["end"]].decode()
        assert passage == words(20, 0 if item == "q1" else 100)
        assert (drops[key]["rule"], drops[key]["stage"]) == ("test_set_overlap", "overlap")
        assert (drops[key]["value"], drops[key]["threshold"]) == (value, 0.8)
        assert (drops[key]["partner"], drops[key]["detail"]) == (item, "test.jsonl")
    page = evidence["wikipedia/0"]
    assert (page["kind"], page["test_id"], page["jaccard"]) == ("title", "Some Page", None)
    assert drops["wikipedia/0"]["rule"] == "wikipedia_title"
    assert manifest["subsets"]["wikipedia"] == {
        "documents": 4, "test_set": 1, "title": 1, "titled": 3,
    }  # fmt: skip
    assert manifest["test_items"] == 2
    assert manifest["test_sets"] == {
        "test.jsonl": {
            "items": 2,
            "wordless": 0,
            "documents_jaccard": len(copies),
            "items_matched": len({evidence[key]["test_id"] for key in copies}),
        }
    }
    assert not [f for f in manifest["files"] if f["path"].startswith(".work")]
    for parts in ("books/part-00000", "books/part-00001", "wikipedia/part-00000"):
        path = root / f"dropped/overlap/{parts}.parquet"
        assert pq.read_schema(path).equals(DROPPED)
        for drop in pq.read_table(path).to_pylist():
            name, number = parts.split("/part-")
            assert CORPUS[name][int(number)][drop["row"]]["id"] == drop["id"]


def test_same_bytes_with_two_workers(tmp_path, rule):
    found = []
    for workers in (1, 2):
        root = tmp_path / str(workers)
        compare(root, CORPUS, rule, workers=workers)
        files = sorted(p for p in root.rglob("*") if p.is_file())
        found.append(
            {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
        )
    assert found[0] == found[1]


def test_without_test_sets_nothing_is_dropped(tmp_path):
    manifest = compare(tmp_path, CORPUS, Overlap())
    assert read(tmp_path, "dropped/overlap") == []
    assert (manifest["test_items"], manifest["test_sets"]) == (0, {})
    assert len(manifest["files"]) == 6


def test_titles_that_can_match_nothing_are_an_error(tmp_path, rule):
    corpus = {"wikipedia": [[row("wikipedia/0", words(30))]]}
    with pytest.raises(InputError, match="no document of the subset wikipedia has a 'title'"):
        compare(tmp_path / "out", corpus, rule)


def test_a_changed_test_set_is_compared_again(tmp_path, rule):
    root = tmp_path / "out"
    first = compare(root, CORPUS, rule)
    assert compare(root, CORPUS, rule) == first
    (tmp_path / "test.jsonl").write_text(json.dumps({"text": "nothing like it"}) + "\n")
    assert compare(root, CORPUS, rule)["counts"]["test_set"] == 0


def test_a_bad_test_set_stops_before_any_work(tmp_path, rule):
    (tmp_path / "test.jsonl").write_text("")
    with pytest.raises(InputError, match="empty test set"):
        compare(tmp_path / "out", CORPUS, rule)
    (tmp_path / "test.jsonl").unlink()
    with pytest.raises(ConfigError, match="matches no file"):
        compare(tmp_path / "out", CORPUS, rule)


def test_containment_leaves_what_the_papers_rule_does(tmp_path, rule):
    both = replace(rule, containment=0.8)
    alone = compare(tmp_path / "alone", CORPUS, rule, {"books/part-00000": [3]})
    compare(tmp_path / "both", CORPUS, both, {"books/part-00000": [3]})
    before, after = (read(tmp_path / name, "dropped/overlap") for name in ("alone", "both"))
    kept = [r for r in after if r["rule"] != "test_set_containment"]
    assert [r for r in before if r["rule"] == "test_set_overlap"] == [
        r for r in kept if r["rule"] == "test_set_overlap"
    ]
    assert alone["counts"]["test_set"] == sum(r["rule"] == "test_set_overlap" for r in after)
    # books/0 holds 8 of the 8 shingles of q1: not by Jaccard, which is 0.8 exactly.
    assert {r["id"] for r in after} - {r["id"] for r in before} == {"books/0"}
