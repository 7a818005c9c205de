"""Contamination against sets of tuples of words, and the files that items are written to."""

import bz2
import gzip
import json
from argparse import Namespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import contamination_report
from massivetext.cli import contamination as command
from massivetext.contamination import Passages, documents_manifest, find_ngrams
from massivetext.contamination_report import measure, table
from massivetext.dataset import write_json
from massivetext.errors import ConfigError, InputError, StageError
from massivetext.test_items import Line, read_passages, stems

from .reference_shingles import words

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string())])


def run_of(first, count):
    """Words that no other run of words has."""
    return " ".join(f"w{number}" for number in range(first, first + count))


def write_documents(root, subsets, test_sets=()):
    """Write training documents, {subset: [texts of a file]}, as a build leaves them."""
    manifest = {"subsets": {}, "heldout": {}, "files": []}
    for name, files in subsets.items():
        parts = []
        for number, texts in enumerate(files):
            path = f"documents/{name}/part-{number:05d}.parquet"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            rows = [{"id": f"{name}/{i}", "text": text} for i, text in enumerate(texts)]
            pq.write_table(pa.Table.from_pylist(rows, SCHEMA), root / path, row_group_size=2)
            size = sum(len(text.encode()) for text in texts)
            parts.append({"path": path, "rows": len(texts), "bytes": size})
        sums = {"documents": sum(p["rows"] for p in parts), "bytes": sum(p["bytes"] for p in parts)}
        manifest["subsets"][name] = {"parts": parts, **sums}
    write_json(root / "manifests" / "documents.json", manifest)
    config = {"output": str(root), "subsets": {"web": {"input": "x"}}}
    config["overlap"] = {"test_sets": [str(path) for path in test_sets]}
    (root / "config.yaml").write_text(json.dumps(config))
    return root


