"""Whole builds: every stage on a small corpus, equal bytes however it is run, and bad input."""

import gzip
import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from massivetext.card import tables
from massivetext.cli.main import main
from massivetext.config_file import parse
from massivetext.dataset import read_json
from massivetext.errors import ConfigError, StageError, VerifyError
from massivetext.evidence import explain
from massivetext.pipelines.build import build
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.pipelines.plan import check
from massivetext.verify import verify

from . import corpus


def run(text: str, workers: int = 1, until: str = "shards") -> tuple[Path, dict]:
    loaded = parse(text, "test.yaml")
    check(loaded)
    root = Path(loaded.config.output)
    return root, build(Context(root, Engine(workers=workers), quiet=True), loaded.config, until)


def hashes(root: Path) -> dict[str, str]:
    """Return the sha256 of every file that a build makes, by path."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and path.name not in (".lock", "config.yaml")
        and path.relative_to(root).parts[0] not in ("checkpoints", "train")
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("build")
    text = corpus.make(root)
    out, manifests = run(text, workers=2)
    return root, text, out, manifests


def test_every_document_is_accounted_for(built):
    _, _, out, manifests = built
    read = {n: s["counts"]["documents"] for n, s in manifests["measure"]["subsets"].items()}
    assert read == {"books": 45, "github": 20, "massiveweb": 30}
    rules = Counter()
    for stage in ("clean", "exact", "near", "overlap"):
        for path in (out / "dropped" / stage).rglob("*.parquet"):
            rules.update((stage, name) for name in pq.read_table(path)["subset"].to_pylist())
    assert rules == {
        ("clean", "massiveweb"): 6,
        ("exact", "books"): 2,
        ("near", "books"): 2,
        ("overlap", "books"): 1,
    }
    lines = list(verify(out))
    assert any("all 95 documents" in line for line in lines)
    assert any("overlap: none of" in line for line in lines)


def test_the_card_follows_every_document(built):
    _, _, out, _ = built
    books = read_json(out / "card.json")["subsets"]["books"]
    stages = ("read", "clean", "exact", "near", "overlap")
    assert [books[stage]["documents"] for stage in stages] == [45, 45, 43, 41, 40]
    assert books["heldout"]["documents"] == 4
    assert books["training"]["documents"] == 36
    text = tables(read_json(out / "card.json"))
    assert "min_stop_words" in text
    assert f"{books['tokens']:,}" in text


def test_same_bytes_with_other_workers_and_order_of_inputs(built, tmp_path):
    root, text, out, _ = built
    files = sorted((root / "data/books").iterdir(), reverse=True)
    listed = ", ".join(f'"{path}"' for path in files)
    other = text.replace(f'["{root}/data/books/b*.jsonl.gz"]', f"[{listed}]")
    assert other != text
    second, _ = run(other.replace(f"output: {root}/out", f"output: {tmp_path}/again"))
    assert hashes(second) == hashes(out)


def test_a_killed_build_continues_to_the_same_bytes(built, tmp_path):
    root, text, out, _ = built
    config = tmp_path / "killed.yaml"
    config.write_text(text.replace(f"output: {root}/out", f"output: {tmp_path}/killed"))
    command = [sys.executable, "-m", "massivetext", "build", str(config), "--workers", "2"]
    for stage in ("clean", "documents"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (tmp_path / f"killed/manifests/{stage}.json").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
    again, _ = run(config.read_text())
    assert hashes(again) == hashes(out)
    assert not list(again.rglob("*.tmp-*"))
    assert not (again / ".work").exists()


def test_a_second_run_does_nothing(built):
    _, text, out, _ = built
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}
    run(text)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")} == before


def test_why_explains_each_kind_of_loss(built):
    _, _, out, _ = built
    rows = {
        stage: [
            r
            for p in (out / "dropped" / stage).rglob("*.parquet")
            for r in pq.read_table(p).to_pylist()
        ]
        for stage in ("clean", "near", "overlap")
    }
    story = explain(out, rows["clean"][0]["id"])
    assert "DROPPED at stage clean by rule" in story
    assert "also fails" in story
    story = explain(out, rows["near"][0]["id"])
    assert "Jaccard 0." in story
    assert "its text:" in story
    assert "DROPPED at stage overlap" in explain(out, rows["overlap"][0]["id"])
    kept = next(
        row["id"]
        for path in (out / "documents/github").glob("*.parquet")
        for row in pq.read_table(path, columns=["id"]).to_pylist()
    )
    assert "KEPT: kept for training" in explain(out, kept)
    assert explain(out, "http://example.org/1").startswith("massiveweb/")
    with pytest.raises(ConfigError, match="ids look like"):
        explain(out, "books/none#0")


def test_verify_finds_a_changed_byte(built, tmp_path):
    root, text, out, _ = built
    victim = next((out / "documents/books").glob("*.parquet"))
    whole = victim.read_bytes()
    try:
        victim.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
        with pytest.raises(VerifyError, match=victim.name):
            list(verify(out))
        assert main(["verify", str(out)]) == 5
    finally:
        victim.write_bytes(whole)


def test_a_new_threshold_does_not_read_again(built):
    root, text, out, _ = built
    loose = text.replace("seed: 1", "seed: 1\nquality: {min_words: 10}")
    before = {p: p.stat().st_mtime_ns for p in (out / "measured").rglob("*.parquet")}
    try:
        run(loose, until="clean")
        assert {p: p.stat().st_mtime_ns for p in (out / "measured").rglob("*.parquet")} == before
        # The later stages are whole but of other documents: the card leaves them out.
        assert "clean" in read_json(out / "card.json")["subsets"]["books"]
        assert "training" not in read_json(out / "card.json")["subsets"]["books"]
        with pytest.raises(VerifyError, match="sketch, deduplicate, overlap, documents"):
            list(verify(out))
    finally:
        run(text)


def test_train_resumes_and_evaluates(built, capsys):
    pytest.importorskip("jax", reason="the trainer needs the extra 'train'")
    root, text, out, _ = built
    config = root / "test.yaml"
    config.write_text(text)
    assert main(["train", str(config), "--quiet"]) == 0
    assert "books" in capsys.readouterr().out
    assert main(["evaluate", str(config)]) == 0
    assert "bits per byte" in capsys.readouterr().out
    assert main(["generate", str(config), "the", "--tokens", "5"]) == 0


BAD = """
seed: 1
output: {root}/out
subsets: {{books: {{input: "{root}/{name}"{more}}}}}
dead_letters: {{max_fraction: {limit}}}
heldout: {{fraction: 0}}
"""


def bad(root: Path, name: str, limit: float = 0.9, more: str = "") -> tuple[Path, dict]:
    text = BAD.format(root=root, name=name, limit=limit, more=more)
    return run(text, until="documents")


def texts(out: Path) -> list[str]:
    return [
        text
        for path in sorted((out / "documents/books").glob("*.parquet"))
        for text in pq.read_table(path)["text"].to_pylist()
    ]


def letters(out: Path) -> list[str]:
    return [
        f"{row['source']}: {row['error']}"
        for path in sorted((out / "dead").rglob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_bad_lines_are_set_aside_and_good_ones_kept(tmp_path):
    lines = [
        b'{"text": "one good document"}',
        b'{"txt": "no text field"}',
        b'{"text": "bad \xff utf-8"}',
        b'{"text": "lone \\ud800 surrogate"}',
        b'{"text": "NUL \\u0000 inside"}',
        b'{"text": ""}',
        b"not json",
        b'{"text": "another good document"}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    out, manifests = bad(tmp_path, "a.jsonl")
    assert texts(out) == ["one good document", "NUL \0 inside", "", "another good document"]
    assert len(letters(out)) == 4
    assert manifests["measure"]["counts"]["dead_letters"] == 4
    assert all(letter.startswith("a.jsonl: ") for letter in letters(out))
    assert "set aside" in explain(out, "books/a.jsonl#1")


def test_too_many_bad_lines_stop_the_stage(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "good"}\nbad\n')
    with pytest.raises(
        StageError,
        match=r"1 of 2 records could not .*max_fraction.*the first: a\.jsonl:2: invalid JSON",
    ):
        bad(tmp_path, "a.jsonl", limit=0.4)


def test_truncated_gzip_keeps_whole_records_and_counts_the_damage(tmp_path):
    lines = b"".join(
        json.dumps({"text": f"document {i} " + "word " * 50}).encode() + b"\n" for i in range(2000)
    )
    packed = gzip.compress(lines, mtime=0)
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    out, _ = bad(tmp_path, "a.jsonl.gz")
    found = texts(out)
    assert 100 < len(found) < 2000
    assert found[0].startswith("document 0 ")
    assert len(letters(out)) == 1


def test_warc_cut_inside_a_record(tmp_path):
    page = b"<html><body><p>" + b"the words of a page that stand in one paragraph. " * 20
    corpus.write_warc(tmp_path / "a.warc.gz", [(f"http://e.org/{i}", page) for i in range(5)])
    whole = (tmp_path / "a.warc.gz").read_bytes()
    (tmp_path / "a.warc.gz").write_bytes(whole[:-60])
    out, _ = bad(tmp_path, "a.warc.gz", more=", format: warc, rules: []")
    assert read_json(out / "manifests/measure.json")["counts"]["documents"] == 4
    assert len(letters(out)) == 1


def test_nothing_is_done_when_the_output_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "good"}\n')
    text = BAD.format(root=tmp_path, name="a.jsonl", limit=0.5, more="")
    with pytest.raises(ConfigError, match="cannot be written"):
        run(text.replace(f"output: {tmp_path}/out", f"output: {tmp_path}/file/out"))
