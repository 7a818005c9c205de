"""Tuning: what is refused before training, what is proposed, confirmed and recommended."""

import csv
import json
import math
import re
import zlib
from dataclasses import replace

import pytest

from massivetext import lineage
from massivetext.cli import tune_mixture
from massivetext.config_file import to_yaml
from massivetext.config_mixture import Mixture
from massivetext.config_tune import Tune
from massivetext.errors import ConfigError, InputError, StageError
from massivetext.experiments import tune as module
from massivetext.experiments.proxies import ProxyResult
from massivetext.experiments.tune import tune
from massivetext.experiments.tune_report import text
from massivetext.experiments.tune_setup import objective_shares, prepare

from . import tiny

BEST = {"books": 0.2, "github": 0.25, "news": 0.55}
TUNE = Tune(runs=16, seeds=3)


def noise(*key):
    return zlib.crc32(repr(key).encode()) / 2**32 - 0.5


class Fake:
    """Stands for `run_proxies`: losses are least at `BEST`, with a little noise of the seed."""

    def __init__(self, best=BEST, spread=0.002, lost=()):
        self.best, self.spread, self.lost, self.calls = best, spread, lost, []

    def __call__(self, root, config, proxies, folder, *, workers, like_tokens, quiet):
        self.calls.append(([proxy.name for proxy in proxies], workers, like_tokens))
        return [self.result(proxy) for proxy in proxies if proxy.name not in self.lost]

    def result(self, proxy):
        assert math.fsum(proxy.weights.values()) == pytest.approx(1)
        far = sum((proxy.weights[name] - self.best[name]) ** 2 for name in self.best)
        losses = {
            name: 2
            + far
            + 0.1 * (1 - proxy.weights[name])
            + 0.05 * noise(proxy.seed)
            + self.spread * noise(name, proxy.name)
            for name in self.best
        }
        loss = sum(losses.values()) / 3
        return ProxyResult(
            proxy.name, proxy.weights, proxy.seed, losses, loss, 1000, 768, 4.6e6, 1.0, [], "t"
        )


@pytest.fixture
def fake(monkeypatch):
    run = Fake()
    monkeypatch.setattr(module, "run_proxies", run)
    return run


@pytest.fixture
def out(build, tmp_path, monkeypatch):
    """A build to write into. It has no stages before its tokens, which otherwise is stale."""
    monkeypatch.setattr(lineage, "stale", lambda manifests: [])
    for name in ("tokens", "manifests"):
        (tmp_path / name).symlink_to(build / name)
    return tmp_path


def config(root, **changes):
    return tiny.config(root, **{"tune": TUNE, **changes})


def test_a_better_mixture_is_found_confirmed_and_recommended(out, fake):
    report = tune(out, config(out), workers=2, quiet=True)
    searched, confirmed = fake.calls
    assert searched == ([f"search/{n:03d}" for n in range(16)], 2, 8192)
    assert confirmed[0][:4] == [
        f"confirm/{name}-2" for name in ("proposal", "configured", "uniform", "natural")
    ]
    # Seeds of the confirmation are others than the search's, which is the config's own.
    assert len(confirmed[0]) == 12
    assert {n[-2:] for n in confirmed[0]} == {"-2", "-3", "-4"}
    proposal = report["mixtures"]["proposal"]
    assert proposal["news"] > 0.45
    assert math.fsum(proposal.values()) == pytest.approx(1)
    verdict = report["verdict"]
    assert verdict["better_than_configured"]
    assert verdict["better_than_uniform"]
    assert verdict["recommended"] == "proposal"
    found = report["differences"]["configured"]
    assert found["low"] < found["mean"] < found["high"] < 0
    assert found["seeds"] == [2, 3, 4]
    models = report["search"]["models"]
    assert set(models) == {"gaussian_process", "mixing_law", "linear"}
    assert models["gaussian_process"]["correlation"]["objective"] > 0.8

    written = json.loads((out / "tune/mixture.json").read_bytes())
    assert written["weights"] == proposal == written["recommended_weights"]
    assert written["better_than_configured"]
    assert written["predicted"]["objective"] > 0
    assert json.loads((out / "tune/report.json").read_bytes()) == report
    rows = list(csv.DictReader((out / "tune/runs.csv").read_text().splitlines()))
    assert len(rows) == 16 + 12
    assert rows[0]["run"] == "search/000"
    assert float(rows[0]["weight.books"]) + float(rows[0]["weight.github"]) <= 1
    assert "Recommended: the proposal mixture." in text(report)
    page = (out / "tune/index.html").read_text()
    assert "The proposal is better than the configured mixture" in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert page.count("<svg") == 1 + 1 + 3 + 6 + 3


