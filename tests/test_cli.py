"""The command line as a newcomer meets it, wrongly too."""

import subprocess
import sys

import pytest

from massivetext.cli.main import COMMANDS, main


def run(*words: str) -> int:
    try:
        return main(words)
    except SystemExit as done:
        return int(done.code or 0)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    assert run(command, "--help") == 0
    assert f"example:\n  massivetext {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["biuld"], "unknown command 'biuld'; did you mean 'build'?"),
        (["build", "a.yaml", "--worker", "2"], "'--worker'; did you mean '--workers'?"),
        (["build", "a.yaml", "--dry-run", "extra"], "unknown argument 'extra'"),
        (["build", "missing.yaml"], "no config at missing.yaml"),
        (["build", "a.yaml", "--workers", "0"], "--workers is 0; it must be at least 1"),
        (["build", "a.yaml", "--workers", "x"], "invalid int value: 'x'"),
        (["why", "nowhere", "id"], "nowhere is not the output of a build"),
        (["verify", "nowhere"], "nowhere is not the output of a build"),
        (["train-classifier", "m.bin", "--reference", "a.jsonl"], "required: --raw"),
        (["train-classifier", "m.bin", "--reference", "no.jsonl", "--raw", "a"], "does not exist"),
        (["tokenizer-report", "m.model"], "required: DATA"),
        (["tokenizer-report", "no.model", "a.jsonl"], "no.model: No such file"),
        (["export-tokenizer", "no.model", "t.json"], "no.model: No such file"),
        (["import-tokenizer", "no.json", "m.model"], "no.json: No such file"),
        (["demo", "--", "--runner=X"], "massivetext demo takes no Beam flags"),
        ([], "required"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(words, expected, capsys):
    assert run(*words) == 2
    assert expected in capsys.readouterr().err


def test_a_wrong_beam_flag_is_an_error_with_the_nearest_name(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    config = tmp_path / "a.yaml"
    config.write_text(
        f"output: {tmp_path}/out\nsubsets: {{books: {{input: {tmp_path}/a.jsonl}}}}\n"
    )
    assert run("build", str(config), "--", "--runer=FlinkRunner") == 2
    assert "--runner" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from massivetext.cli.main import parser; parser();"
        "print([m for m in ('numpy', 'pyarrow', 'apache_beam', 'jax', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_quality_classifier_is_trained_and_described(tmp_path, capsys):
    for name in ("good", "bad"):
        lines = [f'{{"text": "{name} words of document {i}, all {name}"}}\n' for i in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines) + "broken\n")
    good, bad, model = (str(tmp_path / name) for name in ("good.jsonl", "bad.jsonl", "m.bin"))
    assert run("train-classifier", model, "--reference", good, "--raw", bad) == 0
    out, err = capsys.readouterr()
    assert "reference        20 documents, 20 drawn, 1 rejected" in err
    assert "such as good.jsonl:21: invalid JSON" in err
    assert "min_probability  reference kept  raw kept" in out
    assert "trained on 18 documents of each class" in out
    assert {path.name for path in tmp_path.glob("m.*")} == {"m.bin", "m.bin.json", "m.bin.svg"}


def test_mix_takes_the_weights_of_a_tuned_mixture(tmp_path, capsys):
    for name in ("books", "news"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "a"}\n')
    subsets = ", ".join(f"{n}: {{input: {tmp_path}/{n}.jsonl}}" for n in ("books", "news"))
    config, tuned = tmp_path / "a.yaml", tmp_path / "mixture.json"
    config.write_text(f"output: {tmp_path}/out\nsubsets: {{{subsets}}}\n")
    tuned.write_text('{"weights": {"books": 0.123456, "news": 0.876544}, "objective": {}}')
    assert run("mix", str(config), "--mixture", str(tuned), "--dry-run") == 0
    out = capsys.readouterr().out
    assert "books: 0.123456" in out
    assert "news: 0.876544" in out


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file"),
        ("weights", "not a mixture.json, which has `weights` by subset"),
        ("[1]", "not a mixture.json"),
        ('{"weights": [0.5, 0.5]}', "not a mixture.json"),
        ('{"weights": {"books": "half"}}', "not a mixture.json"),
        ('{"weights": {"books": 0.7}}', "weights sum to 0.7, not 1"),
    ],
)
def test_a_wrong_mixture_file_is_named(content, expected, tmp_path, capsys):
    (tmp_path / "a.yaml").write_text(f"output: {tmp_path}\nsubsets: {{books: {{input: a}}}}\n")
    tuned = tmp_path / "mixture.json"
    if content is not None:
        tuned.write_text(content)
    assert run("mix", str(tmp_path / "a.yaml"), "--mixture", str(tuned)) == 2
    assert expected in capsys.readouterr().err
