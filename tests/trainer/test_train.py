"""The whole loop on a tiny dataset: learning, resume to the bit, signals, evaluation, sampling."""

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from massivetext.errors import ConfigError, StageError
from massivetext.shards import Shards
from massivetext.trainer import train as train_module
from massivetext.trainer.evaluate import evaluate, evaluate_params, make_score
from massivetext.trainer.generate import continue_tokens, generate, sample
from massivetext.trainer.metrics import read_metrics
from massivetext.trainer.parameters import dimensions, initialise
from massivetext.trainer.plot import loss_svg
from massivetext.trainer.sharding import make_mesh
from massivetext.trainer.step import initial_state, make_step
from massivetext.trainer.train import train

from . import tiny


def losses(root):
    keys = ("step", "loss", "gradient_norm", "learning_rate", "bits_per_byte")
    return [{k: r[k] for k in keys if k in r} for r in read_metrics(root)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed."""
    root = tiny.write_shards(tmp_path_factory.mktemp("whole"))
    return root, train(root, tiny.config(), quiet=True)


def test_a_run_learns_and_accounts_for_itself(whole):
    root, result = whole
    assert (result.steps, result.tokens, result.skipped) == (12, 12 * 4 * 16, 0)
    assert result.loss_last < result.loss_first
    assert result.loss_first == pytest.approx(math.log(tiny.VOCAB), abs=0.7)
    # 71 targets of about ln 61 nats each over 300 bytes of text
    assert result.bpb_before["books"] == pytest.approx(71 * math.log2(61) / 300, rel=0.2)
    assert result.bpb_after["books"] < result.bpb_before["books"]
    assert result.checkpoint == root / "checkpoints" / "12"
    records = read_metrics(root)
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 13))
    assert (root / "train" / "loss.svg").read_text().startswith("<svg")
    assert evaluate(root, tiny.config()) == result.bpb_after


def test_a_finished_run_is_not_trained_again(whole, monkeypatch):
    root, result = whole
    monkeypatch.setattr(train_module, "make_step", lambda *a: pytest.fail)
    assert train(root, tiny.config(), quiet=True) == result


class Killed(BaseException):
    """As sudden as kill -9: nothing in the run may catch it."""


def test_killed_and_resumed_is_the_same_to_the_bit(whole, tmp_path, monkeypatch):
    root = tiny.write_shards(tmp_path)
    calls = []

    def kill(step):
        calls.append(step)
        if len(calls) == 9:  # after the checkpoint of step 5, with losses written beyond it
            raise Killed
        return original(tiny.TRAIN, step)

    original = train_module.learning_rate
    monkeypatch.setattr(train_module, "learning_rate", lambda _, step: kill(step))
    with pytest.raises(Killed):
        train(root, tiny.config(), quiet=True)
    assert (root / "checkpoints" / "5").is_dir()
    with open(root / "train" / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 9, "lo')  # cut short in the middle of a line
    monkeypatch.setattr(train_module, "learning_rate", original)
    result = train(root, tiny.config(), quiet=True)
    assert losses(root) == losses(whole[0])
    assert (result.loss_first, result.bpb_before) == (whole[1].loss_first, whole[1].bpb_before)
    assert result.bpb_after == whole[1].bpb_after


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 13}, "made with recipe steps 12, not 13"),
        ({"override": {**tiny.TRAIN.override, "heads": 1}}, "made with model heads 2, not 1"),
    ],
)
def test_another_recipe_or_model_is_refused(whole, change, message):
    with pytest.raises(ConfigError, match=message):
        train(whole[0], tiny.config(**change), quiet=True)


def test_sigterm_saves_and_stops(whole, tmp_path, monkeypatch):
    root = tiny.write_shards(tmp_path)
    original = train_module.learning_rate

    def terminate(plan, step):
        if step == 2:
            signal.raise_signal(signal.SIGTERM)
        return original(plan, step)

    monkeypatch.setattr(train_module, "learning_rate", terminate)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StageError, match="after step 3 of 12; a checkpoint was saved"):
        train(root, tiny.config(), quiet=True)
    assert signal.getsignal(signal.SIGTERM) is handler
    monkeypatch.undo()
    train(root, tiny.config(), quiet=True)
    assert losses(root) == losses(whole[0])


def test_a_step_that_is_not_finite_changes_nothing_but_the_count():
    plan = tiny.TRAIN
    size = dimensions(plan, tiny.VOCAB)
    state = initial_state(plan, size, 1, make_mesh(4))
    before = jax.tree.map(np.asarray, state)
    step = make_step(plan, size)
    tokens = jnp.asarray(tiny.counting(4, 0).astype(np.int32))
    broken = {**state["params"], "up": state["params"]["up"].at[0, 0, 0].set(jnp.nan)}
    after, metrics = step(
        {**state, "params": broken}, tokens[:, :-1], tokens[:, 1:], np.float32(0.1)
    )
    assert (bool(metrics["finite"]), int(metrics["skipped"])) == (False, 1)
    for name, array in after["params"].items():
        if name != "up":
            assert np.array_equal(array, before["params"][name]), name
    moments = jax.tree.leaves(after["optimiser"]["moments"])
    for a, b in zip(moments, jax.tree.leaves(before["optimiser"]["moments"]), strict=True):
        assert np.array_equal(a, b)


def test_a_run_that_diverges_says_so(tmp_path, monkeypatch):
    root = tiny.write_shards(tmp_path)
    monkeypatch.setattr(train_module, "MAX_SKIPPED_IN_A_ROW", 3)
    # One update with an infinite rate is finite in its gradients and ruins the parameters.
    monkeypatch.setattr(train_module, "learning_rate", lambda plan, step: math.inf)
    with pytest.raises(StageError, match="not been finite for 3 steps, up to step 4: training"):
        train(root, tiny.config(), quiet=True)
    records = [r for r in read_metrics(root) if "loss" in r]
    assert [r["loss"] is None for r in records] == [False, True, True, True]


def test_part_of_the_held_out_set_scales_its_bytes(tmp_path):
    shards = Shards.open(tiny.write_shards(tmp_path) / "shards")
    size = dimensions(tiny.TRAIN, tiny.VOCAB)
    params, score = initialise(size, 1), make_score(size, "float32")
    # A model of zeros is uniform: bits per byte are known exactly, whatever share is evaluated.
    params = {**params, "final_norm": jnp.zeros_like(params["final_norm"])}
    for sequences, targets in ((5, 71), (64, 71), (2, 32), (1, 16)):
        loss = evaluate_params(params, shards, score, 4, sequences)["books"]
        assert (loss.targets, loss.of_sequences) == (targets, 5)
        assert loss.text_bytes == pytest.approx(300 * targets / 71)
        assert loss.loss == pytest.approx(math.log(61), rel=1e-6)
        assert loss.bits_per_byte == pytest.approx(71 * math.log2(61) / 300, rel=1e-6)


def test_evaluate_says_what_it_left_out(whole, capsys):
    root, _ = whole
    assert 0 < evaluate(root, tiny.config(evaluate_sequences=2))["books"] < 3
    assert "books: 2 of 5 sequences; bytes scaled" in capsys.readouterr().err


def test_sampling_follows_temperature_and_top_k():
    logits = jnp.log(jnp.array([0.1, 0.2, 0.3, 0.4]))
    keys = jax.random.split(jax.random.key(0), 4000)

    def shares(temperature, top_k, banned):
        draw = jax.vmap(lambda key: sample(logits, key, temperature, top_k, jnp.array(banned, int)))
        return np.bincount(np.asarray(draw(keys)), minlength=4) / len(keys)

    assert shares(0, 0, []).tolist() == [0, 0, 0, 1]
    assert shares(0, 0, [3]).tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(shares(1, 0, []), [0.1, 0.2, 0.3, 0.4], atol=0.03)
    np.testing.assert_allclose(shares(1, 2, []), [0, 0, 3 / 7, 4 / 7], atol=0.03)
    np.testing.assert_allclose(shares(0.5, 2, [3]), [0, 4 / 13, 9 / 13, 0], atol=0.03)
    assert shares(1, 1, []).tolist() == [0, 0, 0, 1]


def test_a_window_shorter_than_the_text_slides():
    size = dimensions(tiny.TRAIN, tiny.VOCAB)
    params = initialise(size, 1)
    common = {"temperature": 0, "top_k": 0, "seed": 1, "eos_id": -1, "banned": []}
    long = continue_tokens(params, size, [5, 6, 7, 8], 3, window=2, **common)
    text = [5, 6, 7, 8]
    for token in long:
        assert continue_tokens(params, size, text[-2:], 1, window=2, **common) == [token]
        text.append(token)
    stop = {**common, "eos_id": long[0]}
    assert continue_tokens(params, size, [5, 6, 7, 8], 3, window=2, **stop) == []


def test_generate_refuses_nonsense(tmp_path):
    with pytest.raises(ConfigError, match=r"temperature is -1; it must be at least 0"):
        generate(tmp_path, tiny.config(), "x", 3, -1, 0, 0)


def test_the_plot_is_svg_whatever_the_losses():
    from xml.etree import ElementTree

    for tokens, values in (([], []), ([5], [2.0]), ([1, 2, 3], [3.0, 2.0, 2.5])):
        root = ElementTree.fromstring(loss_svg(tokens, values, "a < b"))
        assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 2


def test_the_trainer_imports_neither_beam_nor_tensorflow():
    code = (
        "import sys, json, massivetext.trainer.train, massivetext.trainer.generate;"
        "print(json.dumps([m for m in ('apache_beam', 'tensorflow') if m in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=120)
    assert json.loads(out.stdout) == []


def test_the_seed_decides_the_parameters(tmp_path, whole):
    root = tiny.write_shards(tmp_path)
    train(root, replace(tiny.config(), seed=2), quiet=True)
    assert losses(root)[1]["loss"] != losses(whole[0])[1]["loss"]