def test_the_same_runs_give_the_same_bytes(out, fake):
    tune(out, config(out), workers=2, quiet=True)
    first = {path.name: path.read_bytes() for path in (out / "tune").iterdir()}
    tune(out, config(out), workers=1, quiet=True)
    assert {path.name: path.read_bytes() for path in (out / "tune").iterdir()} == first


def test_a_proposal_that_is_not_better_says_so(out, monkeypatch):
    monkeypatch.setattr(module, "run_proxies", Fake(best=tiny.WEIGHTS, spread=0.5))
    report = tune(out, config(out), workers=2, quiet=True)
    assert not report["verdict"]["better_than_configured"]
    recommended = report["verdict"]["recommended"]
    assert recommended != "proposal"
    written = json.loads((out / "tune/mixture.json").read_bytes())
    assert written["better_than_configured"] is False
    assert written["weights"] == report["mixtures"]["proposal"]
    assert written["recommended_weights"] == report["mixtures"][recommended]
    for said in (text(report), (out / "tune/index.html").read_text()):
        assert re.search("(NOT shown to be better|WORSE) than the configured mixture", said)


def test_diverged_runs_are_left_out_and_named(out, monkeypatch):
    lost = ("search/003", "confirm/uniform-2", "confirm/uniform-3")
    monkeypatch.setattr(module, "run_proxies", Fake(lost=lost))
    report = tune(out, config(out), workers=2, quiet=True)
    assert report["search"]["diverged"] == ["search/003"]
    assert len(report["search"]["runs"]) == 15
    assert report["differences"]["uniform"] is None
    assert not report["verdict"]["better_than_uniform"]
    assert "search/003" in text(report)
    assert "could not be compared with the uniform" in text(report)


def test_too_many_diverged_runs_are_an_error(out, monkeypatch):
    lost = tuple(f"search/{n:03d}" for n in range(5))
    monkeypatch.setattr(module, "run_proxies", Fake(lost=lost))
    with pytest.raises(InputError, match=r"5 runs diverged.*search/004.*11 runs.*too few"):
        tune(out, config(out), workers=2, quiet=True)


def test_a_confirmation_without_results_is_an_error(out, monkeypatch):
    names = ("proposal", "configured", "uniform", "natural")
    lost = tuple(f"confirm/{name}-{seed}" for name in names for seed in (2, 3, 4))
    monkeypatch.setattr(module, "run_proxies", Fake(lost=lost))
    with pytest.raises(StageError, match="every run of the confirmation diverged"):
        tune(out, config(out), workers=2, quiet=True)


def test_equal_mixtures_are_trained_once(out, fake):
    even = {"books": 0.333334, "github": 0.333333, "news": 0.333333}
    mixture = replace(tiny.config(out).mixture, weights=even)
    report = tune(out, config(out, mixture=mixture), workers=2, quiet=True)
    assert not any(name.startswith("confirm/uniform") for name in fake.calls[1][0])
    assert report["confirmed"]["uniform"] == report["confirmed"]["configured"]


