"""The overlap rule against plain Python, and test sets that must never pass as empty."""

import gzip
import json
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.config import Overlap
from massivetext.document import text_buffers
from massivetext.errors import ConfigError, InputError
from massivetext.overlap import best_matches, load_index
from massivetext.overlap_index import Index, build_index
from massivetext.test_sets import Item, find_item, read_items, read_titles, wikitext_title

from . import reference_shingles as reference


def index_of(texts, n=13):
    return build_index((Item("t.jsonl", str(i), text) for i, text in enumerate(texts)), n)


def match(documents, index):
    return best_matches(*text_buffers(pa.array(documents, pa.large_string())), index)


def words(count, start=0):
    return " ".join(f"w{i}" for i in range(start, start + count))


def slow(documents, tests, n):
    out = []
    for document in documents:
        shingles = reference.shingles(document, n)
        values = [reference.jaccard(shingles, reference.shingles(test, n)) for test in tests]
        best = max(values, default=0.0)
        out.append((values.index(best) if best else -1, best))
    return out


TEXT = st.lists(st.sampled_from(["a", "b", "c", "d,", "e"]), max_size=14).map(" ".join)


@settings(deadline=None)
@given(st.lists(TEXT, max_size=6), st.lists(TEXT, max_size=8), st.integers(1, 4))
def test_best_match_equals_the_reference(documents, tests, n):
    item, jaccard = match(documents, index_of(tests, n))
    assert list(zip(item.tolist(), jaccard.tolist(), strict=True)) == slow(documents, tests, n)


def test_long_texts_equal_the_reference():
    rng = random.Random(1)
    base = [words(200, 1000 * i).split() for i in range(20)]
    documents = []
    for text in base * 3:
        copy = list(text)
        for at in rng.sample(range(200), rng.randrange(6)):
            copy[at] = "changed"
        documents.append(" ".join(copy[rng.randrange(20) :]))
    tests = [" ".join(text) for text in base]
    item, jaccard = match(documents, index_of(tests))
    assert list(zip(item.tolist(), jaccard.tolist(), strict=True)) == slow(documents, tests, 13)
    assert (jaccard > 0.8).any()
    assert (jaccard < 0.8).any()


@pytest.mark.parametrize(("count", "value"), [(10, 0.8), (9, 8 / 9), (8, 1.0)])
def test_both_sides_of_the_threshold(count, value):
    item, jaccard = match([words(count + 12)], index_of([words(8 + 12)]))
    assert (item.tolist(), jaccard.tolist()) == ([0], [value])
    assert (value > 0.8) == (count != 10)


def test_short_test_items_are_one_shingle():
    index = index_of(["Two words", "the same thirteen minus one", ""])
    assert index.wordless == 1
    item, jaccard = match(["two words", "Two  words!", "Two words more", "", "..."], index)
    assert item.tolist() == [-1, 0, -1, -1, -1]
    assert jaccard.tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]


def test_saved_index_gives_the_same_matches(tmp_path):
    index = index_of([words(40), words(40, 20), "short"])
    index.save(tmp_path)
    again = Index.open(tmp_path, 13)
    documents = [words(35), words(35, 25), "short", "none"]
    for a, b in zip(match(documents, index), match(documents, again), strict=True):
        assert np.array_equal(a, b)
    assert again.names.equals(index.names)
    assert again.size == 3


def write(path, *records):
    data = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def test_items_come_in_order_with_their_ids(tmp_path):
    a = write(tmp_path / "a.jsonl.gz", {"id": "x", "q": "one"}, "", {"q": "two"})
    b = write(tmp_path / "b.jsonl", {"q": "three", "id": 7})
    items = list(read_items((b, str(tmp_path / "*.gz"), a), "q"))
    assert items == [
        ("a.jsonl.gz", "x", "one"),
        ("a.jsonl.gz", "3", "two"),
        ("b.jsonl", "7", "three"),
    ]


