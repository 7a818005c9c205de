"""The whole loop on a tiny dataset: learning, resume to the bit, signals, spikes, other devices."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from massivetext.config_train import BatchRamp, Mesh, RampPoint, Spikes
from massivetext.errors import ConfigError, StageError
from massivetext.evaluation.texts import evaluate
from massivetext.shards import Shards
from massivetext.tfrecord import layout
from massivetext.trainer import run as run_module
from massivetext.trainer import train as train_module
from massivetext.trainer.checkpoint import Checkpoints
from massivetext.trainer.metrics import kept, read_metrics
from massivetext.trainer.train import train

from . import tiny

# Simulated devices share the cores that there are: one is the fastest.
ONE = Mesh(data=1)
KEYS = ("step", "loss", "gradient_norm", "learning_rate", "bits_per_byte", "rewind")


def config(**changes):
    return tiny.config(**{"mesh": ONE, **changes})


def lines(root):
    return [{k: r[k] for k in KEYS if k in r} for r in read_metrics(root)]


def losses(root):
    return [r["loss"] for r in kept(read_metrics(root)) if "loss" in r]


def about(root):
    """Return what the last checkpoint says, without what a clock says."""
    with Checkpoints(root, {}, read_only=True) as checkpoints:
        found = checkpoints.about(checkpoints.last_step)
    return {name: found[name] for name in found if name not in ("seconds", "log_bytes", "identity")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed."""
    root = tiny.write_shards(tmp_path_factory.mktemp("whole"))
    return root, train(root, config(), quiet=True)


def test_a_run_learns_and_accounts_for_itself(whole):
    root, result = whole
    assert (result.steps, result.tokens, result.skipped) == (12, 12 * 4 * 16, 0)
    assert result.rewinds == 0
    assert result.loss_last < result.loss_first
    assert result.loss_first == pytest.approx(math.log(tiny.VOCAB), abs=0.7)
    # 71 targets of about ln 61 nats each over 300 bytes of text
    assert result.bpb_before["books"] == pytest.approx(71 * math.log2(61) / 300, rel=0.2)
    assert result.bpb_after["books"] < result.bpb_before["books"]
    assert result.checkpoint == root / "checkpoints" / "12"
    records = read_metrics(root)
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 13))
    assert [r["tokens"] for r in records if "loss" in r] == list(range(64, 13 * 64, 64))
    assert (root / "train" / "loss.svg").read_text().startswith("<svg")
    assert evaluate(root, config()) == result.bpb_after
    state = about(root)
    assert (state["step"], state["sequences"], state["cursor"]) == (12, 48, 48)
    assert state["skipped_ranges"] == []


def test_a_finished_run_is_not_trained_again(whole, monkeypatch):
    root, result = whole
    monkeypatch.setattr(train_module, "make_step", lambda *a: pytest.fail)
    assert train(root, config(), quiet=True) == result


def test_it_says_what_it_does(tmp_path, capsys):
    root = tiny.write_shards(tmp_path)
    train(root, config(steps=2))
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("gopher-44m (dimensions overridden), 0.00 M parameters (2 layers, d_")
    assert said[1] == "1 x cpu"
    assert said[2].startswith("held out, step 0: bits per byte  books ")
    assert said[3].startswith("step 1/2")
    assert said[4].startswith("step 2/2")
    assert said[6].startswith("trained 0.00 M tokens")


class Killed(BaseException):
    """As sudden as kill -9: nothing in the run may catch it."""


def test_killed_and_resumed_is_the_same_to_the_bit(whole, tmp_path, monkeypatch):
    root = tiny.write_shards(tmp_path)
    original = train_module.learning_rate

    def kill(plan, step):
        if step == 8:  # after the checkpoint of step 5, with losses written beyond it
            raise Killed
        return original(plan, step)

    monkeypatch.setattr(train_module, "learning_rate", kill)
    with pytest.raises(Killed):
        train(root, config(), quiet=True)
    assert (root / "checkpoints" / "5").is_dir()
    with open(root / "train" / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 9, "lo')  # cut short in the middle of a line
    monkeypatch.undo()
    result = train(root, config(), quiet=True)
    assert lines(root) == lines(whole[0])
    assert (result.loss_first, result.bpb_before) == (whole[1].loss_first, whole[1].bpb_before)
    assert result.bpb_after == whole[1].bpb_after
    assert about(root) == about(whole[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 13}, "made with recipe steps 12, not 13"),
        ({"decay": "independent"}, "made with recipe decay 'coupled', not 'independent'"),
        ({"override": replace(tiny.TRAIN.override, heads=1)}, "made with model heads 2, not 1"),
    ],
)
def test_another_recipe_or_model_is_refused(whole, change, message):
    with pytest.raises(ConfigError, match=message):
        train(whole[0], config(**change), quiet=True)


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
        train(root, config(), quiet=True)
    assert signal.getsignal(signal.SIGTERM) is handler
    monkeypatch.undo()
    train(root, config(), quiet=True)
    assert lines(root) == lines(whole[0])


