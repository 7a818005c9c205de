"""Ladders: what is trained at each budget or horizon, what is refused, and the table of runs."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext import lineage
from massivetext.cli.main import main
from massivetext.config import Config, Subset, Train
from massivetext.config_mixture import Mixture, MixtureStage
from massivetext.config_train import BatchRamp, Override, RampPoint
from massivetext.config_tune import Scaling
from massivetext.dataset import write_json
from massivetext.errors import ConfigError, InputError, StageError
from massivetext.experiments import ladder
from massivetext.experiments.ladder_plan import MAX_REFUSALS, plan_ladder
from massivetext.experiments.proxies import ProxyResult
from massivetext.scaling.fit import fit
from massivetext.scaling.laws import ParametricLaw
from massivetext.scaling.table import read_runs
from massivetext.trainer.flops import budget_flops
from massivetext.trainer.parameters import dimensions, parameter_count

VOCAB, LENGTH, BATCH = 512, 32, 4
SMALL, LARGE = Override(d_model=32, heads=2), Override(d_model=64, heads=4)
BASE = Train(override=Override(layers=2, kv_size=16, ffw=48), batch_size=BATCH, learning_rate=1e-2)
LAW = ParametricLaw(E=1.7, A=40.0, B=41.0, alpha=0.34, beta=0.28)


def write_stores(root, tokens=20_000, heldout=400):
    """Token stores of two subsets, of documents of 100 tokens, and their manifest."""
    generator = np.random.Generator(np.random.PCG64(5))

    def store(name, count):
        path = root / "tokens" / name / "part-00000.tokens"
        path.parent.mkdir(parents=True)
        values = generator.integers(3, 40, count)
        values[99::100] = 1
        path.write_bytes(values.astype("<u2").tobytes())
        ends = np.arange(100, count + 1, 100)
        path.with_suffix(".documents").write_bytes(ends.astype("<u8").tobytes())
        counts = {"tokens": count, "documents": len(ends), "text_bytes": 4 * count}
        return {**counts, "parts": [{"path": str(path.relative_to(root)), **counts}]}

    manifest = {
        "subsets": {name: store(name, tokens) for name in ("books", "news")},
        "heldout": {name: store(f"heldout/{name}", heldout) for name in ("books", "news")},
        "dtype": "uint16", "eos_id": 1, "pad_id": 0, "vocab_size": VOCAB,
        "tokenizer_sha256": "a" * 64, "depends": {"documents": "x"}, "key": "k",
    }  # fmt: skip
    (root / "manifests").mkdir()
    (root / "manifests" / "tokens.json").write_text(json.dumps(manifest))
    return root


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Builds here have no stages before their tokens, which otherwise is stale."""
    monkeypatch.setattr(lineage, "stale", lambda manifests: [])


@pytest.fixture
def root(tmp_path):
    return write_stores(tmp_path / "out")


def config(train=BASE, *, max_epochs=4.0, stages=(), **scaling):
    scaling.setdefault("sizes", (SMALL, LARGE))
    return Config(
        output="unused",
        subsets={"books": Subset(input=("x",)), "news": Subset(input=("y",))},
        mixture=Mixture(
            weights={"books": 0.75, "news": 0.25},
            sequence_length=LENGTH,
            max_epochs=max_epochs,
            stages=stages,
        ),
        train=train,
        scaling=Scaling(**scaling),
    )


def n_of(d_model, heads):
    """N by the formula of Chinchilla's Table A9, with f = 4d and a vocabulary of 512."""
    d, a, f = d_model, heads * 16, 4 * d_model
    return VOCAB * d + 2 * (5 * d * a + 2 * d * f + 3 * a + d + (d + f) + 2 * a)


def test_a_run_of_every_size_at_every_budget(root):
    budgets = (1e9, 2.5e9)
    rungs = plan_ladder(root, config(budgets=budgets))
    assert [rung.name for rung in rungs] == [
        "2x32-2x16-1e9-flops", "2x32-2x16-25e8-flops",
        "2x64-4x16-1e9-flops", "2x64-4x16-25e8-flops",
    ]  # fmt: skip
    assert [rung.parameters for rung in rungs] == [n_of(32, 2)] * 2 + [n_of(64, 4)] * 2
    for rung, budget in zip(rungs, budgets * 2, strict=True):
        batch = BATCH * LENGTH
        assert rung.tokens == rung.train.steps * batch
        assert rung.train.steps == math.floor(budget / (6 * rung.parameters * batch))
        assert rung.flops == 6 * rung.parameters * rung.tokens
    assert {rung.size.ffw for rung in rungs} == {128, 256}  # of the widths, not of train.override
    assert {rung.size.layers for rung in rungs} == {2}  # of train.override


