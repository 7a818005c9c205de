"""The demo's corpus: real text that every Python has, and a config that reads it."""

import gzip
import json
from importlib.resources import files

from massivetext.config_file import parse
from massivetext.demo import corpus, pages


def test_the_config_is_valid():
    text = (files("massivetext.demo") / "demo.yaml").read_text()
    config = parse(text.replace("@DEMO@", "/somewhere"), "demo.yaml").config
    assert config.output == "/somewhere"
    assert set(config.mixture.weights) == set(config.subsets)
    needed = config.train.steps * config.train.batch_size * config.mixture.sequence_length
    assert needed <= config.mixture.tokens


def test_a_page_holds_the_docstrings_with_headings():
    source = '"""Top.\n\nMore <b>."""\n\ndef f():\n    """Does f."""\n\nclass C:\n    pass\n'
    assert corpus._page(source) == "<p>Top.</p>\n<p>More &lt;b&gt;.</p>\n<h2>f</h2>\n<p>Does f.</p>"
    assert corpus._page("not python(") == ""


def test_sources_are_of_the_standard_library_and_bounded(monkeypatch):
    monkeypatch.setattr(corpus, "SOURCE_BYTES", 200_000)
    records = list(corpus.sources())
    assert len(records) > 3
    assert sum(len(record["text"]) for record in records) <= 200_000
    assert all("site-packages" not in record["id"] for record in records)


def test_every_package_has_its_description_and_licences():
    assert any(record["id"].startswith("numpy ") for record in corpus.descriptions())
    assert any(record["id"].startswith("numpy/") for record in corpus.licences())


def test_modules_that_act_when_imported_have_no_page():
    names = pages.modules()
    assert "json" in names
    assert not {"antigravity", "this", "idlelib", "test"} & set(names)


def test_records_are_written_reproducibly_and_without_surrogates(tmp_path):
    records = [{"text": "a"}, {"text": "lone \ud800 surrogate"}]
    assert corpus._write(tmp_path / "a.gz", records) == 2
    corpus._write(tmp_path / "b.gz", records)
    content = (tmp_path / "a.gz").read_bytes()
    assert content == (tmp_path / "b.gz").read_bytes()
    lines = [json.loads(line) for line in gzip.decompress(content).splitlines()]
    assert lines == [{"text": "a"}, {"text": "lone ? surrogate"}]
