"""The stage `spans`, against brute force, and what a build with it and without it leaves."""

import gzip
import json
import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from massivetext.card import tables
from massivetext.config import Deduplicate, Overlap, Spans
from massivetext.config_file import parse
from massivetext.dataset import read_json
from massivetext.errors import VerifyError
from massivetext.evidence import explain
from massivetext.hashing import hash_string
from massivetext.lineage import load, stale
from massivetext.pipelines import overlap, spans
from massivetext.pipelines.build import build
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.pipelines.part import Part
from massivetext.pipelines.parts import CutReader
from massivetext.verify import _cut, verify
from tests.massivetext import reference_spans as reference

from . import corpus, measured

SENTENCES = [f"Sentence {i} of them has these words." for i in range(40)]


def make_text(rng: random.Random) -> str:
    text = ""
    for _ in range(rng.randrange(12)):
        first = rng.randrange(len(SENTENCES))
        run = SENTENCES[first : first + rng.randint(1, 5)]
        text += rng.choice([" ", "\n"]).join(run) + rng.choice(["\n", "\n\n", " "])
    return text


def make_corpus(seed: int) -> dict[str, list[list[dict]]]:
    rng = random.Random(seed)
    return {
        subset: [
            [{"id": f"{subset}/{part}#{i}", "text": make_text(rng)} for i in range(size)]
            for part, size in enumerate(sizes)
        ]
        for subset, sizes in {"books": [20, 0, 15], "github": [10], "news": [12]}.items()
    }


def run(root: Path, texts, bad=None, workers: int = 1, **rule) -> dict:
    config = measured.config(root, texts, deduplicate=Deduplicate(**rule))
    upstream = measured.write(root, texts, bad)
    for path in (root / "measured").rglob("*.parquet"):
        # Several row groups, as a large part has.
        pq.write_table(pq.read_table(path), path, row_group_size=7)
    return spans.run(measured.context(root, workers), config, *upstream, {"files": []})


def cut_texts(root: Path, texts) -> dict[str, str]:
    """Return what the cuts leave of every document, by id."""
    left = {}
    for subset, parts in texts.items():
        for number, documents in enumerate(parts):
            part = Part(f"{subset}/part-{number:05d}", 0, {"rows": len(documents)})
            cuts = CutReader(root, part)
            table = pq.read_table(root / f"measured/{part.name}.parquet")
            first = 0
            for batch in table.to_batches(max_chunksize=3):
                cut = cuts.cut(batch, first)
                assert cut.schema == batch.schema
                left.update(zip(cut["id"].to_pylist(), cut["text"].to_pylist(), strict=True))
                first += batch.num_rows
    return left


def rows(root: Path, folder: str) -> list[dict]:
    return [
        r for p in sorted((root / folder).rglob("*.parquet")) for r in pq.read_table(p).to_pylist()
    ]


@pytest.mark.parametrize("kind", list(Spans))
def test_equals_brute_force(tmp_path, kind):
    texts = make_corpus(5)
    bad = {"books/part-00000": [0, 3], "books/part-00002": [14]}
    manifest = run(tmp_path, texts, bad, spans=kind)
    documents = [
        (d["id"], d["text"])
        for subset in ("books", "news")
        for number, part in enumerate(texts[subset])
        for row, d in enumerate(part)
        if row not in bad.get(f"{subset}/part-{number:05d}", ())
    ]
    ids, before = zip(*documents, strict=True)
    priority = [hash_string(key, 1) for key in ids]
    after, count = reference.deduplicate(list(before), priority, kind, 5)
    # Subsets that are excepted, and documents that were dropped before, play no part.
    expected = {d["id"]: d["text"] for p in texts.values() for part in p for d in part}
    expected.update(zip(ids, after, strict=True))
    assert cut_texts(tmp_path, texts) == expected
    emptied = {k for k, a, b in zip(ids, before, after, strict=True) if a.split() and not b}
    dropped = rows(tmp_path, "dropped/spans")
    assert {row["id"] for row in dropped} == emptied
    assert emptied
    assert {row["rule"] for row in dropped} == {"empty_after_spans"}
    for row in dropped:
        part = tmp_path / f"measured/{row['subset']}"
        assert row["id"] in {
            pq.read_table(path)["id"].to_pylist()[row["row"]]
            for path in part.glob("*.parquet")
            if pq.read_metadata(path).num_rows > row["row"]
        }
    lost = sum(len(a) - len(b) for a, b in zip(before, after, strict=True))
    units = [reference.units(reference.segments(text, kind), kind, 5) for text in before]
    assert manifest["counts"] == {
        "documents": len(before),
        "units": sum(map(len, units)),
        "removed_units": count,
        "removed_bytes": lost,
        "cut": sum(a != b for a, b in zip(before, after, strict=True)),
        "emptied": len(emptied),
    }
    assert sum(s["removed_bytes"] for s in manifest["subsets"].values()) == lost
    assert sorted(manifest["subsets"]) == ["books", "news"]


