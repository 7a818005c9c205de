"""Pictures cut out of a tuning's page."""

import xml.etree.ElementTree as ET

import pytest
import tuning_figures

from massivetext.data_card.html import section
from massivetext.errors import ConfigError
from massivetext.tuning import page_search

SVG = "{http://www.w3.org/2000/svg}"


def page():
    entry = {"line": [[1.0, 3.0], [2.0, 1.0]], "mixtures": {"proposal": [1.5, 2.0]}}
    report = {
        "search": {"frontiers": {"books": entry, "news": entry, "code": entry}},
        "mixtures": {"proposal": {}, "uniform": {}},
    }
    return section("frontier", "Trade", page_search.frontiers(report)) + section("none", "No", "")


def test_drawings_stand_in_rows_with_their_key_below():
    svg = ET.fromstring(tuning_figures.picture(page(), "frontier"))
    parts = [part.get("transform") for part in svg.findall(f"{SVG}g")]
    _, _, width, height = map(int, svg.get("viewBox").split())
    across, down = (
        (width + tuning_figures.GAP) // 2,
        (height - tuning_figures.CAPTION + tuning_figures.GAP) // 2,
    )
    key = height - tuning_figures.CAPTION + 4
    assert parts[:4] == [
        f"translate({x} {y})" for x, y in ((0, 0), (across, 0), (0, down), (0, key))
    ]
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert {"books", "news", "code"} < set(texts)
    assert texts[-2:] == ["proposal", "uniform"]
    assert [part.find(f"{SVG}rect").get("fill") for part in svg.findall(f"{SVG}g")[3:]] == [
        "var(--c4)",
        "var(--c2)",
    ]


@pytest.mark.parametrize("name", ["none", "missing"])
def test_what_is_not_drawn_is_refused(name):
    with pytest.raises(ConfigError, match=f"no drawings in a section '{name}'"):
        tuning_figures.picture(page(), name)