def test_a_run_of_every_size_for_every_horizon(root):
    train = replace(BASE, batch_size=8, steps=7)
    rungs = plan_ladder(root, config(horizons=(300, 5_000), train=train))
    assert [rung.train.steps for rung in rungs] == [1, 19, 1, 19]
    assert [rung.tokens for rung in rungs] == [256, 4_864, 256, 4_864]
    assert rungs[1].name == "2x32-2x16-5e3-tokens"
    assert plan_ladder(root, config(sizes=(SMALL,), horizons=(5_000,), train=train)) == rungs[1:2]


def test_scaling_may_have_a_training_of_its_own(root):
    own = replace(BASE, batch_size=2, override=Override(layers=1, kv_size=16))
    settings = config(sizes=(SMALL,), horizons=(640,))
    settings = replace(settings, scaling=replace(settings.scaling, train=own))
    (rung,) = plan_ladder(root, settings)
    assert (rung.train.batch_size, rung.train.steps, rung.size.layers) == (2, 10, 1)


def test_a_ramp_counts(root):
    points = (RampPoint(0, 2), RampPoint(8, 4))
    ramp = replace(BASE, micro_batch_size=2, batch_ramp=BatchRamp(points))
    (rung,) = plan_ladder(root, config(sizes=(SMALL,), horizons=(17 * LENGTH,), train=ramp))
    assert (rung.train.steps, rung.tokens) == (6, 16 * LENGTH)  # 2 2 2 2 4 4, not 5 of them


def test_sizes_that_differ_have_names_that_differ(root):
    changes = ({}, {"kv_heads": 2}, {"ffw": 96}, {"positions": "rotary"}, {"qk_norm": True})
    sizes = tuple(replace(LARGE, **change) for change in changes)
    rungs = plan_ladder(root, config(sizes=sizes, horizons=(1_000,)))
    assert [rung.shape for rung in rungs] == [
        "2x64-4x16", "2x64-4x16-kv2", "2x64-4x16-ffw96", "2x64-4x16-rotary", "2x64-4x16-qk_norm",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"sizes": ()}, r"gives no sizes; a ladder is, for example,\nscaling:\n  sizes:"),
        ({"sizes": (), "budgets": (1e9,)}, "gives no sizes"),
        ({}, "gives no budgets or horizons; a ladder is"),
        ({"sizes": (SMALL, SMALL), "horizons": (1_000,)}, "2x32-2x16-1e3-tokens twice"),
        ({"budgets": (1e9, 1e9)}, "2x32-2x16-1e9-flops twice"),
        ({"sizes": (SMALL, Override(heads=3, kv_heads=2)), "horizons": (999,)}, r"sizes\.1: heads"),
    ],
)
def test_ladders_that_are_none(root, scaling, message):
    with pytest.raises(ConfigError, match=message):
        plan_ladder(root, config(**scaling))


def test_the_example_of_the_error_is_a_ladder(root):
    with pytest.raises(ConfigError) as error:
        plan_ladder(root, config(sizes=()))
    from massivetext.config_file import parse

    section = str(error.value).partition("\n")[2]
    text = f"output: x\nsubsets: {{a: {{input: y}}}}\n{section}\n"
    scaling = parse(text, "example").config.scaling
    assert (len(scaling.sizes), scaling.budgets) == (3, (3e12, 6e12, 1.2e13))


def test_a_batch_larger_than_the_budget_is_refused(root):
    n = n_of(64, 4)
    least = 6 * n * BATCH * LENGTH
    (rung,) = plan_ladder(root, config(sizes=(LARGE,), budgets=(float(least),)))
    assert (rung.train.steps, rung.flops) == (1, least)
    with pytest.raises(ConfigError) as error:
        plan_ladder(root, config(budgets=(least - 6.0 * n,)))
    text = str(error.value)
    assert "1 of the 2 runs of the ladder cannot be trained:\n  2x64-4x16-" in text
    assert "127 tokens, less than the batch of 4 sequences of 32; give a budget of at least" in text


def test_a_horizon_below_a_batch_is_refused(root):
    assert len(plan_ladder(root, config(horizons=(128,)))) == 2
    with pytest.raises(ConfigError, match=r"127 tokens, less .* give a horizon of at least 128,"):
        plan_ladder(root, config(horizons=(127,)))


