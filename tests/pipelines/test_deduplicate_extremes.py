"""Deduplication of what breaks pipelines: crowds of equal documents, odd ids, very large texts."""

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from massivetext.candidates import repeated
from massivetext.config import Deduplicate
from massivetext.pipelines import deduplicate, exchange

from . import measured
from .test_deduplicate import edited, prose, read, run


def test_crowds_of_equal_texts_leave_one_each(tmp_path):
    crowd = [{"id": f"books/a#{i}", "text": "the same, again"} for i in range(30_000)]
    other = [{"id": f"c4/a#{i}", "text": "The one word" if i % 2 else "word"} for i in range(2000)]
    manifest = run(tmp_path, {"books": [crowd[:20_000], crowd[20_000:]], "c4": [other]})
    assert manifest["counts"]["exact"] == 29_999 + 999 + 999
    assert manifest["counts"]["candidate_pairs"] == 0
    rows = read(tmp_path, "dropped/exact")
    assert len({row["partner"] for row in rows}) == 3
    assert len({(row["subset"], row["id"]) for row in rows}) == len(rows)


def test_ids_with_line_breaks_and_ids_that_repeat(tmp_path):
    rng = random.Random(1)
    base = prose(rng, 200)
    texts = [" ".join(base), " ".join(base), " ".join(edited(rng, base, 1)), "", "lone"]
    corpus = {
        "books": [
            [{"id": "books/a\nb#\u20280", "text": text} for text in texts],
            [{"id": "books/a\nb#\u20280", "text": text} for text in texts],
        ]
    }
    manifest = run(tmp_path, corpus)
    counts = manifest["counts"]
    assert (counts["documents"], counts["empty"]) == (10, 2)
    # Of two base texts, twice, and an edited one and a lone one, twice, the base and the lone stay.
    assert (counts["exact"], counts["near"]) == (5, 1)
    gone = [
        (part, kind, row)
        for part in ("books/part-00000", "books/part-00001")
        for kind in ("exact", "near")
        for row in pq.read_table(tmp_path / f"dropped/{kind}/{part}.parquet")["row"].to_pylist()
    ]
    # Of equal ids, the first document in order.
    assert gone == [
        ("books/part-00000", "exact", 1),
        ("books/part-00000", "near", 2),
        ("books/part-00001", "exact", 0),
        ("books/part-00001", "exact", 1),
        ("books/part-00001", "exact", 2),
        ("books/part-00001", "exact", 4),
    ]
    assert {row["survivor"] for row in read(tmp_path, "duplicates")} == {"books/a\nb#\u20280"}


def test_a_large_document_among_small_ones(tmp_path):
    rng = random.Random(2)
    text = prose(rng, 400_000)
    corpus = [
        {"id": "books/a#0", "text": " ".join(text)},
        {"id": "books/a#1", "text": "small"},
        {"id": "books/a#2", "text": " ".join(edited(rng, text, 1000))},
        {"id": "books/a#3", "text": " ".join(text[:300_000])},
    ]
    manifest = run(tmp_path, {"books": [corpus]}, keep_shingles=True)
    assert manifest["counts"]["near"] == 1
    rows = read(tmp_path, "shingles")
    assert {len(row["shingles"]) for row in rows} >= {1, 300_000 - 12}


def test_the_size_of_spilled_pieces_changes_nothing(tmp_path, monkeypatch):
    rng = random.Random(3)
    texts = []
    for _ in range(40):
        base = prose(rng, 150)
        texts += [" ".join(base), " ".join(edited(rng, base, 1))]
    corpus = {"books": [[{"id": f"books/a#{i}", "text": text} for i, text in enumerate(texts)]]}
    config = measured.config(tmp_path, corpus, deduplicate=Deduplicate())
    found = []
    for size in (exchange.BUFFER_BYTES, 1000):
        monkeypatch.setattr(exchange, "BUFFER_BYTES", size)
        monkeypatch.setattr("massivetext.pipelines.numbering.TARGET_BYTES", size)
        root = tmp_path / str(size)
        upstream = measured.write(root, corpus)
        deduplicate.run(measured.context(root), config, *upstream)
        found.append(read(root, "duplicates"))
    assert found[0] == found[1]
    assert len(found[0]) == 40


@given(
    st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=40), max_size=4),
)
def test_no_band_that_occurs_again_is_left_out(lists):
    chunks = [np.array(values, np.uint64) for values in lists]
    kept = repeated(chunks)
    assert [len(k) for k in kept] == [len(c) for c in chunks]
    values = [value for some in lists for value in some]
    for some, mask in zip(lists, kept, strict=True):
        for value, keep in zip(some, mask.tolist(), strict=True):
            assert keep or values.count(value) == 1


def test_bands_that_all_differ_are_nearly_all_left_out():
    bands = np.random.default_rng(1).integers(0, 2**64, 100_000, dtype=np.uint64)
    assert np.concatenate(repeated([bands[:70_000], bands[70_000:]])).mean() < 0.15


def test_spilled_columns_come_back_whole(tmp_path):
    # A batch that is cut for its partitions keeps its lists with their rows.
    lists = pa.array([[i] * (i % 5) for i in range(1000)], pa.large_list(pa.uint64()))
    keys = pa.array(np.arange(1000, dtype=np.uint32))
    batch = pa.RecordBatch.from_arrays([keys, lists], names=["key", "lists"])
    for number, table in exchange.split_by_key([batch.slice(3, 500), batch.slice(600)], "key", 7):
        for key, values in zip(*(c.to_pylist() for c in table.columns), strict=True):
            assert key % 7 == number
            assert values == [key] * (key % 5)
