"""`massivetext model`: numbers of the papers, and errors that name what is wrong."""

import json
import subprocess
import sys

import pytest

from massivetext.cli import model
from massivetext.cli.main import parser
from massivetext.errors import ConfigError


def run(capsys, *words):
    model.run(parser().parse_args(["model", *words]))
    return capsys.readouterr().out


def test_json_of_palm(capsys):
    told = json.loads(run(capsys, "palm-8b", "--mesh", "fsdp=4,tensor=2", "--json"))
    assert told["dimensions"]["kv_heads"] == 1
    counts = told["parameters"]
    assert counts["as the papers count (no norms)"] == 8_631_877_632  # PaLM: 8.63 billion
    assert counts["without embeddings"] == 8_631_877_632 - 256_000 * 4096
    memory = told["bytes_per_device"]
    assert memory["parameters"] == pytest.approx(counts["all"] * 4 / 8, rel=0.02)
    flops = told["flops_per_token"]
    assert flops["6 N"]["training"] == 6 * 8_631_877_632
    mfu = flops["6 N + 12 L H Q T (PaLM, MFU)"]["training"]
    assert mfu - flops["6 N"]["training"] == 12 * 32 * 16 * 256 * 2048
    for passes in flops.values():
        assert passes["training"] == pytest.approx(passes["forward"] + passes["backward"])


def test_text(capsys):
    text = run(capsys, "gopher-1.4b", "--precision", "mixed", "--batch", "2", "--length", "1024")
    lines = [line.split() for line in text.splitlines()]
    assert ["d_model", "2,048"] in lines
    assert ["positions", "relative"] in lines
    assert "2 sequences of 1,024 tokens at a time" in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_set_reaches_dimensions_and_training(capsys):
    words = ("gopher-44m", "--set", "positions=rotary", "--set", "d_model=256", "--vocab", "1000")
    told = json.loads(run(capsys, *words, "--set", "remat=full", "--json"))
    assert told["dimensions"]["positions"] == "rotary"
    assert (told["dimensions"]["d_model"], told["dimensions"]["ffw"]) == (256, 1024)
    assert told["dimensions"]["vocab_size"] == 1000
    assert told["remat"] == "full"


def test_spaces_between_the_axes_of_a_mesh_mean_nothing(capsys):
    told = json.loads(run(capsys, "gopher-44m", "--mesh", "fsdp=4, tensor=2", "--json"))
    assert told["mesh"] == {"data": 1, "fsdp": 4, "tensor": 2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gopher-1.4"], "no model preset 'gopher-1.4'; did you mean 'gopher-1.4b'"),
        (["gopher-44m", "--set", "d_modle=3"], "unknown key 'd_modle'.*did you mean 'd_model'"),
        (["gopher-44m", "--set", "d_model"], "expected KEY=VALUE"),
        (["gopher-44m", "--set", "model=palm-8b"], "model=palm-8b: name the model as PRESET"),
        (["gopher-44m", "--mesh", "8"], "--mesh is '8'; it must be AXIS=DEVICES"),
        (["gopher-44m", "--mesh", "fsp=3"], "unknown key 'fsp'.*did you mean 'fsdp'"),
        (["gopher-44m", "--mesh", "fsdp=3"], "train.mesh.fsdp is 3"),
        (["gopher-44m", "--precision", "mixd"], "'mixd' is unknown; did you mean 'mixed'"),
        (["gopher-44m", "--vocab", "0"], "--vocab is 0; it must be at least 1"),
        (["gopher-44m", "--set", "kv_heads=3"], "kv_heads, 3, must divide it"),
    ],
)
def test_errors(capsys, words, message):
    with pytest.raises(ConfigError, match=message):
        run(capsys, *words)


def test_arguments_need_no_jax():
    code = "import sys, massivetext.cli.model; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
