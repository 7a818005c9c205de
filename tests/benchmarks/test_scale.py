"""The scale model, the corpus it is measured on, and what is read off a build's processes."""

import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import scale_corpus
import scale_stages
import scale_watch
from hypothesis import given
from hypothesis import strategies as st
from scale_model import (
    DOCUMENTS_PER_BYTE,
    Line,
    Measured,
    Model,
    Prices,
    Quantities,
    StageUse,
    fit,
    massivetext_like,
)
from scale_plot import Series, growth_svg

from massivetext.pipelines.exchange import Exchange

positive = st.floats(1e-3, 1e9)


def test_a_line_goes_through_exact_points() -> None:
    line = fit([(1.0, 7.0), (10.0, 25.0), (100.0, 205.0)])
    assert line.fixed == pytest.approx(5.0)
    assert line.rate == pytest.approx(2.0)
    assert line.at(1000.0) == pytest.approx(2005.0)


def test_one_point_gives_a_rate_and_points_of_one_size_their_mean() -> None:
    assert fit([(4.0, 8.0)]) == Line(0.0, 2.0)
    assert fit([(4.0, 6.0), (4.0, 10.0)]) == Line(0.0, 2.0)
    assert fit([(0.0, 6.0), (0.0, 10.0)]) == Line(8.0, 0.0)
    with pytest.raises(ValueError, match="nothing was measured"):
        fit([])


def test_no_part_of_a_line_is_negative() -> None:
    falling = fit([(1.0, 10.0), (10.0, 1.0)])
    assert falling.rate == 0.0
    assert falling.fixed > 0.0
    # Through (1, 1) and (10, 30) the fixed part would be -2.2.
    steep = fit([(1.0, 1.0), (10.0, 30.0)])
    assert steep == Line(0.0, (1 + 10 * 30) / (1 + 100)), "the larger one decides"


def test_a_value_that_is_all_noise_does_not_decide() -> None:
    points = [(1.0, 0.0), (10.0, 20.0), (100.0, 200.0)]
    assert fit(points, noise=1.0).rate == pytest.approx(2.0, rel=0.01)
    assert fit(points).rate == pytest.approx(2.0, rel=0.2)


@given(fixed=positive, rate=positive, xs=st.lists(positive, min_size=2, max_size=5, unique=True))
def test_fitting_finds_what_made_the_points(fixed: float, rate: float, xs: list[float]) -> None:
    line = Line(fixed, rate)
    if max(xs) < 1.5 * min(xs):
        return
    found = fit([(x, line.at(x)) for x in xs])
    for x in xs:
        assert found.at(x) == pytest.approx(line.at(x), rel=1e-3)


def _measured(size: float) -> Measured:
    quantities = Quantities(size, size / 4000, size / 10)
    stages = {
        "measure": StageUse(3.0 + size / 20e6, 0.5, 0.0),
        "deduplicate": StageUse(1.0 + quantities.documents * 1e-4, 0.2 + size / 1e9, size / 8),
        "tokenizer": StageUse(60.0, 0.1, 0.0),
        "shards": StageUse(quantities.tokens / 1e7, 0.1, 0.0),
    }
    return Measured(quantities, 10.0 + size / 30e6, 1e9 + quantities.documents * 4.125, stages)


def test_the_model_predicts_builds_that_it_has_not_seen() -> None:
    builds = [_measured(1e8), _measured(1e9)]
    size = Quantities(1e10, 1e10 / 4000, 1e9)
    prices = Prices(0.05, 0.005, 0.01, 4.0, "2025-01")
    forecast = Model(builds).predict(size, prices)
    true = _measured(1e10)
    hours = sum(use.cpu_seconds for use in true.stages.values()) / 3600
    assert forecast.core_hours == pytest.approx(hours)
    assert forecast.by_stage["tokenizer"] == pytest.approx(60 / 3600)
    assert forecast.driver_hours == pytest.approx((0.5 + 0.2 + 10.0 + 0.1 + 0.1) / 3600)
    assert forecast.shuffled == pytest.approx(1e10 / 8)
    assert forecast.peak == pytest.approx(true.peak)
    assert forecast.seconds == pytest.approx(true.seconds)
    # 5 cents a core and 2 cents for its 4 GB; 1.25 GB shuffled at a cent each.
    assert forecast.dollars == pytest.approx(hours * 0.07 + 0.0125)
    assert forecast.hours_on(1) == pytest.approx(forecast.core_hours)
    alone = forecast.driver_hours
    assert forecast.hours_on(100) == pytest.approx(alone + (hours - alone) / 100)


def test_memory_that_a_larger_build_did_not_need_is_no_trend() -> None:
    builds = [_measured(1e8), replace(_measured(1e9), peak=3e9), replace(_measured(2e9), peak=1e9)]
    documents = builds[1].quantities.documents
    forecast = Model(builds).predict(builds[1].quantities, Prices())
    assert forecast.peak == pytest.approx(3e9)
    more = Model(builds).predict(Quantities(1e10, documents + 1e6, 0), Prices())
    assert more.peak == pytest.approx(3e9 + 4.125e6)


def test_a_stage_that_not_every_build_has_is_left_out() -> None:
    one, two = _measured(1e8), _measured(1e9)
    less = Measured(two.quantities, two.seconds, two.peak, {"measure": two.stages["measure"]})
    assert list(Model([one, less]).cpu) == ["measure"]
    with pytest.raises(ValueError, match="no build"):
        Model([])


