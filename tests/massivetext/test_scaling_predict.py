"""`scaling fit` and `scaling predict` from end to end, and the numbers that they print."""

import argparse
import json
from xml.dom import minidom

import numpy as np
import pytest

from massivetext.cli import scaling
from massivetext.errors import ConfigError, InputError
from massivetext.scaling import report
from massivetext.scaling.axes import human, shade
from massivetext.scaling.laws import Frontier
from massivetext.scaling.predict import Fitted, overtrained, predict, read_fit
from massivetext.scaling.published import EPOCH, HOFFMANN, KAPLAN, MUENNIGHOFF
from massivetext.scaling.repeated import loss

FRONTIER = Frontier(0.1, 0.5, 5 / 3, 0.5, 1.7, 1000.0, 0.15)


def fit_options(path, out, **others):
    options = {
        "action": "fit",
        "runs": str(path),
        "output": str(out),
        "approach": "all",
        "flops": "column",
        "column": [],
        "unit": [],
        "drop_highest": 0,
        "resamples": 5,
        "seed": 1,
    }
    return argparse.Namespace(**(options | others))


def predict_options(**others):
    options = {"action": "predict", "fit": None, "law": None, "data": None, "parameters": None}
    return argparse.Namespace(**(options | {"flops": "5.76e23"} | others))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A folder of a fit to curves of sizes over many horizons, given in millions and billions."""
    root = tmp_path_factory.mktemp("fit")
    generator = np.random.Generator(np.random.PCG64(2))
    rows = ["params (M),tokens (B),loss"]
    for c in np.geomspace(6e18, 3e21, 6).tolist():
        for n in (float(EPOCH.optimum(c)[0]) * np.geomspace(0.3, 3, 7)).tolist():
            value = EPOCH.loss(n, c / (6 * n)) * np.exp(generator.normal() * 0.001)
            rows.append(f"{n / 1e6!r},{c / (6e9 * n)!r},{value:.6f}")
    (root / "runs.csv").write_text("\n".join(rows))
    assert scaling.run(fit_options(root / "runs.csv", root / "out")) == 0
    return root


def test_fit_writes_laws_and_plots(fitted, capsys):
    out = fitted / "out"
    assert {path.name for path in out.iterdir()} == {"fit.json", "isoflop.svg", "parametric.svg"}
    for path in out.glob("*.svg"):
        assert minidom.parse(str(path)).documentElement.tagName == "svg"
    value = json.loads((out / "fit.json").read_text())
    assert value["runs"]["runs"] == 42
    assert value["runs"]["file"] == "runs.csv"
    assert value["settings"]["resamples"] == 5
    assert set(value["approaches"]) == {"isoflop", "parametric", "kaplan"}
    assert set(value["skipped"]) == {"envelope"}
    parametric = value["approaches"]["parametric"]
    assert parametric["constants"]["alpha"] == pytest.approx(EPOCH.alpha, rel=0.1)
    assert len(parametric["samples"]["alpha"]) == 5
    before = {path: path.read_bytes() for path in out.iterdir()}
    scaling.run(fit_options(fitted / "runs.csv", out))
    assert before == {path: path.read_bytes() for path in out.iterdir()}


def test_predict_from_the_fit(fitted, capsys):
    assert scaling.run(predict_options(fit=str(fitted / "out"))) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("isoflop", "parametric", "kaplan"))
    by_name = {one.approach: one for one in predict(read_fit(fitted / "out/fit.json"), 5.76e23)}
    assert by_name["parametric"].parameters == pytest.approx(72e9, rel=0.15)
    low, high = by_name["parametric"].intervals["parameters"]
    assert low < by_name["parametric"].parameters < high
    assert by_name["kaplan"].parameters is None


def test_predict_of_a_published_law(capsys):
    scaling.run(predict_options(law="hoffmann"))
    text = capsys.readouterr().out
    assert "40.4B" in text
    assert "2.38T" in text
    assert "1.9184" in text
    scaling.run(predict_options(law="epoch"))
    assert "72.4B" in capsys.readouterr().out


def test_predict_with_limited_data(capsys):
    scaling.run(predict_options(law="muennighoff", flops="9.3e21", data="25e9"))
    text = capsys.readouterr().out
    assert "6.82B" in text
    assert "9.10 epochs of 25B tokens" in text
    found = predict([Fitted("p", MUENNIGHOFF), Fitted("i", FRONTIER)], 9.3e21, 25e9)
    assert [one.approach for one in found] == ["p"]
    with pytest.raises(ConfigError, match="only the parametric law"):
        predict([Fitted("i", FRONTIER), Fitted("k", KAPLAN)], 9.3e21, 25e9)
    enough = 5 / 3 * 9.3e21**0.5
    assert len(predict([Fitted("i", FRONTIER)], 9.3e21, enough * 1.001)) == 1
    with pytest.raises(ConfigError):
        predict([Fitted("i", FRONTIER)], 9.3e21, enough * 0.999)


def test_frontier_prediction():
    found = predict([Fitted("i", FRONTIER)], 1e20)[0]
    assert found.parameters == pytest.approx(1e9)
    assert found.tokens == pytest.approx(5e10 / 3)
    assert found.loss == pytest.approx(1.7 + 1000 * 1e20**-0.15)
    assert found.intervals == {}


def test_smaller_models_trained_longer():
    n, d, best = HOFFMANN.optimum(5.76e23)
    half = overtrained(HOFFMANN, float(n) / 2, float(best))
    assert half.flops == pytest.approx(6 * half.parameters * half.tokens)
    assert HOFFMANN.loss(half.parameters, half.tokens) == pytest.approx(float(best))
    assert half.tokens > 2 * d
    assert overtrained(HOFFMANN, 1e9, float(best)).tokens == np.inf


def test_smaller_models_on_repeated_data():
    target = float(loss(MUENNIGHOFF, 2e9, 100e9, 25e9))
    found = overtrained(MUENNIGHOFF, 2e9, target, 25e9)
    assert found.tokens == pytest.approx(100e9, rel=1e-6)
    # Enough repetitions are worth no more than a limit.
    assert overtrained(MUENNIGHOFF, 2e9, 2.0, 25e9).tokens == np.inf
    fresh = overtrained(MUENNIGHOFF, 2e9, 2.3, 1e15)
    assert fresh.tokens == pytest.approx(overtrained(MUENNIGHOFF, 2e9, 2.3).tokens, rel=1e-6)


def test_another_size(capsys):
    scaling.run(predict_options(law="epoch", parameters="8e9"))
    text = capsys.readouterr().out
    assert "another size, by the law of epoch" in text
    assert f"{float(EPOCH.loss(8e9, 5.76e23 / 48e9)):.4f}" in text
    with pytest.raises(ConfigError, match="only the parametric law"):
        report.text([Fitted("i", FRONTIER)], 1e20, parameters=1e9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either FIT.json"),
        ({"law": "epoch", "fit": "fit.json"}, "give either FIT.json"),
        ({"law": "epoch", "flops": "many"}, "--flops many is not a number"),
        ({"law": "epoch", "flops": "-1"}, "--flops is -1; it must be a number above 0"),
        ({"law": "epoch", "flops": "nan"}, "--flops is nan"),
        ({"law": "epoch", "data": "0"}, "--data is 0"),
        ({"fit": "/nowhere/fit.json"}, "cannot read /nowhere/fit.json"),
    ],
)
def test_wrong_use(options, message):
    with pytest.raises(ConfigError) as error:
        scaling.run(predict_options(**options))
    assert message in str(error.value)


@pytest.mark.parametrize("pair", ["loss", "=loss", "loss="])
def test_wrong_pairs(pair, tmp_path):
    with pytest.raises(ConfigError, match="must be COLUMN=VALUE"):
        scaling.run(fit_options(tmp_path / "runs.csv", tmp_path, column=[pair]))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "other"}', '{"format": "massivetext scaling fit 1"}', "\0"]
)
def test_no_fit(text, tmp_path):
    path = tmp_path / "fit.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"fit\.json"):
        read_fit(path)


def test_damaged_fit(fitted, tmp_path):
    value = json.loads((fitted / "out/fit.json").read_text())
    del value["approaches"]["parametric"]["samples"]["E"]
    (tmp_path / "fit.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=r"is not a fit\.json"):
        read_fit(tmp_path / "fit.json")


def test_curves_are_drawn(tmp_path):
    rows = ["run,parameters,tokens,loss"]
    for n in np.geomspace(7e7, 1e10, 8).tolist():
        for d in (np.geomspace(0.2, 60, 400) * n).tolist():
            rows.append(f"{n!r},{n!r},{d!r},{float(HOFFMANN.loss(n, d))!r}")
    (tmp_path / "runs.csv").write_text("\n".join(rows))
    scaling.run(fit_options(tmp_path / "runs.csv", tmp_path / "out", approach="envelope"))
    drawn = minidom.parse(str(tmp_path / "out/envelope.svg"))
    lines = drawn.getElementsByTagName("polyline")
    assert len(lines) == 8 + 1 + 2
    assert max(len(line.getAttribute("points").split()) for line in lines) == 300


def test_human():
    assert [human(n) for n in (1, 999, 1e3, 2.84e9, 999.6e6, 1.4e12, 2e15)] == [
        "1",
        "999",
        "1k",
        "2.84B",
        "1B",
        "1.4T",
        "2.00e+15",
    ]


def test_shade():
    assert shade(0) == "#440154"
    assert shade(1) == "#5ec962"
    assert shade(2) == shade(1)
