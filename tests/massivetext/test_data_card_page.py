"""The card's page: one offline file in which everything from the data stays text."""

import argparse
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.cli import card as command
from massivetext.data_card import svg
from massivetext.data_card.gather import gather
from massivetext.data_card.html import escape, percent, table
from massivetext.data_card.page import page
from massivetext.data_card.style import CSS
from massivetext.data_card.write import write
from massivetext.errors import ConfigError

from .data_card_build import CONFIG, WEB, build
from .data_card_build import table as documents
from .data_card_build import write as write_parquet

HOSTILE = "<script>alert(1)</script>\"'&<img src=http://x.example/ onerror=1>\x00\u202e\udc80"


class Structure(HTMLParser):
    """Collects elements, and fails when one is closed that is not open."""

    VOID = ("meta", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def parse(text: str) -> Structure:
    structure = Structure()
    structure.feed(text)
    assert structure.open == []
    return structure


def offline(structure: Structure) -> None:
    """Assert that the page can run nothing and ask for nothing."""
    assert not structure.of("script", "img", "iframe", "link", "object", "embed", "base", "form")
    for _, attributes in structure.elements:
        assert not any(name.startswith("on") or name == "src" for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in CSS
    assert "@import" not in CSS


@pytest.mark.parametrize("until", ["measure", "clean", "shards"])
def test_page_is_one_sound_offline_file(tmp_path: Path, until: str) -> None:
    root = build(tmp_path / "out", until)
    card = write(root, tmp_path / "card.html")
    text = (tmp_path / "card.html").read_text()
    structure = parse(text)
    offline(structure)
    ids = [a["id"] for _, a in structure.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for link in structure.of("a"):
        assert (link["href"] or "")[1:] in ids
    assert all(
        drawing["role"] == "img" and drawing["aria-label"] for drawing in structure.of("svg")
    )
    assert all(head.get("scope") in ("col", "row") for head in structure.of("th"))
    assert len(structure.of("caption")) == len(structure.of("table"))
    assert structure.of("html") == [{"lang": "en"}]
    assert len(structure.of("h1")) == 1
    assert ("This card is not complete" in text) == (until != "shards")
    assert json.loads((tmp_path / "card.json").read_text()) == card


def test_same_build_same_bytes(tmp_path: Path) -> None:
    root = build(tmp_path / "out")
    write(root, tmp_path / "a.html")
    write(root, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_numbers_of_the_page(tmp_path: Path) -> None:
    text = page(gather(build(tmp_path / "out")), "out")
    label = re.search(r'aria-label="(All subsets, documents: [^"]*)"', text)
    assert label is not None
    assert label[1] == (
        "All subsets, documents: read 10; rules −4 (40.0%); exact duplicates −0 (0.0%); "
        "near-duplicates −1 (10.0%); test overlap −1 (10.0%); held out −1 (10.0%); training 3"
    )
    assert "quality_words (min_words 50, max_words 1,000)" in text
    assert 'title="min_words and language: 1">50%' in text
    assert 'title="language and min_words: 1">50%' in text
    # Bytes per token, epochs.
    assert '<td class="number">3.00</td>' in text
    assert '<td class="number">1.50</td>' in text


def test_hostile_strings_stay_text(tmp_path: Path) -> None:
    root = build(tmp_path / "out")
    encodable = HOSTILE.replace("\udc80", "")
    rows = [{"url": f"http://{encodable.replace('/', '')}/", "language": encodable} for _ in WEB]
    path = root / "measured/massiveweb/part-00000.parquet"
    write_parquet(path, documents(rows, "massiveweb"))
    (root / "card.yaml").write_text(json.dumps({"purpose": "<script>alert(2)</script>"}))
    card = gather(root)
    card["test_sets"][HOSTILE] = card["test_sets"]["t"]
    card["overlaps"]["examples"][0]["id"] = HOSTILE
    for key in ("subsets", "measured", "tokens"):
        card[key][HOSTILE] = card[key]["massiveweb"]
    card["mixture"]["subsets"][0]["name"] = HOSTILE
    card["missing"].append(HOSTILE)
    text = page(card, HOSTILE, HOSTILE)
    text.encode()
    structure = parse(text)
    offline(structure)
    assert structure.text.count("<script>alert(1)</script>") > 10
    assert "<script>alert(2)</script>" in structure.text
    assert "\x00" not in text
    assert "\u202e" not in text


@given(st.text(st.characters(categories=None, exclude_categories=[])))
def test_escaped_text_has_no_markup(text: str) -> None:
    escaped = escape(text)
    escaped.encode()
    assert not set(escaped) & set("<>\"'\x00\u202e")
    structure = Structure()
    structure.feed(f"<p>{escaped}</p>")
    structure.close()
    assert [tag for tag, _ in structure.elements] == ["p"]


def test_tables_are_cut_and_say_so() -> None:
    text = table("T", ["a", "b"], [["x" * 500, str(i)] for i in range(103)])
    assert text.count("<tr>") == 101
    assert "3 more rows are in card.json" in text
    assert "x" * 199 + "…" in text
    assert "x" * 200 not in text
    assert percent(1, 0) == "–"
    assert percent(1, 8) == "12.5%"


def test_histogram_draws_thresholds_within_its_bins() -> None:
    edges = [0.0, 0.5, 1.0]
    drawn = svg.histogram("h", edges, [1, 0, 0], [0, 9, 0], [("max", 0.75), ("far", 2.0)])
    assert "M170.0 12V138" in drawn  # half way through the second of three bins
    assert drawn.count("stroke-dasharray") == 1
    assert "max 0.75, far 2" in drawn
    assert "kept 1" in drawn
    assert "dropped 9" in drawn
    parse(svg.histogram("none", [], [], []))


def options(root: Path, **others: str | None) -> argparse.Namespace:
    return argparse.Namespace(out=str(root), **{"against": None, "output": None} | others)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = build(tmp_path / "a")
    other = build(tmp_path / "b", "clean", CONFIG.replace("min_words: 50", "min_words: 40"))
    assert command.run(options(root, against=str(other))) == 0
    said = capsys.readouterr().out
    assert f"card in {root}/card.html, its data in {root}/card.json" in said
    assert "to be written in" in said
    assert "purpose" in said
    text = (root / "card.html").read_text()
    offline(parse(text))
    assert "quality.min_words" in text
    assert f"Compared with {other}" in text
    written = json.loads((root / "card.json").read_text())
    assert written["differences"]["config"][0]["difference"] == 10
    assert command.run(options(other)) == 0
    assert "incomplete: overlap has not finished" in capsys.readouterr().out


def test_command_names_what_is_wrong(tmp_path: Path) -> None:
    root = build(tmp_path / "out")
    with pytest.raises(ConfigError, match="nowhere is not the output of a build"):
        command.run(options(root, against="nowhere"))
    with pytest.raises(ConfigError, match=r"must end in \.html"):
        command.run(options(root, output="card.txt"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        command.run(options(root, output=str(tmp_path / "file" / "card.html")))
