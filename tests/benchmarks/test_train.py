from pathlib import Path

import numpy as np
import pytest
import train_corpus
import train_mfu
import train_shakespeare
import train_speed
import training
from report import Bench, Report

from massivetext.errors import ConfigError, StageError
from massivetext.shards import Shards

OPTIONS = {"batch": 3, "context": 5, "vocab": 7, "warm_up": 2, "steps": 4, "threads": 1}


def _bench(folder: Path) -> Bench:
    return Bench(Report("train", folder / "train.json", quick=True), folder, True, 1)


def _run(step: float, parameters: int = 10) -> dict[str, object]:
    return {
        "step_seconds": [step, 9.0, step], "seconds": 3 * step, "parameters": parameters,
        "first_loss": 2.0, "last_loss": 1.0,
    }  # fmt: skip


def test_batches_count_on_modulo_the_vocabulary():
    steps = training.batches(OPTIONS)
    assert len(steps) == 6
    for inputs, targets in steps:
        assert inputs.shape == targets.shape == (3, 5)
        assert inputs.dtype == targets.dtype == np.int32
        assert np.array_equal(targets, (inputs + 1) % 7)
        assert np.array_equal(targets[:, :-1], inputs[:, 1:])


def test_steps_of_the_warm_up_are_not_timed():
    losses = iter([2.0, 1.9, 1.8, 1.7, 1.6, 1.5])
    result = training.timed(OPTIONS, 10, "ours", lambda inputs, targets: next(losses))
    assert len(result["step_seconds"]) == 4
    assert (result["first_loss"], result["last_loss"]) == (2.0, 1.5)
    assert result["configuration"].endswith("1 thread(s)")


@pytest.mark.parametrize("last", [2.0, float("nan"), float("inf")])
def test_contender_that_learns_nothing_fails(last: float):
    losses = iter([2.0, 1.9, 1.8, 1.7, 1.6, last])
    with pytest.raises(ValueError, match="nothing was learned"):
        training.timed(OPTIONS, 10, "ours", lambda inputs, targets: next(losses))


def test_speed_is_that_of_the_median_step(tmp_path: Path):
    bench = _bench(tmp_path)
    bench.report.body["peers"]["flax"] = {"note": "not installed: no network"}
    results = {
        "massivetext": [_run(0.5), _run(0.25), _run(0.75)],
        "transformers": [_run(1.0)] * 3,
        "flax": [],
    }
    train_speed._rows(bench, "tiny, 1 thread", OPTIONS, results)
    ours, torch, flax = bench.report.rows
    assert (ours.value, ours.unit) == (30.0, "tokens/s")  # 15 tokens in 0.5 s
    assert (torch.value, torch.met) == (2.0, True)
    assert (flax.value, flax.note) == (None, "not installed: no network")


def test_another_model_is_no_comparison(tmp_path: Path):
    results = {"massivetext": [_run(0.5)], "flax": [_run(0.5, parameters=11)]}
    with pytest.raises(StageError, match=r"not the same model: \[10, 11\] parameters"):
        train_speed._rows(_bench(tmp_path), "tiny", OPTIONS, results)


def test_shards_of_a_text_hold_its_characters(tmp_path: Path):
    plan = train_shakespeare.config(tmp_path, 1, "gopher-44m", 2)
    tokens = np.arange(400_000) % 61
    stores = {"subsets": {"shakespeare": tokens}, "heldout": {"shakespeare": tokens[:130]}}
    train_corpus.write_shards(tmp_path, plan, stores, 65, 60)
    shards = Shards.open(tmp_path / "shards")
    # 2,000 batches of 12, of a text of 6,250 sequences: no more than the 4 epochs allowed.
    assert len(shards) == 24_000
    assert shards.manifest["vocab_size"] == 65
    records = shards.read(0, 100)
    stream = np.concatenate([[60], tokens])
    for number, row in zip(records.sequence, records.tokens, strict=True):
        assert np.array_equal(row, stream[number * 64 : number * 64 + 65])
    held = shards.heldout("shakespeare")
    assert (len(held), held.targets, held.text_bytes) == (3, 130, 130)


def test_mfu_needs_a_gpu(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"mfu needs a GPU .* --only mfu"):
        train_mfu.mfu(_bench(tmp_path))


def test_rate_of_updates_is_measured():
    plan = train_shakespeare.config(Path("unused"), 1, "gopher-44m", 10).train
    assert train_mfu.steps_per_second(plan, 8, 61, 2) > 0
