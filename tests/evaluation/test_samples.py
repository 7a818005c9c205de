"""Samples of a run: what is written and when, and that the run is the same with and without."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from massivetext.cli import train as command
from massivetext.config_train import Mesh, Samples
from massivetext.errors import ConfigError
from massivetext.evaluation.decoding import Decoding
from massivetext.evaluation.generate import _draw, _read, generate
from massivetext.evaluation.samples import HOW, make_sampler
from massivetext.trainer import train as train_module
from massivetext.trainer.metrics import read_metrics
from massivetext.trainer.parameters import dimensions, initialise, named_seed
from massivetext.trainer.sharding import make_mesh, param_sharding
from massivetext.trainer.train import train

from ..trainer import tiny
from .trained_model import tokenizer

ASKED = Samples(prompts=("one two", "", "\u00e9\u4e2d"), tokens=6)
SHORT = Samples(prompts=("one two",), tokens=4)
MESH = Mesh(data=1)


def config(samples=ASKED, **changes):
    return tiny.config(**{"mesh": MESH, "evaluate_every": 4, "samples": samples, **changes})


def write(root):
    """Write tiny shards in `root` as if its tokenizer, of bytes and some words, had made them."""
    tiny.write_shards(root)
    model = tokenizer()._processor.serialized_model_proto()
    (root / "tokenizer").mkdir()
    (root / "tokenizer/tokenizer.model").write_bytes(model)
    path = root / "shards/manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["tokenizer_sha256"] = hashlib.sha256(model).hexdigest()
    manifest["vocab_size"] = tokenizer().vocab_size
    path.write_text(json.dumps(manifest))
    return root


def run(root, made):
    train(root, made, sampler=make_sampler(root, made), quiet=True)
    return read_metrics(root)


def told(lines):
    """What the lines say, without what a clock says, by kind."""
    rows = [{k: v for k, v in line.items() if k != "milliseconds"} for line in lines]
    samples = [row for row in rows if "samples" in row]
    return samples, [row for row in rows if "samples" not in row]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of the command that nothing disturbed."""
    root = write(tmp_path_factory.mktemp("sampled"))
    options = Namespace(profile=None, distributed=False, quiet=True)
    assert command._train(root, config(), options) == 0
    return root, read_metrics(root)


def test_every_evaluation_has_samples(whole):
    samples, others = told(whole[1])
    evaluated = [(row["step"], row["tokens"]) for row in others if "bits_per_byte" in row]
    assert evaluated == [(step, step * 4 * tiny.LENGTH) for step in (0, 4, 8, 12)]
    assert [(row["step"], row["tokens"]) for row in samples] == evaluated
    for row in samples:
        assert set(row) == {"step", "tokens", "samples"}
        assert [set(sample) for sample in row["samples"]] == [{"prompt", "text"}] * 3
        assert [sample["prompt"] for sample in row["samples"]] == list(ASKED.prompts)
    # Most tokens of the vocabulary are single bytes: not all that is drawn is UTF-8.
    assert "\ufffd" in "".join(sample["text"] for row in samples for sample in row["samples"])


def test_they_are_what_generate_gives(whole):
    root, lines = whole
    last = told(lines)[0][-1]["samples"]
    for sample in last:
        seed = named_seed(config().seed, f"sample 12 {sample['prompt']!a}")
        text = generate(root, config(), sample["prompt"], ASKED.tokens, Decoding(), seed)
        assert text == sample["prompt"] + sample["text"]


def test_the_run_is_the_same_to_the_bit_without(whole, tmp_path):
    root = write(tmp_path)
    assert make_sampler(root, config(None)) is None
    assert told(run(root, config(None)))[1] == told(whole[1])[1]
    left, right = (json.loads(p.read_bytes()) for p in map(about, (root, whole[0])))
    assert left["identity"] == right["identity"]
    assert left["loss_last"] == right["loss_last"]


def about(root):
    return root / "checkpoints/12/about/metadata"