def test_more_epochs_than_allowed_are_refused(root):
    # 625 sequences of each, 3/4 of books: 2 epochs of them are 1,250 of 1,667.
    fits = 1_664 * LENGTH
    assert plan_ladder(root, config(horizons=(fits,), max_epochs=2.0))[0].tokens == fits
    with pytest.raises(ConfigError) as error:
        plan_ladder(root, config(horizons=(fits, fits + 4 * LENGTH), max_epochs=2.0))
    text = str(error.value)
    assert "2 of the 4 runs" in text
    assert "2x32-2x16-53376-tokens: with mixture.tokens at its 53,376, subset 'books'" in text


def test_of_many_refusals_some_are_listed(root):
    horizons = tuple(range(1, MAX_REFUSALS + 3))
    with pytest.raises(ConfigError, match=r"and 2 more$"):
        plan_ladder(root, config(sizes=(SMALL,), horizons=horizons))


def test_no_token_stores(tmp_path):
    with pytest.raises(InputError, match="no token stores"):
        plan_ladder(tmp_path, config(horizons=(1_000,)))


def test_stale_token_stores(root, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="before an earlier stage changed; run massivetext tok"):
        plan_ladder(root, config(horizons=(1_000,)))


def test_budgets_are_6nd_with_the_embedding_and_without_norms():
    size = dimensions(replace(BASE, override=Override(layers=2, heads=4, kv_size=16, d_model=64)),
                      VOCAB, LENGTH)  # fmt: skip
    assert budget_flops(size, 1_000) == 6_000 * n_of(64, 4)
    assert parameter_count(size, norms=True) > n_of(64, 4) == parameter_count(size)


curves = st.lists(st.floats(0.1, 20), max_size=700).map(
    lambda losses: [[128.0 * (step + 1), loss] for step, loss in enumerate(losses)]
)


@given(curves)
def test_thinned_curves(curve):
    end = int(curve[-1][0]) if curve else 128
    rows = ladder.thinned(curve, end)
    tokens = [row[0] for row in rows]
    assert len(rows) <= ladder.CURVE_ROWS < 200
    assert tokens == sorted(set(tokens))
    assert all(0 < count < end for count in tokens)
    if len(curve) <= ladder.CURVE_ROWS:
        assert rows == [(count, loss) for count, loss in curve[:-1]]
    elif len(curve) % ladder.CURVE_ROWS == 0:
        assert np.mean([row[1] for row in rows]) == pytest.approx(np.mean([c[1] for c in curve]))


def test_a_skipped_step_is_no_point_of_a_curve():
    curve = [[10, 3.0], [20, None], [30, math.nan], [40, 2.0], [50, 1.0]]
    assert ladder.thinned(curve, 50) == [(10, 3.0), (40, 2.0)]


DIVERGING = 7


@pytest.fixture
def trained(monkeypatch):
    """Proxies that follow a law, without training; `trained` are the names that were asked for.

    Held-out losses are the law's, training losses 0.3 above; a run of seven heads diverges.
    """
    asked = []

    def run_proxies(root, config, proxies, folder, *, workers, like_tokens=None, quiet=False):
        asked.append([proxy.name for proxy in proxies])
        results = []
        for proxy in proxies:
            path = folder / proxy.name / "train" / "metrics.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            times = [{"step": i + 1, "loss": 1.0, "milliseconds": 500.0} for i in range(4)]
            path.write_text("".join(json.dumps(line) + "\n" for line in times))
            if proxy.train.override.heads == DIVERGING:
                write_json(folder / proxy.name / "result.json", {"failed": "a spike"})
                continue
            size = dimensions(proxy.train, VOCAB, config.mixture.sequence_length)
            n, step = parameter_count(size), BATCH * config.mixture.sequence_length
            tokens = [step * (i + 1) for i in range(proxy.train.steps)]
            results.append(
                ProxyResult(
                    name=proxy.name,
                    weights=proxy.weights,
                    seed=proxy.seed,
                    bits_per_byte={"books": 1.0},
                    loss=float(LAW.loss(n, tokens[-1])),
                    parameters=n,
                    tokens=tokens[-1],
                    flops=6.0 * n * tokens[-1],
                    seconds=5.0,
                    curve=[[count, float(LAW.loss(n, count)) + 0.3] for count in tokens],
                    tokenizer_sha256="a" * 64,
                )
            )
        return results

    monkeypatch.setattr(ladder, "run_proxies", run_proxies)
    return asked


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_of_runs(root, trained):
    settings = config(horizons=(512, 64_000), max_epochs=9)
    found = ladder.run_ladder(root, settings, workers=1, quiet=True)
    names = [f"{shape}-{end}-tokens" for shape in ("2x32-2x16", "2x64-4x16")
             for end in ("512", "64e3")]  # fmt: skip
    assert [rung.name for rung in found.finished] == names
    assert trained == [[names[3], names[1], names[2], names[0]]]  # the most FLOPs first
    assert (found.runs, found.diverged) == (root / "scaling" / "runs.csv", {})
    rows = rows_of(found.runs)
    assert list(rows[0]) == ["run", "parameters", "tokens", "flops", "loss", "tokenizer"]
    by_run = {name: [row for row in rows if row["run"] == name] for name in names}
    assert {name: len(by_run[name]) for name in names} == {
        names[0]: 4, names[1]: 99, names[2]: 4, names[3]: 99,
    }  # fmt: skip
    for name, end in zip(names, (512, 64_000) * 2, strict=True):
        n = n_of(32, 2) if "x32-" in name else n_of(64, 4)
        assert {int(row["parameters"]) for row in by_run[name]} == {n}
        assert all(int(row["flops"]) == 6 * n * int(row["tokens"]) for row in by_run[name])
        *curve, last = by_run[name]
        assert (int(last["tokens"]), float(last["loss"])) == (
            end, pytest.approx(LAW.loss(n, end), abs=1e-6),
        )  # fmt: skip
        assert float(curve[0]["loss"]) > float(last["loss"]) + 0.3