def test_massivetext_has_2_35_billion_documents() -> None:
    assert massivetext_like(10.5e12, 0.2) == Quantities(10.5e12, pytest.approx(2.35e9), 2.1e12)
    assert pytest.approx(4468, abs=1) == 1 / DOCUMENTS_PER_BYTE


PARAGRAPHS = [
    " ".join(f"word{(number * 7919 + k * 104_729) % 9973}" for k in range(40))
    for number in range(5000)
]


@pytest.fixture(autouse=True)
def _paragraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    made = scale_corpus.Paragraphs(pa.array(PARAGRAPHS), 350.0)
    monkeypatch.setattr(scale_corpus, "paragraphs", lambda sources: made)


def _documents(name: str, first: int, stop: int) -> list[dict[str, str]]:
    return [json.loads(line) for line in scale_corpus._lines(name, first, stop).splitlines()]


def test_a_document_does_not_depend_on_where_files_are_cut() -> None:
    whole = _documents("massiveweb", 0, 300)
    assert _documents("massiveweb", 120, 300) == whole[120:]
    assert len({document["url"] for document in whole}) == 300
    assert all(set(d["text"].split("\n\n")) <= set(PARAGRAPHS) for d in whole)


def test_duplicates_are_planted_and_nothing_else_is_alike() -> None:
    number = np.arange(4000, dtype=np.uint64)
    root, longer, edited = scale_corpus._roots(number)
    copies = root != number
    assert copies.mean() == pytest.approx(
        scale_corpus.EXACT + scale_corpus.LONGER + scale_corpus.EDITED, abs=0.02
    )
    assert (root[copies] < number[copies]).all()
    assert not (longer | edited)[~copies].any()
    assert (root[root] == root).all(), "a copy of a copy is a copy of the first"
    texts = [document["text"].split("\n\n") for document in _documents("massiveweb", 0, 4000)]
    for index in np.flatnonzero(copies):
        original, copy = texts[int(root[index])], texts[index]
        if longer[index]:
            assert copy[:-1] == original
        elif edited[index]:
            assert copy[1:] == original[1:]
        else:
            assert copy == original
    firsts = {texts[index][0] for index in np.flatnonzero(~copies)}
    assert len(firsts) > 0.5 * len(PARAGRAPHS) * (1 - math.exp(-(~copies).sum() / 5000))


def test_files_are_made_once_and_are_the_beginning_of_a_larger_corpus(tmp_path: Path) -> None:
    small = scale_corpus.make(tmp_path, 2_000_000, 500_000, 1)
    content = {path: Path(path).read_bytes() for path in small["massiveweb"]}
    large = scale_corpus.make(tmp_path, 4_000_000, 500_000, 1)
    assert set(small["massiveweb"]) <= set(large["massiveweb"])
    assert all(Path(path).read_bytes() == before for path, before in content.items())
    assert not list(tmp_path.rglob("*.tmp"))


class _Upper(beam.DoFn):
    def process(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        return [batch, batch]


class _Rows(beam.DoFn):
    def process(self, group: tuple[int, pa.Table]) -> list[tuple[int, list[int]]]:
        return [(group[0], group[1].column("key").to_pylist())]


def test_without_an_engine_rows_still_come_together_by_key() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1, 2, 3, 5], pa.uint64())], ["key"])
    done = (
        scale_stages.Plain()
        | beam.Create([batch], reshuffle=False)
        | beam.Reshuffle()
        | beam.ParDo(_Upper())
        | "ByKey" >> Exchange("key", 2, "")
        | beam.ParDo(_Rows())
    )
    assert done.elements == [(0, [2, 2]), (1, [1, 3, 5, 1, 3, 5])]
    with pytest.raises(TypeError, match="GroupByKey"):
        scale_stages.Plain() | beam.GroupByKey()


def test_what_was_used_is_divided_among_the_stages() -> None:
    moment = scale_watch._Moment
    moments = [
        moment(11.0, 1.0, 100, 300, 50, 0.5, 0),
        moment(12.0, 3.0, 200, 400, 60, 0.6, 7),
        moment(14.0, 6.0, 150, 350, 55, 0.7, 9),
        moment(17.0, 7.0, 120, 320, 50, 0.9, 9),
    ]
    found = scale_watch._divide(10.0, 18.0, 7.5, moments, [(13.0, "measure"), (16.0, "clean")])
    assert found.total == scale_watch.Used(8.0, 7.5, 200, 400, 60, 0.9, 9)
    assert found.stages == {
        "measure": scale_watch.Used(3.0, 3.0, 200, 400, 60, 0.6, 7),
        "clean": scale_watch.Used(3.0, 3.0, 150, 350, 55, pytest.approx(0.1), 2),
        "card": scale_watch.Used(2.0, 1.0, 120, 320, 50, pytest.approx(0.2), 0),
    }


def test_the_plot_is_an_svg_with_every_point(tmp_path: Path) -> None:
    points = [(1e8, 0.01), (1e9, 0.1), (1e10, 1.0)]
    text = growth_svg([Series("time < all", points, points), Series("memory", points, points)], "t")
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}circle")) == 6
    circles = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in root.iter(f"{space}circle")]
    assert circles[:3] == [(60.0, 376.0), (295.0, 206.0), (530.0, 36.0)]
    assert growth_svg([Series("one", [(1.0, 1.0)], [(1.0, 1.0)])], "t")
