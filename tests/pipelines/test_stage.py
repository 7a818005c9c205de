"""Stages: outputs, resume, dead letters, and what a failure leaves behind."""

from pathlib import Path

import pyarrow as pa
import pytest

from massivetext.document import DeadLetter
from massivetext.errors import InputError, StageError
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.pipelines.part import Part, PartOutput
from massivetext.pipelines.stage import materialise, run_parts
from massivetext.pipelines.watched import Watched

SCHEMA = pa.schema([pa.field("n", pa.int64())])
PARTS = [Part(f"books/part-{i:05d}", 100, {"n": i}) for i in range(4)]


class Square:
    """Writes n squared; fails on `bad`; leaves a mark for every part it has really run."""

    def __init__(self, bad: int = -1):
        self.bad = bad

    def setup(self) -> None:
        pass

    def run(self, part, out):
        n = part.arguments["n"]
        if n == self.bad:
            raise InputError(f"books.jsonl, record {n}: unusable")
        (out.root / "ran").mkdir(exist_ok=True)
        with open(out.root / "ran" / str(n), "a") as mark:
            mark.write("x")
        with out.parquet(f"squares/{part.name}.parquet", SCHEMA) as file:
            file.write(pa.RecordBatch.from_pydict({"n": [n * n]}, schema=SCHEMA))
        out.counts["documents"] += 1
        if n == 2:
            out.dead.add(DeadLetter("books/x#2", "square", "x", "odd", b"\xff"))


def context(root: Path) -> Context:
    return Context(root, Engine(workers=1), quiet=True)


def test_results_come_in_the_order_of_parts(tmp_path):
    results = run_parts(context(tmp_path), "square", "k" * 64, PARTS, Square())
    assert [r.files[0].path for r in results] == [f"squares/{p.name}.parquet" for p in PARTS]
    assert [r.counts.get("dead_letters", 0) for r in results] == [0, 0, 1, 0]
    assert results[2].files[1].path == "dead/square/books-part-00002.parquet"


def test_a_failure_names_part_and_cause_and_the_next_run_continues(tmp_path):
    with pytest.raises(StageError) as caught:
        run_parts(context(tmp_path), "square", "k" * 64, PARTS, Square(bad=3))
    assert "part books-part-00003: books.jsonl, record 3: unusable" in str(caught.value)
    assert not (tmp_path / "squares/books/part-00003.parquet").exists()
    results = run_parts(context(tmp_path), "square", "k" * 64, PARTS, Square())
    assert len(results) == 4
    # What was done before the failure is not done again.
    ran = {p.name: p.read_text() for p in (tmp_path / "ran").iterdir()}
    assert ran == dict.fromkeys("0123", "x")


def test_a_stage_is_skipped_until_what_it_depends_on_changes(tmp_path):
    def make(key):
        results = run_parts(context(tmp_path), "square", key, PARTS, Square())
        return {"files": [f for r in results for f in r.files]}

    def stage(depends):
        return materialise(context(tmp_path), "square", depends, ("squares", "dead/square"), make)

    def runs():
        return (tmp_path / "ran/0").read_text()

    first = stage({"a": 1})
    assert stage({"a": 1}) == first
    assert runs() == "x"
    assert stage({"a": 2})["key"] != first["key"]
    assert runs() == "xx"
    (tmp_path / "squares/books/part-00000.parquet").unlink()
    stage({"a": 2})
    assert runs() == "xxx"


def test_outputs_of_other_dependencies_are_cleared(tmp_path):
    (tmp_path / "squares/books").mkdir(parents=True)
    (tmp_path / "squares/books/part-00009.parquet").write_bytes(b"old")

    def make(key):
        results = run_parts(context(tmp_path), "square", key, PARTS, Square())
        return {"files": [f for r in results for f in r.files]}

    materialise(context(tmp_path), "square", {}, ("squares",), make)
    assert len(list((tmp_path / "squares/books").iterdir())) == 4


def test_documents_are_counted_while_parts_run(tmp_path):
    """Of a part that reads input it counts what is written so far; of others, rows by bytes."""
    watched = Watched(tmp_path, [PARTS[0], PARTS[1], Part("rows/a", 50, {"rows": 30}), PARTS[2]])
    assert (watched.bytes(), watched.documents, watched.note()) == (0, 0, "")
    (tmp_path / "books-part-00000.json").write_text('{"counts": {"documents": 7}}')
    (tmp_path / "books-part-00001.progress").write_text("40 3")
    (tmp_path / "rows-a.progress").write_text("25 999")
    (tmp_path / "books-part-00002.progress").write_text("")  # being written
    assert (watched.bytes(), watched.documents) == (100 + 40 + 25, 7 + 3 + 15)
    (tmp_path / "rows-a.json").write_text('{"counts": {"documents": 1}}')
    assert (watched.bytes(), watched.documents) == (100 + 40 + 50, 7 + 3 + 30)
    assert watched.note() == "  40 documents"


def test_a_part_tells_how_far_it_is(tmp_path):
    progress = tmp_path / "p.progress"
    out = PartOutput(tmp_path, "square", PARTS[0], progress)
    out.counts["documents"] += 12
    out.progress(250)  # of 100: never more than there is
    assert progress.read_text() == "100 12"