def write_items(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def texts(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# The rule.

ALPHABET = st.sampled_from(["a", "b", "c,", "(d)", "é", "-", "\n", " "])
TEXT = st.lists(ALPHABET, max_size=60).map(" ".join)


@settings(deadline=None, max_examples=60)
@given(
    documents=st.lists(st.lists(TEXT, max_size=3), min_size=1, max_size=3),
    items=st.lists(st.lists(TEXT, min_size=1, max_size=2), min_size=1, max_size=6),
)
def test_items_are_judged_by_the_8_grams_they_share(tmp_path_factory, documents, items):
    root = tmp_path_factory.mktemp("out")
    write_documents(root, {"web": documents, "books": documents[:1]})
    records = [
        {"text": each[0]}
        if len(each) == 1
        else {"question": each[0], "choices": ["x", each[1]], "answer": 1}
        for each in items
    ]
    path = write_items(root / "items.jsonl", records)

    def grams(text):
        found = words(text)
        return {tuple(found[i : i + 8]) for i in range(len(found) - 7)}

    held = set().union(*(grams(text) for texts in documents for text in texts))
    passages = Passages({"items": str(path)}, "text")
    for threads in (1, 3):
        found = find_ngrams(
            root, documents_manifest(root), passages.index, threads=threads, quiet=True
        )
        judged = passages.judge(found)["items"]
        expected = [set().union(*map(grams, each)) for each in items]
        assert judged.ngrams.tolist() == [len(each) for each in expected]
        assert judged.found.tolist() == [len(each & held) for each in expected]
        shares = [len(each & held) / len(each) if each else None for each in expected]
        assert judged.short.tolist() == [share is None for share in shares]
        dirty = [share is not None and share >= 0.7 - 1e-9 for share in shares]
        assert judged.contaminated.tolist() == dirty
        assert (judged.clean | judged.contaminated | judged.short).all()
        tenths = [int(share * 10 + 1e-9) for share in shares if share is not None]
        assert judged.tenths().tolist() == [tenths.count(i) for i in range(11)]


def judge(tmp_path, documents, records, text_field="text"):
    root = write_documents(tmp_path / "out", {"web": [documents]})
    passages = Passages({"s": str(write_items(tmp_path / "s.jsonl", records))}, text_field)
    found = find_ngrams(root, documents_manifest(root), passages.index, quiet=True)
    judged = passages.judge(found)["s"]
    kinds = [judged.clean, judged.contaminated, judged.short]
    return [["clean", "contaminated", "short"][[bool(k[i]) for k in kinds].index(True)]
            for i in range(len(records))]  # fmt: skip


def test_seven_tenths_of_the_8_grams_contaminate(tmp_path):
    # 17 words are 10 8-grams, of which 14 words have 7 and 13 words 6.
    items = [{"text": run_of(100 * i, 17)} for i in range(5)]
    documents = [
        f"x {run_of(0, 14)} y",
        f"x {run_of(100, 13)} y",
        # Parts of one item in several documents.
        f"x {run_of(200, 11)} y",
        f"x {run_of(206, 11)} y",
        f"z {run_of(300, 7)} y {run_of(307, 7)} z",
    ]
    assert judge(tmp_path, documents, items) == [
        "contaminated", "clean", "contaminated", "clean", "clean",
    ]  # fmt: skip


def test_words_are_those_of_the_overlap_stage(tmp_path):
    documents = ["“one two”,\nthree -- four five; six seven\teight!"]
    items = [
        {"text": "one two three four five six seven eight."},
        {"text": "One two three four five six seven eight."},
    ]
    assert judge(tmp_path, documents, items) == ["contaminated", "clean"]


def test_short_items_are_a_class_of_their_own(tmp_path):
    # A document that is the item does not tell: seven words are a phrase.
    documents = [run_of(0, 7), run_of(50, 8), ""]
    items = [{"text": run_of(0, 7)}, {"text": run_of(50, 8)}, {"text": ""}, {"text": "?! ..."}]
    assert judge(tmp_path, documents, items) == ["short", "contaminated", "short", "short"]


def test_no_8_gram_at_all(tmp_path):
    assert judge(tmp_path, [run_of(0, 30)], [{"text": ""}, {"text": "a"}]) == ["short", "short"]
    assert judge(tmp_path, [], [{"text": run_of(0, 9)}]) == ["clean"]


def test_question_and_answer_are_apart_and_what_continues_is_not(tmp_path):
    half = [run_of(100 * i, 8) for i in range(4)]
    choice = {"choices": [run_of(900, 8), run_of(8, 8)], "answer": 1}
    items = [
        {"question": run_of(0, 8), **choice},  # 2 of 2: both stand in the document
        {"context": run_of(0, 8), **choice},  # 9 of 9
        {"context": run_of(0, 8), "target": " " + run_of(8, 8)},  # 9 of 9
        {"context": run_of(0, 8), "target": " " + half[1]},  # 1 of 9
        {"question": run_of(0, 8), "choices": [half[1], half[2]], "answer": 0},  # 1 of 2
        {"question": run_of(0, 16), "choices": [run_of(0, 16), half[2]], "answer": 0},  # once each
        {"question": "too short", "choices": ["a", run_of(8, 8)], "answer": 1},  # 1 of 1
        {"question": "too short", "choices": [run_of(8, 8), "a"], "answer": 1},
    ]
    assert judge(tmp_path, [run_of(0, 16)], items) == [
        "contaminated", "contaminated", "contaminated", "clean",
        "clean", "contaminated", "contaminated", "short",
    ]  # fmt: skip


def test_the_text_field_of_the_config_comes_first(tmp_path):
    items = [
        {"body": run_of(0, 9), "context": "a", "target": "b"},
        {"context": run_of(0, 9), "target": ""},
    ]
    assert judge(tmp_path, [run_of(0, 9)], items, "body") == ["contaminated"] * 2


# What is written.


@pytest.fixture
def built(tmp_path):
    tests = tmp_path / "tests"
    tests.mkdir()
    lines = [
        f'{{"text": "{run_of(0, 12)}", "id": 7}}',  # stays as it is spelt
        "",
        f'  {{"id":1,   "text":"{run_of(500, 12)}"}}',
        '{"text": "h\\u00e9 short"}',
        f'{{"text": "{run_of(2, 9)} \\ud83d\\ude00"}}',
    ]
    data = "\n".join(lines).encode()
    (tests / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + data)
    (tests / "b.jsonl.gz").write_bytes(gzip.compress(data + b"\n"))
    root = write_documents(
        tmp_path / "out",
        {"web": [["x", run_of(0, 8)], [f"{run_of(4, 8)} y {run_of(500, 11)}"]]},
        [tests / "*.jsonl*"],
    )
    return root, tests, [line.encode() for line in lines if line]


def test_items_are_written_as_they_were_by_class(built):
    root, tests, lines = built
    report = measure(root, quiet=True)
    assert json.loads((root / "contamination/report.json").read_text()) == report
    assert sorted(report["test_sets"]) == ["a.jsonl", "b.jsonl.gz"]
    for name, entry in report["test_sets"].items():
        assert entry["path"] == str(tests / name)
        files = {kind: (root / path).read_bytes() for kind, path in entry["files"].items()}
        # Of their 8-grams 2 of 5, 4 of 5 and 0 of 2 are in the documents.
        assert files == {
            "clean": b"".join(line + b"\n" for line in (lines[0], lines[3])),
            "contaminated": lines[1] + b"\n",
            "short": lines[2] + b"\n",
        }
        counts = ["items", "clean", "contaminated", "short", "ngrams", "ngrams_found"]
        assert [entry[count] for count in counts] == [4, 2, 1, 1, 12, 6]
        assert entry["contaminated_share"] == 1 / 3
        assert entry["items_by_tenths"] == [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]
    assert report["documents"]["documents"] == 3
    assert (report["ngram"], report["threshold"]) == (8, 0.7)
    assert not list(root.rglob("*.tmp-*"))


def test_an_evaluation_reads_what_is_written(built):
    tasks = pytest.importorskip("massivetext.evaluation.tasks")
    root, _, _ = built
    measure(root, quiet=True)
    for kind, ends in (("clean", [" w11", " \U0001f600"]), ("contaminated", [" w511"])):
        items = tasks.read_items(root / f"contamination/a.{kind}.jsonl")
        assert [item.continuations for item in items] == [(end,) for end in ends]


def test_a_run_replaces_what_an_earlier_one_has_written(built, tmp_path):
    root, tests, _ = built
    measure(root, quiet=True)
    (root / "contamination/notes.txt").write_text("mine")
    other = write_items(tmp_path / "other.jsonl", [{"text": run_of(4, 8)}])
    report = measure(root, [str(other)], quiet=True)
    assert report["test_sets"]["other.jsonl"]["contaminated_share"] == 1.0
    assert sorted(path.name for path in (root / "contamination").iterdir()) == [
        "notes.txt", "other.clean.jsonl", "other.contaminated.jsonl", "other.short.jsonl",
        "report.json",
    ]  # fmt: skip
    before = {path: path.read_bytes() for path in (root / "contamination").iterdir()}
    measure(root, [str(other)], quiet=True)
    assert {path: path.read_bytes() for path in (root / "contamination").iterdir()} == before


def test_file_names_without_endings_where_they_stay_apart():
    names = [
        "a.jsonl",
        "a.jsonl.gz",
        "b.JSON.zst",
        "one/c.ndjson",
        "two/c.ndjson",
        "//d.jsonl",
        "e.v1",
    ]
    assert stems(names) == {
        "a.jsonl": "a.jsonl", "a.jsonl.gz": "a.jsonl.gz", "b.JSON.zst": "b",
        "one/c.ndjson": "one/c", "two/c.ndjson": "two/c", "//d.jsonl": "d", "e.v1": "e.v1",
    }  # fmt: skip


def test_test_sets_of_one_name_are_kept_apart(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_items(tmp_path / folder / "x.jsonl", [{"text": run_of(0, 9)}])
    root = write_documents(tmp_path / "out", {"web": [["a"]]})
    measure(root, [str(tmp_path / "*/x.jsonl")], quiet=True)
    for folder in ("one", "two"):
        assert len(texts(root / f"contamination/{folder}/x.clean.jsonl")) == 1


def test_the_table(built, capsys):
    root, tests, _ = built
    assert command.run(Namespace(out=str(root), test_set=[])) == 0
    head, *rows, _, said, short, written = capsys.readouterr().out.splitlines()
    assert head.split() == "test set items short clean contaminated share 8-grams found".split()
    assert [row.split() for row in rows] == [
        [name, "4", "1", "2", "1", "33.3%", "50.0%"] for name in ("a.jsonl", "b.jsonl.gz")
    ]
    assert "the 3 training documents" in said
    assert short.startswith("short: ")
    assert str(root / "contamination") in written
    write_items(tests / "a.jsonl", [{"text": "short"}])
    measured = measure(root, [str(tests / "a.jsonl")], quiet=True)
    assert table(measured).splitlines()[1].split() == ["a.jsonl", "1", "1", "0", "0", "-", "-"]


def test_a_name_that_no_terminal_can_show(built):
    root, tests, _ = built
    entry = measure(root, quiet=True)["test_sets"]["a.jsonl"]
    report = {"test_sets": {"b\udcff.jsonl": entry}, "documents": {"documents": 3}}
    assert "b\\udcff.jsonl" in table(report)


# What is wrong.


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (b"{", "s.jsonl:2: invalid JSON"),
        (b"[" * 100_000, "s.jsonl:2: invalid JSON"),
        (b"[1]", "s.jsonl:2: list, expected a JSON object"),
        (b'{"id": 3}', r"s.jsonl:2: not an item; the record has id. It needs 'text'"),
        (b'{"text": 3, "context": "a"}', "s.jsonl:2: not an item; the record has context, text"),
        (b'{"question": "a", "choices": ["b"], "answer": 1}', "s.jsonl:2: answer must be"),
        (b'{"question": "a", "choices": ["b"], "answer": true}', "s.jsonl:2: answer must be"),
        (b'{"question": "a", "choices": [3], "answer": 0}', "s.jsonl:2: answer must be"),
        (b'{"text": "\\ud800"}', "s.jsonl:2: a string holds a lone surrogate"),
        (b'{"text": "\xff"}', "s.jsonl:2: invalid UTF-8 at byte 10"),
    ],
)
def test_a_line_that_is_no_item_is_named(tmp_path, line, match):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b'{"text": "a"}\n' + line + b"\n")
    with pytest.raises(InputError, match=match):
        list(read_passages(str(path), "text"))


