import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import clean_html
import corpora
import peers
import processes
import pytest
import report

from massivetext.errors import ConfigError, StageError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("value", "met"), [(79.999, False), (80.0, True), (None, None), (90.0, True), (90.1, False)]
)
def test_target_holds_on_both_sides(value: float | None, met: bool | None):
    row = report.Row("kernels", "rate", value, "MB/s", at_least=80, at_most=90)
    assert row.met is met
    assert row.target == ">= 80 and <= 90"


def test_row_without_target_is_neither_met_nor_missed():
    assert report.Row("kernels", "rate", 1.0, "MB/s").met is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.98765, "0.988"), (12.345, "12.3"), (99.96, "100"), (25286.4, "25,286")],
)
def test_number(value: float, text: str):
    assert report.number(value) == text


def test_linear_fit():
    fit = report.linear_fit([1, 2, 4, 8], [3.5, 5.5, 9.5, 17.5])
    assert fit.slope == pytest.approx(2)
    assert fit.intercept == pytest.approx(1.5)
    assert fit.r2 == pytest.approx(1)
    # The best line is flat, which explains nothing; a flat result is explained in full.
    assert report.linear_fit([0, 1, 2], [0, 1, 0]).r2 == pytest.approx(0)
    assert report.linear_fit([0, 1, 2], [5, 5, 5]).r2 == 1


def test_report_writes_every_row(tmp_path: Path):
    out = report.Report("clean", tmp_path / "clean.json", quick=True)
    out.add(report.Row("stage", "text", 12.0, "MB/s", at_least=30))
    note = "not installed: " + "no network " * 20
    out.add(report.Row("kernels", "times datatrove", None, "x", at_least=200, note=note))
    written = json.loads((tmp_path / "clean.json").read_text())
    assert [row["met"] for row in written["rows"]] == [False, None]
    assert written["rows"][1]["note"] == note
    assert written["machine"]["cores"] >= 1
    table = out.table().splitlines()
    assert table[3].split() == ["stage", "text", "12", "MB/s", ">=", "30", "missed"]
    assert table[4].startswith("kernels  times datatrove  -        >= 200  not installed: no")
    assert table[4].endswith("...")


