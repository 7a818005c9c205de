"""What `evaluate`, `generate` and `export` print, with a model that is already in memory."""

from argparse import Namespace

import pytest

from massivetext.cli import train as command
from massivetext.errors import ConfigError
from massivetext.evaluation import export as export_module
from massivetext.evaluation import generate as generate_module
from massivetext.evaluation import texts as texts_module
from massivetext.evaluation import trained as trained_module

from ..trainer import tiny
from .trained_model import TEXT, trained


@pytest.fixture
def use(tmp_path, monkeypatch, capsys):
    made = trained()
    made.shards.manifest["tokenizer_sha256"] = "abc"
    for module in (trained_module, generate_module, export_module):
        monkeypatch.setattr(module, "load", lambda root, config: made)
    given = {"text": None, "task": None, "shots": 0, "seed": 0}
    given |= {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "contrastive": None, "candidates": 5}

    def run(function, **options):
        assert function(tmp_path, tiny.config(), Namespace(**given | options)) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_held_out_sets(use, monkeypatch):
    monkeypatch.setattr(texts_module, "evaluate", lambda root, config: {"books": 1.23456})
    assert use(command._evaluate) == ["held out  bits per byte", "books            1.2346"]


def test_texts(use, tmp_path):
    path = tmp_path / "text"
    path.write_text(TEXT * 30)
    tokens = len(trained().tokenizer.encode(TEXT * 30)) + 1
    head, row = use(command._evaluate, text=[str(path)])
    assert head.split() == ["text", "bits", "per", "byte", "bytes", "tokens"]
    name, bits, size, targets = row.split()
    assert (name, size, targets) == (str(path), f"{len(TEXT) * 30:,}", f"{tokens:,}")
    assert 0 < float(bits) < 1


def test_tasks(use, tmp_path):
    words, choices = tmp_path / "words", tmp_path / "choices"
    words.write_text('{"text": "one two three four"}\n' * 2)
    rows = {
        line.rsplit("  ", 1)[0].strip(): line.rsplit("  ", 1)[1]
        for line in use(command._evaluate, task=str(words))
    }
    assert rows[str(words)] == "0-shot"
    assert (rows["items"], rows["accuracy"]) == ("2", "1.0000")
    assert float(rows["perplexity of a target"]) < 2
    choices.write_text('{"context": "one two three", "choices": ["four", "x"], "answer": 0}\n' * 7)
    lines = use(command._evaluate, task=str(choices), shots=5)
    assert [line.split()[-1] for line in lines] == [
        "5-shot",
        "7",
        "1.0000",
        "1.0000",
        "0.5000",
        "7",
    ]
    assert lines[-1].startswith("contexts cut to fit")


def test_shots_without_a_task_are_refused(use):
    with pytest.raises(ConfigError, match="--shots needs --task"):
        use(command._evaluate, shots=1)


def test_text_is_generated(use):
    greedy = use(command._generate, prompt="one two three", tokens=5)
    assert greedy[0].startswith("one two three four")
    searched = use(command._generate, prompt="one two three", tokens=5, contrastive=0.0)
    assert searched == greedy
    with pytest.raises(ConfigError, match="top-p is 0; it must be more than 0"):
        use(command._generate, prompt="one", tokens=5, top_p=0)


def test_the_export_says_how_large_it_is(use, tmp_path):
    path = tmp_path / "model.safetensors"
    assert use(command._export, file=str(path)) == [f"{path}: {path.stat().st_size / 1e3:.1f} kB"]