def test_a_run_that_diverges_says_so(tmp_path, monkeypatch):
    root = tiny.write_shards(tmp_path)
    monkeypatch.setattr(run_module, "MAX_SKIPPED_IN_A_ROW", 3)
    # One update with an infinite rate is finite in its gradients and ruins the parameters.
    monkeypatch.setattr(train_module, "learning_rate", lambda plan, step: math.inf)
    with pytest.raises(StageError, match="not been finite for 3 steps, up to step 4: training"):
        train(root, config(), quiet=True)
    records = [r for r in read_metrics(root) if "loss" in r]
    assert [r["loss"] is None for r in records] == [False, True, True, True]


def test_the_seed_decides_the_parameters(tmp_path, whole):
    root = tiny.write_shards(tmp_path)
    train(root, replace(config(steps=1), seed=2), quiet=True)
    assert losses(root)[0] != losses(whole[0])[0]


def test_a_run_on_other_devices_is_the_same_within_rounding(whole, tmp_path, monkeypatch):
    """One device, then four of which each keeps half of everything, then one again."""
    root = tiny.write_shards(tmp_path)
    original = train_module.learning_rate

    def until(last):
        def rate(plan, step):
            if step == last:
                raise Killed
            return original(plan, step)

        return rate

    for mesh, last in ((ONE, 7), (Mesh(data=2, fsdp=2), 11)):
        monkeypatch.setattr(train_module, "learning_rate", until(last))
        with pytest.raises(Killed):
            train(root, config(mesh=mesh), quiet=True)
    monkeypatch.undo()
    train(root, config(), quiet=True)
    assert losses(root)[:5] == losses(whole[0])[:5]
    np.testing.assert_allclose(losses(root), losses(whole[0]), rtol=2e-5)