def test_test_sets_of_one_file_name_are_told_apart(tmp_path):
    for folder in ("x/one", "y/one", "y/two"):
        (tmp_path / folder).mkdir(parents=True)
        write(tmp_path / folder / "test.jsonl", {"text": folder})
    write(tmp_path / "y/two/other.jsonl", {"text": "more"})
    pattern = str(tmp_path / "**/*.jsonl")
    again = f"{tmp_path}/x/../x/one/test.jsonl"  # one file, however it is spelt
    items = list(read_items((pattern, again), "text"))
    assert [(item.test_set, item.text) for item in items] == [
        ("x/one/test.jsonl", "x/one"),
        ("y/one/test.jsonl", "y/one"),
        ("other.jsonl", "more"),
        ("two/test.jsonl", "y/two"),
    ]
    assert find_item((pattern,), "text", "two/test.jsonl", "1").text == "y/two"
    assert find_item((pattern,), "text", "two/test.jsonl", "2") is None
    assert find_item((pattern,), "text", "test.jsonl", "1") is None


def test_an_id_that_is_null_is_the_line(tmp_path):
    path = write(tmp_path / "a.jsonl", {"id": 0, "text": "a"}, {"id": None, "text": "b"})
    assert [item.id for item in read_items((path,), "text")] == ["0", "2"]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ((), "empty test set"),
        (({"txt": "a"},), r"a.jsonl:1: no string field 'text'; the record has txt"),
        (({"text": "a"}, {"text": None}), r"a.jsonl:2: no string field"),
        (({"text": "a"}, "{not json"), r"a.jsonl:2: invalid JSON"),
        (("[1]",), r"a.jsonl:1: list, expected a JSON object"),
        (('{"text": "\\ud800"}',), "a.jsonl:1: a lone surrogate in text"),
        (('{"text": "a", "id": "\\udfff"}',), "a.jsonl:1: a lone surrogate in id"),
        (({"text": "..."}, {"text": ""}), "no document with words"),
    ],
)
def test_bad_test_sets_are_errors(tmp_path, records, message):
    path = write(tmp_path / "a.jsonl", *records)
    with pytest.raises(InputError, match=message):
        load_index(Overlap(test_sets=(path,)))


def test_missing_damaged_and_foreign_files_are_errors(tmp_path):
    with pytest.raises(ConfigError, match="matches no file"):
        load_index(Overlap(test_sets=(str(tmp_path / "*.jsonl"),)))
    whole = write(tmp_path / "a.jsonl.gz", *[{"text": words(9, 9 * i)} for i in range(2000)])
    data = (tmp_path / "a.jsonl.gz").read_bytes()
    (tmp_path / "a.jsonl.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="fetch the file again"):
        load_index(Overlap(test_sets=(whole,)))
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "\xff"}')
    with pytest.raises(InputError, match="not UTF-8"):
        load_index(Overlap(test_sets=(str(tmp_path / "b.jsonl"),)))
    (tmp_path / "c.txt").write_text("text")
    with pytest.raises(ConfigError, match="not JSONL"):
        load_index(Overlap(test_sets=(str(tmp_path / "c.txt"),)))


@pytest.mark.parametrize(
    ("heading", "title"),
    [
        ("Homarus gammarus", "Homarus gammarus"),
        ("M @-@ 82 ( Michigan highway )", "M-82 (Michigan highway)"),
        ("Meridian , Mississippi", "Meridian, Mississippi"),
        ("Battle of Sullivan 's Island", "Battle of Sullivan's Island"),
        ("1888 – 89 New Zealand Native football team", "1888–89 New Zealand Native football team"),
        ("J. C. W. Beckham", "J. C. W. Beckham"),
    ],
)
def test_wikitext_titles(heading, title):
    assert wikitext_title(heading) == title


def test_titles_from_every_form(tmp_path):
    (tmp_path / "a.txt").write_text("One  Title\n\n Other\n")
    b = write(tmp_path / "b.jsonl", {"title": "Third"}, {"text": " = Fourth ( x ) = \n \n text"})
    c = write(tmp_path / "c.jsonl.gz", {"text": " = The <unk> = \n"}, {"title": "Other"})
    assert read_titles((str(tmp_path / "a.txt"), b, c)) == {
        "One Title",
        "Other",
        "Third",
        "Fourth (x)",
    }


def test_bad_titles_are_errors(tmp_path):
    (tmp_path / "a.txt").write_text("\n \n")
    with pytest.raises(InputError, match="no titles"):
        read_titles((str(tmp_path / "a.txt"),))
    b = write(tmp_path / "b.jsonl", {"text": " = = Section = = \n"})
    with pytest.raises(InputError, match=r"b.jsonl:1: no string field 'title'"):
        read_titles((b,))