@pytest.mark.parametrize("method", ["doremi", "online"])
def test_other_methods_are_confirmed_alike(out, fake, monkeypatch, method):
    found = {"books": 0.2, "github": 0.3, "news": 0.5}

    def run(root, config, folder, *, workers, like_tokens, quiet):
        assert (folder, workers, like_tokens) == (out / "tune" / method, 2, 8192)
        folder.mkdir(parents=True)
        (folder / "trajectory.json").write_text(
            json.dumps([{"step": n, "weights": found} for n in range(3)])
        )
        return found

    monkeypatch.setattr(f"massivetext.experiments.{method}.{method}", run)
    report = tune(out, config(out, tune=replace(TUNE, method=method)), workers=2, quiet=True)
    assert len(fake.calls) == 1
    assert report["mixtures"]["proposal"] == found
    assert report["search"] is None
    assert report["trajectory"][2] == {"step": 2, "weights": found}
    page = (out / "tune/index.html").read_text()
    assert 'id="trajectory"' in page
    assert 'id="models"' not in page
    assert json.loads((out / "tune/mixture.json").read_bytes())["predicted"] is None


def test_mixtures_are_within_the_caps_of_the_real_run(out):
    # News has the fewest tokens: its even share of this budget is more than two epochs of it.
    stored = prepare(out, config(out)).tokens
    budget = 8 * stored["news"]
    weights = {"books": 0.6, "github": 0.3, "news": 0.1}
    mixture = Mixture(weights=weights, tokens=budget, sequence_length=32, max_epochs=2.0)
    setup = prepare(out, config(out, mixture=mixture))
    assert "uniform" in setup.adjusted
    assert "configured" not in setup.adjusted
    for weights in (*setup.draws, *setup.mixtures.values()):
        for name, weight in weights.items():
            assert weight * budget <= 2 * stored[name]
    assert setup.mixtures["uniform"]["news"] == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": 11}, "11 runs are too few to tune 3 subsets; draw at least 12"),
        ({"objective": {"book": 1.0}}, "names 'book'.*did you mean 'books'"),
        ({"objective": {"books": 1.0, "news": -1.0}}, "must be at least 0"),
        ({"targets": {"books": ("x.txt",)}}, "which is a subset"),
        ({"targets": {"prose": ("/none.txt",)}}, "there is no text in /none.txt"),
    ],
)
def test_what_cannot_work_is_refused_before_training(out, fake, changes, message):
    with pytest.raises(ConfigError, match=message):
        tune(out, config(out, tune=replace(TUNE, **changes)), workers=2, quiet=True)
    assert not fake.calls


def test_missing_stores_and_heldout_sets_are_refused(build, tmp_path):
    with pytest.raises(ConfigError, match="before an earlier stage changed"):
        prepare(build, config(build))
    with pytest.raises(ConfigError, match="run massivetext tokenize"):
        prepare(tmp_path, config(tmp_path))
    heldout = {"books": {"tokens": 5}}
    with pytest.raises(ConfigError, match="'news', which has no held-out documents"):
        objective_shares(TUNE, ["books", "news"], heldout)
    chosen = replace(TUNE, objective={"books": 3.0})
    assert objective_shares(chosen, ["books", "news"], heldout) == {"books": 1.0}


def test_command(out, fake, tmp_path_factory, capsys, monkeypatch):
    from massivetext.cli.main import main

    path = tmp_path_factory.mktemp("config") / "c.yaml"
    path.write_text(to_yaml(config(out)))
    assert main(["tune-mixture", str(path), "--workers", "2"]) == 0
    said = capsys.readouterr().out
    assert "rank correlation" in said
    assert f"mix {path} --mixture {out}/tune/mixture.json" in said
    kept = {"verdict": {"recommended": "configured"}}
    assert tune_mixture._next("c.yaml", out, kept) == "keep the weights of c.yaml"
    assert main(["tune-mixture", str(path), "--set", f"output={out}/none"]) == 2
    assert f"run: massivetext tokenize {path}" in capsys.readouterr().err
