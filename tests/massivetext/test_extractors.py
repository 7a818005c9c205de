import json
import os
import time

import pyarrow as pa
import pytest

from massivetext.document import PAGE, DeadLetters
from massivetext.errors import ConfigError, StageError
from massivetext.extract import PageTooLarge, extract, extract_batch
from massivetext.extract.libraries import ExtractionError, Sandbox, extractor

PROSE = "The quick brown fox jumps over the lazy dog while forty-two engineers look on. " * 5
HTML = f"<html><head><title>Fox</title></head><body><p>{PROSE}</p></body></html>".encode()

STUB = """
import os, signal, time

def well():
    seen = []
    def extract(html):
        seen.append(html)
        if "HANG" in html:
            time.sleep(60)
        if "EXIT" in html:
            os._exit(3)
        if "CRASH" in html:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "RAISE" in html:
            raise RuntimeError("no luck, é")
        if "PID" in html:
            return str(os.getpid())
        return f"{len(seen)}: {html}"
    return extract

def broken():
    import no_such_module

def dies():
    os._exit(4)
"""


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    (tmp_path / "stub_extractor.py").write_text(STUB)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(function="well", seconds=20.0):
        made.append(Sandbox("stub", f"stub_extractor:{function}", seconds))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_pages_go_through_one_process(sandbox):
    run = sandbox()
    assert run("<p>é".encode(), "u") == ("1: <p>é".encode(), "")
    assert run(b"<title> A  b </title>x", "u") == (b"2: <title> A  b </title>x", "A b")
    large = b"x" * (3 << 20)
    assert run(large, "u")[0] == b"3: " + large


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"RAISE", "stub failed on http://x: RuntimeError: no luck, é"),
        (b"CRASH", "stub died (SIGSEGV) on http://x"),
        (b"EXIT", "stub ended (exit code 3) on http://x"),
    ],
)
def test_a_page_that_breaks_it_costs_no_other(sandbox, content, reason):
    run = sandbox()
    with pytest.raises(ExtractionError) as raised:
        run(content, "http://x")
    assert str(raised.value) == reason
    assert run(b"good", "u")[0].endswith(b": good")


def test_a_page_that_hangs_is_killed(sandbox):
    run = sandbox(seconds=0.5)
    pid = int(run(b"PID", "u")[0])
    started = time.monotonic()
    with pytest.raises(ExtractionError, match=r"^stub took over 0.5 s on http://x$"):
        run(b"HANG", "http://x")
    assert time.monotonic() - started < 20
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert run(b"good", "u")[0] == b"1: good"


def test_closing_ends_the_process(sandbox):
    run = sandbox()
    pid = int(run(b"PID", "u")[0])
    run.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    run.close()


def test_a_library_that_cannot_be_imported_says_what_to_do(sandbox):
    with pytest.raises(ConfigError, match=r"no_such_module.*pip install.*massivetext\[html\]"):
        sandbox("broken")(b"x", "u")


def test_a_process_that_dies_when_started_stops_the_stage(sandbox):
    with pytest.raises(StageError, match=r"stub ended \(exit code 4\) when started"):
        sandbox("dies")(b"x", "u")


def test_the_guard_stands_before_libraries(sandbox):
    with pytest.raises(PageTooLarge):
        sandbox()(b"<div>" * 100_000, "u")


def batch(*contents):
    rows = [
        {
            "id": f"web/a#{i}",
            "content": content,
            "charset": "utf-8",
            "source": "a",
            "url": None if i else "http://x",
            "timestamp": None,
            "metadata": None,
        }
        for i, content in enumerate(contents)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=PAGE)


def test_a_batch_sets_broken_pages_aside(sandbox):
    dead = DeadLetters()
    pages = batch(b"CRASH", b"<title>T</title>a\0", b"RAISE", b"b")
    out = extract_batch(pages, "measure", dead, sandbox())
    assert out["id"].to_pylist() == ["web/a#1", "web/a#3"]
    assert out["text"].to_pylist() == ["1: <title>T</title>a", "3: b"]
    assert json.loads(out["metadata"][0].as_py()) == {"title": "T"}
    assert [(letter.id, letter.error) for letter in dead.letters] == [
        ("web/a#0", "web/a#0: stub died (SIGSEGV) on http://x"),
        ("web/a#2", "web/a#2: stub failed on web/a#2: RuntimeError: no luck, é"),
    ]


def test_gopher_runs_in_process():
    assert extractor("gopher", 1.0)(HTML, "u") == (extract(HTML.decode()).encode(), "Fox")


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"trafilatura is not installed; .*massivetext\[html\]"):
        extractor("trafilatura")


@pytest.mark.parametrize("name", ["trafilatura", "resiliparse"])
def test_libraries_give_the_same_text_whatever_came_before(name):
    pytest.importorskip(name)
    run = extractor(name, 60.0)
    try:
        text, title = run(HTML, "u")
        assert text.decode().strip() == PROSE.strip()
        assert title == "Fox"
        other = HTML.replace(b"Fox", b"Dog").replace(b"lazy", b"busy")
        first = run(other, "u")
        for _ in range(3):
            assert run(HTML, "u") == (text, title)
        run.close()
        assert run(other, "u") == first
    finally:
        run.close()


def test_resiliparse_keeps_paragraphs():
    pytest.importorskip("resiliparse")
    run = extractor("resiliparse", 60.0)
    try:
        text, _ = run(HTML.replace(b"</p>", f"</p><p>{PROSE}</p>".encode()), "u")
    finally:
        run.close()
    assert text.decode().split("\n\n") == [PROSE.strip()] * 2