def _contenders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder of contenders with one that notes its option in a file; return that file."""
    shutil.copy(BENCHMARKS / "contenders" / "contender.py", tmp_path)
    (tmp_path / "note.py").write_text(
        "from contender import Stopwatch, main\n"
        "def measure(documents, options):\n"
        "    watch = Stopwatch()\n"
        "    with watch, open(options['log'], 'a') as log:\n"
        "        log.write(options['name'])\n"
        "    return {**watch.result(), 'configuration': 'none'}\n"
        "main(measure)\n"
    )
    monkeypatch.setattr(peers, "CONTENDERS", tmp_path)
    return tmp_path / "log"


def test_contenders_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = _contenders(tmp_path, monkeypatch)
    documents = corpora.write_jsonl(tmp_path / "in.jsonl", [{"text": "añb"}, {"html": "<p>"}])
    both = [
        peers.Contender(name, "note.py", options={"name": name, "log": str(log)}) for name in "AB"
    ]
    known: dict[str, object] = {}
    results = peers.in_turns(both, documents, 3, known)
    assert log.read_text() == "ABABAB"
    assert known == {}
    assert [len(results[name]) for name in "AB"] == [3, 3]
    [first, *_] = results["A"]
    assert (first["documents"], first["bytes"]) == (2, 7)
    assert first["seconds"] >= 0
    assert first["peak_rss_bytes"] > 1 << 20


def test_peer_that_cannot_be_installed_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = _contenders(tmp_path, monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def no_network(command: list[str]) -> str:
        raise peers.NotInstalledError("not installed: no network")

    monkeypatch.setattr(peers, "_install", no_network)
    environment = peers.Environment("other", ("other==1.0",))
    options = {"name": "A", "log": str(log)}
    both = [
        peers.Contender("ours", "note.py", options=options),
        peers.Contender("theirs", "note.py", environment, options),
    ]
    documents = corpora.write_jsonl(tmp_path / "in.jsonl", [])
    known: dict[str, object] = {}
    results = peers.in_turns(both, documents, 2, known)
    assert log.read_text() == "AA"
    assert results["theirs"] == []
    assert known == {"theirs": {"note": "not installed: no network"}}


def test_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    commands: list[list[str]] = []

    def install(command: list[str]) -> str:
        commands.append(command)
        environment.folder.mkdir(parents=True, exist_ok=True)
        return "other==1.0\nthing==2.0\n"

    monkeypatch.setattr(peers, "_install", install)
    environment = peers.Environment("other", ("other==1.0",))
    assert environment.python() == str(tmp_path / "massivetext-benchmarks/other/bin/python")
    made = len(commands)
    assert "other==1.0" in commands[made - 2]
    assert environment.packages() == ["other==1.0", "thing==2.0"]
    environment.python()
    assert len(commands) == made
    # Another version is another environment.
    environment = peers.Environment("other", ("other==1.1",))
    environment.python()
    assert len(commands) == 2 * made


def test_contender_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _contenders(tmp_path, monkeypatch)
    documents = corpora.write_jsonl(tmp_path / "in.jsonl", [])
    with pytest.raises(StageError, match=r"(?s)broken failed.*KeyError: 'log'"):
        peers.Contender("broken", "note.py").run(documents)


def test_data_folder_is_named_when_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MASSIVETEXT_DATA", raising=False)
    with pytest.raises(ConfigError, match="MASSIVETEXT_DATA is not set"):
        corpora.locate("web/a.gz")
    monkeypatch.setenv("MASSIVETEXT_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match=r"there is no .*web/a\.gz"):
        corpora.locate("web/a.gz")


def test_samples_are_spread_evenly():
    many = [{"id": str(number), "text": "x" * 10} for number in range(100)]
    assert [d["id"] for d in corpora.spread(many, 4)] == ["0", "25", "50", "75"]
    assert corpora.spread(many, 1000) == many
    few = [{"id": "a", "text": "é" * 500}]
    chosen = corpora.sample([many, few], 400)
    assert [d["id"] for d in chosen] == [str(5 * number) for number in range(20)] + ["a"]


def test_chunks_have_the_size_asked_for():
    documents = [{"id": "1", "text": "a" * 50_000}, {"id": "2", "text": "é" * 5_000}]
    pieces = corpora.chunks(documents, 60_000)
    assert sum(len(piece.encode()) for piece in pieces) == 60_000
    assert corpora.chunks(documents, 60_000) == pieces
    with pytest.raises(ConfigError, match="have 60000 bytes of text, 60001 are needed"):
        corpora.chunks(documents, 60_001)


def test_repeated_corpus_has_the_size_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(corpora, "MEMBER_BYTES", 100)
    documents = [{"id": str(number), "text": "x" * 40} for number in range(10)]
    repeated = corpora.Repeated(documents)
    glob, size = repeated.write(tmp_path / "input", 1000, 3)
    assert glob == str(tmp_path / "input" / "*.jsonl.gz")
    files = sorted((tmp_path / "input").iterdir())
    lines = [
        json.loads(line)
        for file in files
        for line in gzip.decompress(file.read_bytes()).splitlines()
    ]
    assert len(files) == 3
    assert sum(len(line["text"]) for line in lines) == size
    assert 1000 <= size < 1000 + 120
    # A file is never empty, however small the input.
    _, size = repeated.write(tmp_path / "small", 1, 3)
    assert all(gzip.decompress(file.read_bytes()) for file in (tmp_path / "small").iterdir())


def test_word_f1():
    assert clean_html.word_f1("", "") == 1
    assert clean_html.word_f1("", "a") == 0
    # 2 common of 3 found and 4 expected: a copy counts as often as both have it.
    assert clean_html.word_f1("The cat cat", "the CAT sat, down") == pytest.approx(4 / 7)
    assert clean_html.html_text("<p>one<b>two</b></p><p>three</p>").split() == [
        "one",
        "two",
        "three",
    ]


def test_command_is_run_and_its_failure_shown():
    assert processes.massivetext(["--version"]).seconds > 0
    with pytest.raises(StageError, match=r"(?s)ended with 2.*did you mean 'clean'"):
        processes.massivetext(["claen"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_watched():
    peak = processes.massivetext(["--help"], watch=True).driver
    assert peak.rss > 1 << 20
    assert 0 < peak.pss <= peak.rss


def test_unknown_section_is_refused(tmp_path: Path):
    command = [sys.executable, str(BENCHMARKS / "clean.py"), "--only", "kernel"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "no section 'kernel'; did you mean 'kernels'?" in done.stderr
    assert not list(tmp_path.iterdir())