def test_fit_takes_the_held_out_losses_and_the_curves(root, trained):
    sizes = tuple(Override(d_model=16 * heads, heads=heads) for heads in (4, 6, 8, 12))
    settings = config(sizes=sizes, horizons=(40_000, 80_000, 160_000, 320_000), max_epochs=99)
    path = ladder.run_ladder(root, settings, workers=1, quiet=True).runs
    runs = read_runs(path)
    assert (len(runs), len(runs.logged), len(np.unique(runs.parameters))) == (16, 16, 4)
    # Not smoothed into the training losses, which are 0.3 above.
    assert runs.loss == pytest.approx(LAW.loss(runs.parameters, runs.tokens), abs=1e-6)
    estimates, skipped = fit(runs, resamples=0)
    law = estimates["parametric"].law
    assert (law.alpha, law.beta) == pytest.approx((LAW.alpha, LAW.beta), abs=0.02)
    assert set(skipped) == {"isoflop", "envelope"} - set(estimates)
    assert "IsoFLOP needs at least 3 budgets" in skipped["isoflop"]


def test_isoflop_takes_budgets(root, trained):
    sizes = tuple(Override(d_model=16 * heads, heads=heads) for heads in (1, 2, 3, 4, 6, 8, 12))
    budgets = tuple(LAW.flops_for(n_of(16 * heads, heads)) for heads in (2, 3, 4))
    settings = config(sizes=sizes, budgets=budgets, max_epochs=1e9)
    runs = read_runs(ladder.run_ladder(root, settings, workers=1, quiet=True).runs)
    law = fit(runs, "isoflop", resamples=0)[0]["isoflop"].law
    assert law.a == pytest.approx(LAW.a, abs=0.1)


def test_a_run_that_diverged_is_named_and_not_in_the_table(root, trained):
    sizes = (SMALL, Override(d_model=64, heads=DIVERGING))
    found = ladder.run_ladder(root, config(sizes=sizes, horizons=(640,)), workers=1, quiet=True)
    assert found.diverged == {"2x64-7x16-64e1-tokens": "a spike"}
    assert {row["run"] for row in rows_of(found.runs)} == {"2x32-2x16-64e1-tokens"}


def test_all_diverged(root, trained):
    with pytest.raises(StageError, match="every run of the ladder diverged"):
        settings = config(sizes=(Override(heads=DIVERGING),), horizons=(640,))
        ladder.run_ladder(root, settings, workers=1, quiet=True)


def test_what_is_to_come_is_told_before(root, trained, capsys):
    settings = config(horizons=(1_280, 12_800), stages=(MixtureStage(),))
    ladder.run_ladder(root, settings, workers=2)
    assert trained[0] == ["trial/2x32-2x16", "trial/2x64-4x16"]
    lines = [line[len("ladder           ") :] for line in capsys.readouterr().err.splitlines()]
    assert lines[:2] == [
        "mixture.stages: all runs have their mean weights",
        "4 steps of each of 2 sizes, for their speed",
    ]
    assert lines[2].split() == [
        "run", "layers", "d_model", "parameters", "steps", "tokens", "per", "parameter", "FLOPs",
        "time",
    ]  # fmt: skip
    # A start of 5 seconds less 4 steps of half a second, and 10 of these.
    n = n_of(32, 2)
    assert lines[3].split() == [
        "2x32-2x16-128e1-tokens", "2", "32", f"{n:,}", "10", "1,280", f"{1280 / n:.3g}",
        f"{6 * n * 1280:.3g}", "8", "s",
    ]  # fmt: skip
    total = 6 * (n + n_of(64, 4)) * (1_280 + 12_800)
    assert lines[-1] == (
        f"4 runs of 2 sizes, {total:.3g} FLOPs (6ND; N with the embedding, without norms); "
        "4 to train, about 1 min 01 s with 2 workers"
    )