class Killed(BaseException):
    """As sudden as kill -9."""


def kill(root, monkeypatch):
    """Leave a run in `root` that ended after its seventh step, past the checkpoint of step 5."""
    original = train_module.learning_rate

    def rate(plan, step):
        if step == 7:
            raise Killed
        return original(plan, step)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "learning_rate", rate)
        with pytest.raises(Killed):
            run(root, config())


def test_a_run_that_continues_writes_what_it_would_have_written(whole, tmp_path, monkeypatch):
    root = write(tmp_path)
    kill(root, monkeypatch)
    assert told(run(root, config())) == told(whole[1])


def test_a_run_may_continue_with_other_prompts(whole, tmp_path, monkeypatch):
    root = write(tmp_path)
    kill(root, monkeypatch)
    samples, others = told(run(root, config(replace(ASKED, prompts=("new", "one two")))))
    before, same = told(whole[1])
    assert others == same
    assert samples[:2] == before[:2]
    for row, first in zip(samples[2:], before[2:], strict=True):
        assert [sample["prompt"] for sample in row["samples"]] == ["new", "one two"]
        # A prompt's samples do not depend on the others.
        assert row["samples"][1] == first["samples"][0]


def test_samples_depend_on_seed_step_and_parameters_and_compile_once(whole):
    root, _ = whole
    size = dimensions(config().train, tokenizer().vocab_size, tiny.LENGTH)
    params = initialise(size, 3)
    sampler = make_sampler(root, config())
    first = sampler(params, 5)
    programs = _read._cache_size(), _draw._cache_size()
    assert sampler(params, 5) == first
    assert sampler(params, 6) != first
    assert sampler(initialise(size, 4), 5) != first
    assert make_sampler(root, replace(config(), seed=99))(params, 5) != first
    assert (_read._cache_size(), _draw._cache_size()) == programs
    assert HOW.temperature > 0


def test_split_parameters_give_the_same(whole):
    size = dimensions(config().train, tokenizer().vocab_size, tiny.LENGTH)
    params = initialise(size, 3)
    sampler = make_sampler(whole[0], config(SHORT))
    mesh = make_mesh(Mesh(data=2, fsdp=2, tensor=1), 4)
    split = {k: jax.device_put(x, param_sharding(mesh, size)[k]) for k, x in params.items()}
    assert sampler(split, 5) == sampler(params, 5)


def test_another_tokenizer_is_refused_before_training(tmp_path):
    root = write(tmp_path)
    path = root / "tokenizer/tokenizer.model"
    path.write_bytes(path.read_bytes() + b"\x12\x00")
    with pytest.raises(ConfigError, match="is not the tokenizer that made the shards"):
        make_sampler(root, config())
    path.unlink()
    with pytest.raises(ConfigError, match=r"tokenizer.model: No such file"):
        make_sampler(root, config())


PROGRAM = """
import sys
from pathlib import Path

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_disable_most_optimizations", True)
from massivetext.trainer import distributed

distributed.initialise()

from massivetext.config_train import Mesh
from tests.evaluation.test_samples import SHORT, config, run

run(Path(sys.argv[1]), config(SHORT, mesh=Mesh(data=2, fsdp=2), steps=1))
"""


def test_of_two_processes_the_first_writes_what_both_computed(whole, tmp_path):
    write(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    top = str(Path(__file__).parents[2])
    common = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "PYTHONPATH": top}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            cwd=top,
            env={**os.environ, **common, "JAX_PROCESS_ID": str(i)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    try:
        said = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    samples, _ = told(read_metrics(tmp_path))
    assert [row["step"] for row in samples] == [0, 1]
    assert [[sample["prompt"] for sample in row["samples"]] for row in samples] == [["one two"]] * 2
    alone = told(whole[1])[0][0]["samples"][0]
    (sample,) = samples[0]["samples"]
    assert len(sample["text"]) > 1
    assert alone["text"].startswith(sample["text"].rstrip("\ufffd"))