def test_a_ramp_goes_through_the_records_in_order(tmp_path, monkeypatch):
    """By a batch that grows; killed in the middle, the same."""
    ramp = BatchRamp((RampPoint(0, 2), RampPoint(8, 4), RampPoint(16, 6)))
    ramped = config(batch_size=6, micro_batch_size=2, batch_ramp=ramp, checkpoint_every=3)
    roots = [tiny.write_shards(tmp_path / name) for name in ("whole", "killed")]
    train(roots[0], ramped, quiet=True)
    original = train_module.learning_rate

    def kill(plan, step):
        if step == 5:
            raise Killed
        return original(plan, step)

    monkeypatch.setattr(train_module, "learning_rate", kill)
    with pytest.raises(Killed):
        train(roots[1], ramped, quiet=True)
    monkeypatch.undo()
    train(roots[1], ramped, quiet=True)
    assert lines(roots[0]) == lines(roots[1])
    # 2 2 2 2 | 4 4 | 6 6 6 6 6 6
    assert about(roots[0])["cursor"] == 8 + 8 + 36
    tokens = [r["tokens"] // 16 for r in read_metrics(roots[0]) if "loss" in r]
    assert tokens == [2, 4, 6, 8, 12, 16, 22, 28, 34, 40, 46, 52]


# A dataset in which some records are noise: learned from the rest, they are a spike.

NOISE = range(104, 108)  # the batch of step 27
SPIKES = Spikes(deviations=4.0, window=8, rewind=3, skip=2, max_rewinds=2)
SPIKY = config(steps=34, learning_rate=3e-2, checkpoint_every=5, spikes=SPIKES)


def spiky_shards(root, noise=NOISE, left_out=()):
    records = tiny.counting(200, 0)
    random = np.random.default_rng(5)
    for number in noise:
        records[number] = random.integers(3, tiny.VOCAB, tiny.LENGTH + 1)
    records = np.delete(records, list(left_out), axis=0)
    tiny.write_shards(root, records=len(records))
    number = np.arange(len(records))
    rows = layout(tiny.LENGTH + 1, "uint16").encode(records, 0 * number, number, 0 * number)
    (root / "shards" / "train.tfrecord").write_bytes(rows.tobytes())
    return root


@pytest.fixture(scope="module")
def rewound(tmp_path_factory):
    """A run that met a spike and that nothing else disturbed."""
    root = spiky_shards(tmp_path_factory.mktemp("rewound"))
    return root, train(root, SPIKY, quiet=True)


def test_a_spike_is_undone_and_its_records_are_left_out(rewound, tmp_path):
    root, result = rewound
    assert result.rewinds == 1
    (rewind,) = [r for r in lines(root) if "rewind" in r]
    # At step 27 back to the checkpoint of 20, then past the records of step 27 and two more.
    assert rewind["step"] == 27
    assert rewind["rewind"]["to"] == 20
    assert rewind["rewind"]["records"] == [80, 116]
    assert about(root)["skipped_ranges"] == [[80, 116]]
    assert about(root)["cursor"] == 34 * 4 + 36
    # The run is that on the data without them, to the bit, the optimiser's state and all.
    clean = spiky_shards(tmp_path, left_out=range(80, 116))
    other = train(clean, SPIKY, quiet=True)
    assert other.rewinds == 0
    assert losses(clean) == losses(root)
    assert (other.bpb_after, other.loss_last) == (result.bpb_after, result.loss_last)


def test_records_are_never_met_again(tmp_path, monkeypatch):
    met = []
    original = Shards.read

    def read(self, start, stop):
        met.append((start, stop))
        return original(self, start, stop)

    monkeypatch.setattr(Shards, "read", read)
    train(spiky_shards(tmp_path), SPIKY, quiet=True)
    after = met.index((116, 120))
    assert met[after:] == [(n, n + 4) for n in range(116, 172, 4)]
    assert all(stop <= 116 for _, stop in met[:after])


@pytest.mark.parametrize("when", ["before", "while", "after"])
def test_killed_in_a_rewind_is_the_same_to_the_bit(rewound, tmp_path, monkeypatch, when):
    root = spiky_shards(tmp_path)
    original = Checkpoints.remove_after

    def remove_after(self, step):
        if when == "while":
            self._manager.delete(self.last_step)
        elif when == "after":
            original(self, step)
        raise Killed

    monkeypatch.setattr(Checkpoints, "remove_after", remove_after)
    with pytest.raises(Killed):
        train(root, SPIKY, quiet=True)
    monkeypatch.undo()
    result = train(root, SPIKY, quiet=True)
    assert lines(root) == lines(rewound[0])
    assert about(root) == about(rewound[0])
    assert (result.loss_last, result.rewinds) == (rewound[1].loss_last, 1)


def test_spikes_without_end_end_the_run(tmp_path):
    root = spiky_shards(tmp_path, noise=range(104, 200))
    with pytest.raises(StageError, match=r"is a spike, and the run has gone back 2 times before"):
        train(root, SPIKY, quiet=True)
    assert len([r for r in lines(root) if "rewind" in r]) == 2
    # Without watching, the run goes on from its last checkpoint, through the noise.
    result = train(root, config(**{**vars(SPIKY.train), "spikes": None}), quiet=True)
    assert (result.rewinds, len(losses(root))) == (0, 34)


def test_killed_anywhere_by_the_system(rewound, tmp_path):
    """A process of its own, killed again and again, writes what the undisturbed run wrote."""
    root = spiky_shards(tmp_path)
    code = """
import sys, jax
from pathlib import Path
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_compilation_cache_dir", sys.argv[2])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_disable_most_optimizations", True)
sys.path.insert(0, sys.argv[3])
from tests.trainer.test_train import SPIKY
from massivetext.trainer.train import train
train(Path(sys.argv[1]), SPIKY, quiet=True)
"""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    cache = jax.config.values["jax_compilation_cache_dir"]
    command = [sys.executable, "-c", code, str(root), str(cache), here]
    log = root / "train" / "metrics.jsonl"
    written = -1
    for more in (12, 17):
        goal = written + more
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            while process.poll() is None:
                if log.exists() and log.read_bytes().count(b"\n") > goal:
                    break
            process.kill()
        written = log.read_bytes().count(b"\n")
    subprocess.run(command, check=True, timeout=120)
    assert lines(root) == lines(rewound[0])
    assert about(root) == about(rewound[0])


def test_a_profile_of_some_steps(tmp_path):
    root = tiny.write_shards(tmp_path)
    with pytest.raises(ConfigError, match="cannot profile from step 3 to step 3 of a run of 4: "):
        train(root, config(steps=4), quiet=True, profile=(3, 3))
    train(root, config(steps=4), quiet=True, profile=(1, 3))
    assert list((root / "train" / "profile").rglob("*.xplane.pb"))


def test_the_trainer_imports_neither_beam_nor_tensorflow():
    code = (
        "import sys, json, massivetext.trainer.train, massivetext.evaluation.generate;"
        "print(json.dumps([m for m in ('apache_beam', 'tensorflow') if m in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=120)
    assert json.loads(out.stdout) == []