def test_what_is_done_is_told(root):
    rungs = plan_ladder(root, config(horizons=(1_280, 12_800)))
    names = {rung.name for rung in rungs}
    assert ladder.table(rungs, {}, 2, names).endswith("without norms); all are trained")
    left = rungs[-1].name
    text = ladder.table(rungs, {name: 90.0 for name in names}, 2, names - {left})
    assert [line.split()[-1] for line in text.splitlines()[1:4]] == ["done"] * 3
    assert text.splitlines()[4].endswith("1 min 30 s")
    assert text.endswith("1 to train, about 1 min 30 s with 2 workers")


def test_nothing_is_trained_of_a_ladder_that_is_refused(root, trained):
    with pytest.raises(ConfigError):
        ladder.run_ladder(root, config(horizons=(640, 12)), workers=1)
    assert trained == []


@pytest.fixture
def build(tmp_path, monkeypatch):
    """The YAML file of a build with two sizes and two horizons to train."""
    write_stores(tmp_path / "out")
    sizes = "[{d_model: 32, heads: 2}, {d_model: 64, heads: 4}]"
    path = tmp_path / "my.yaml"
    path.write_text(
        f"output: {tmp_path}/out\nsubsets: {{books: {{input: x}}, news: {{input: y}}}}\n"
        "mixture: {weights: {books: 0.75, news: 0.25}, sequence_length: 32}\n"
        "train: {override: {layers: 2, kv_size: 16}, batch_size: 4, learning_rate: 0.01}\n"
        f"scaling: {{sizes: {sizes}, horizons: [512, 1024]}}\n"
    )
    return path


def test_command(build, trained, capsys):
    diverging = "scaling.sizes=[{heads: 2}, {heads: 7}]"
    assert main(["scaling", "run", str(build), "--set", diverging, "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    runs = build.parent / "out" / "scaling" / "runs.csv"
    assert lines == [
        "2x512-7x16-1024-tokens diverged and is not in the table: a spike",
        "2x512-7x16-512-tokens diverged and is not in the table: a spike",
        f"2 runs; written to {runs}. Fit laws to them:",
        f"  massivetext scaling fit {runs} --output {runs.parent}",
    ]


def test_command_errors(build, capsys):
    assert main(["scaling", "run", str(build), "--set", "scaling.sizes=[]"]) == 2
    assert "gives no sizes; a ladder is, for example,\nscaling:" in capsys.readouterr().err
    output = build.parent / "nothing"
    assert main(["scaling", "run", str(build), "--set", f"output={output}"]) == 2
    assert f"run: massivetext tokenize {build}" in capsys.readouterr().err
    assert not output.exists()
    assert main(["scaling", "run", str(build), "--workers", "0"]) == 2


def test_a_tiny_ladder_is_trained_and_fitted(build, capsys):
    out = build.parent / "out" / "scaling"
    command = ["scaling", "run", str(build), "--workers", "1", "--set", "scaling.horizons=[1024]"]
    assert main(command) == 0
    first = (out / "runs.csv").read_bytes()
    rows = rows_of(out / "runs.csv")
    assert [(int(r["tokens"]), r["run"]) for r in rows if r["run"].startswith("2x64")] == [
        (128 * i, "2x64-4x16-1024-tokens") for i in range(1, 9)
    ]
    assert all(2 < float(row["loss"]) < 9 for row in rows)
    (out / "runs.csv").unlink()
    capsys.readouterr()
    assert main(command) == 0  # nothing anew
    assert "all are trained" in capsys.readouterr().err
    assert (out / "runs.csv").read_bytes() == first
    words = [str(out / "runs.csv"), "--output", str(out), "--resamples", "0"]
    assert main(["scaling", "fit", *words]) == 3
    assert "can only be in another unit" in capsys.readouterr().err  # below any ladder's size
    small = [word for name in ("parameters", "tokens", "flops") for word in ("--unit", f"{name}=1")]
    assert main(["scaling", "fit", *words, *small]) == 3
    error = capsys.readouterr().err
    assert "the envelope needs at least 3 sizes" in error
    assert "IsoFLOP needs at least 3 budgets" in error