def test_a_paragraph_on_every_page_stays_on_one(tmp_path):
    notice = "All rights reserved by us, in any country."
    pages = [
        [{"id": f"books/{p}#{i}", "text": f"Page {p} {i} is new.\n\n{notice}"} for i in range(10)]
        for p in range(3)
    ]
    pages[1].append({"id": "books/1#10", "text": notice})
    manifest = run(tmp_path, {"books": pages}, spans=Spans.PARAGRAPHS)
    left = cut_texts(tmp_path, {"books": pages})
    keeper = min((d["id"] for part in pages for d in part), key=lambda key: hash_string(key, 1))
    assert [key for key, text in left.items() if notice in text] == [keeper]
    assert sum(text.endswith("is new.") for text in left.values()) == 29
    evidence = rows(tmp_path, "spans")
    assert {r["id"] for r in evidence} == set(left) - {keeper}
    part = tmp_path / f"measured/{evidence[0]['survivor_part']}.parquet"
    assert pq.read_table(part)["id"].to_pylist()[evidence[0]["survivor_row"]] == keeper
    assert len({r["hash"] for r in evidence}) == 1
    text = pages[0][0]["text"]
    first = next(r for r in evidence if r["row"] == (1 if keeper == "books/0#0" else 0))
    assert (first["start"], first["stop"]) == (len(text) - len(notice) - 2, len(text))
    assert manifest["counts"]["removed_units"] == 30
    assert manifest["counts"]["emptied"] == (keeper != "books/1#10")


def test_same_bytes_with_any_number_of_workers(tmp_path):
    texts = make_corpus(8)
    written = []
    for workers in (1, 2):
        root = tmp_path / str(workers)
        manifest = run(root, texts, workers=workers, spans=Spans.SENTENCES, span_min_words=1)
        assert (
            run(root, texts, workers=workers, spans=Spans.SENTENCES, span_min_words=1) == manifest
        )
        written.append(manifest)
        assert not (root / ".work/spans").exists()
    assert written[0] == written[1]


def test_test_documents_are_looked_for_in_what_is_left(tmp_path):
    rng = random.Random(3)
    vocabulary = corpus.vocabulary(rng)
    notice, *tests = (" ".join(rng.choices(vocabulary, k=60)) for _ in range(5))
    documents = [notice, *(f"{notice}\n\n{test}" for test in tests)]
    rows_of = [{"id": f"books/0#{i}", "text": text} for i, text in enumerate(documents)]
    items = [{"id": str(i), "text": text} for i, text in enumerate([notice, *tests])]
    corpus.write_jsonl(tmp_path / "tests.jsonl", items)
    config = measured.config(
        tmp_path,
        ["books"],
        deduplicate=Deduplicate(spans=Spans.PARAGRAPHS),
        overlap=Overlap(test_sets=(str(tmp_path / "tests.jsonl"),)),
    )
    context = measured.context(tmp_path)
    upstream = measured.write(tmp_path, {"books": [rows_of]})
    decided = spans.run(context, config, *upstream, {"files": []})
    compared = overlap.run(context, config, *upstream, decided)
    # With the notice, a page is not a copy of its test document; without it, it is.
    cut = {row["id"] for row in rows(tmp_path, "spans")}
    emptied = {row["id"] for row in rows(tmp_path, "dropped/spans")}
    assert len(cut) == 4
    assert emptied == {"books/0#0"}
    assert {row["id"] for row in rows(tmp_path, "dropped/overlap")} == cut - emptied
    assert compared["counts"]["documents"] == 4


def test_a_corpus_without_documents(tmp_path):
    manifest = run(tmp_path, {"books": [[]]}, spans=Spans.LINES)
    assert manifest["counts"]["documents"] == manifest["counts"]["units"] == 0
    assert run(tmp_path, {"github": [[]]}, spans=Spans.LINES)["counts"] == {}