def test_a_test_set_that_cannot_be_read(tmp_path, monkeypatch):
    path = tmp_path / "s.jsonl.bz2"
    path.write_bytes(bz2.compress(b'{"text": "a"}\n' * 99)[:-9])
    with pytest.raises(InputError, match=r"s.jsonl.bz2: .*; fetch the file again"):
        list(read_passages(str(path), "text"))
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"\n \n")
    with pytest.raises(InputError, match="has no items"):
        list(read_passages(str(path), "text"))
    path.write_bytes(b"\n" + b" " * 3_000_000)
    monkeypatch.setattr("massivetext.readers.sink.RECORD_BYTES", 1 << 20)
    with pytest.raises(InputError, match=r"s.jsonl:2: the line is too long"):
        list(read_passages(str(path), "text"))
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}')
    assert list(read_passages(str(path), "text")) == [Line(1, ("a",))]


def test_a_folder_without_documents_or_test_sets(built, tmp_path):
    root, _, _ = built
    with pytest.raises(ConfigError, match="is not the output of a build"):
        command.run(Namespace(out=str(tmp_path / "none"), test_set=[]))
    with pytest.raises(ConfigError, match="matches no file"):
        measure(root, ["none.jsonl"])
    empty = write_documents(tmp_path / "empty", {"web": [["a"]]})
    with pytest.raises(ConfigError, match=r"no overlap.test_sets; give --test-set"):
        measure(empty)
    (empty / "manifests/documents.json").unlink()
    with pytest.raises(ConfigError, match="holds no training documents"):
        measure(empty)


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_documents_that_are_not_those_of_the_manifest(built, damage):
    root, _, _ = built
    path = root / "documents/web/part-00001.parquet"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    else:
        path.write_bytes((root / "documents/web/part-00000.parquet").read_bytes())
    match = "has 2 documents, its manifest 1" if damage == "other" else "cannot be read"
    with pytest.raises(StageError, match=match):
        measure(root, quiet=True)
    assert not (root / "contamination").exists()


def test_a_test_set_that_changes_while_it_is_read(built, monkeypatch):
    root, tests, _ = built

    def find(*arguments, **options):
        with open(tests / "a.jsonl", "ab") as file:
            file.write(b'\n{"text": "new"}\n')
        return find_ngrams(*arguments, **options)

    monkeypatch.setattr(contamination_report, "find_ngrams", find)
    with pytest.raises(InputError, match=r"a.jsonl was changed while it was read; run again"):
        measure(root, quiet=True)
    assert list((root / "contamination").iterdir()) == []