NOTICE = "This notice stands on the page of every one of us."


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Builds of `corpus` with a notice in every book, up to `documents`: without spans, with."""
    root = tmp_path_factory.mktemp("spans")
    text = corpus.make(root)
    files = sorted((root / "data/books").iterdir())
    for path in files:
        records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        for record in records:
            record["text"] += f"\n\n{NOTICE}"
        records.append({"id": path.stem, "text": f"{NOTICE}\n"})
        corpus.write_jsonl(path, records)
    text = text.replace(f'test_sets: "{root}/data/tests.jsonl.gz"', "jaccard: 0.8")
    text = "".join(
        line
        for line in text.splitlines(keepends=True)
        if not line.startswith(("  massiveweb: {input", "  github: "))
    )
    off = do(text)
    shutil.copytree(off[0], root / "on")
    on = do(spans_on(text, f"{root}/on"))
    return root, text, off, on


def spans_on(text: str, out: str) -> str:
    text = text.replace("seed: 1\n", "seed: 1\ndeduplicate: {spans: paragraphs}\n")
    old = next(line for line in text.splitlines() if line.startswith("output:"))
    return text.replace(old, f"output: {out}")


def do(text: str, workers: int = 1, until: str = "documents") -> tuple[Path, dict]:
    config = parse(text, "test.yaml").config
    root = Path(config.output)
    return root, build(Context(root, Engine(workers=workers), quiet=True), config, until)


def all_texts(root: Path) -> list[str]:
    return [row["text"] for kind in ("documents", "heldout") for row in rows(root, kind)]


def test_a_build_keeps_one_copy(built):
    root, _, (off, before), (on, after) = built
    kept = before["documents"]["left"]["books"]["near"]["documents"]
    # One of the three documents of the notice alone is no exact duplicate.
    assert sum(NOTICE in text for text in all_texts(off)) == kept
    assert sum(NOTICE in text for text in all_texts(on)) == 1
    counts = after["spans"]["subsets"]["books"]
    assert counts["removed_units"] >= kept - 1
    left = read_json(on / "card.json")["subsets"]["books"]
    assert left["near"]["documents"] - left["spans"]["documents"] == counts["emptied"]
    assert left["near"]["bytes"] - left["spans"]["bytes"] == counts["removed_bytes"]
    trained = left["training"]["bytes"] + left["heldout"]["bytes"]
    assert (
        trained
        == left["overlap"]["bytes"]
        == sum(
            len(row["text"].encode())
            for k in ("documents", "heldout")
            for row in rows(on / k, "books")
        )
    )
    for row in rows(on, "documents") + rows(on, "heldout"):
        assert row["text_bytes"] == len(row["text"].encode())
    assert "after spans" in tables(read_json(on / "card.json"))


def test_why_shows_what_was_cut(built):
    on = built[3][0]
    cut = rows(on, "spans")[0]
    story = explain(on, cut["id"])
    assert "CUT: 1 repeated spans" in story
    assert NOTICE in story
    assert f"row {cut['survivor_row']} of measured/{cut['survivor_part']}.parquet" in story


def test_verify_holds_and_finds_a_text_that_was_not_cut(built):
    _, _, _, (on, _) = built
    assert any(line.startswith("spans: the documents are what is left") for line in verify(on))
    path = next(
        p for p in sorted((on / "spans/books").iterdir()) if pq.read_metadata(p).num_rows > 2
    )
    whole = path.read_bytes()
    try:
        pq.write_table(pq.read_table(path).slice(1), path)
        with pytest.raises(VerifyError, match=f"books/{path.stem}"):
            _cut(on, load(on))
    finally:
        path.write_bytes(whole)


def test_same_documents_with_other_workers_and_order_of_inputs(built, tmp_path):
    root, text, _, (on, manifests) = built
    listed = ", ".join(f'"{p}"' for p in sorted((root / "data/books").iterdir(), reverse=True))
    other = text.replace(f'["{root}/data/books/b*.jsonl.gz"]', f"[{listed}]")
    assert other != text
    _, again = do(spans_on(other, f"{tmp_path}/again"), workers=2)
    for stage in ("spans", "documents"):
        assert again[stage] == manifests[stage]


def test_off_leaves_no_trace_and_neither_does_turning_it_off(built, tmp_path):
    _, text, (off, before), (on, _) = built
    assert "spans" not in before
    assert not (off / "spans").exists()
    assert not (off / "dropped/spans").exists()
    assert "spans" not in before["documents"]["left"]["books"]
    assert stale(load(off)) == []
    assert stale(load(on)) == []
    both = tmp_path / "both"
    shutil.copytree(on, both)
    config = spans_on(text, str(both))
    # Cuts of another rule leave what was made from the first ones behind.
    do(config.replace("{spans: paragraphs}", "{spans: lines}"), until="spans")
    assert stale(load(both)) == ["overlap", "documents"]
    _, again = do(config.replace("deduplicate: {spans: paragraphs}\n", ""))
    assert again == before
    assert stale(load(both)) == []
    assert not (both / "spans").exists()
    assert not (both / "dropped/spans").exists()
    assert not (both / "manifests/spans.json").exists()
