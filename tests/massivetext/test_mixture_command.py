"""`massivetext mixture`: plans of presets, of builds, and of configs without tokens yet."""

import json

import numpy as np
import pytest

from massivetext.cli.main import main

WEIGHTS = "mixture: {weights: {books: 0.75, news: 0.25}, tokens: 800, sequence_length: 10}\n"


def run(capsys, *words):
    code = main(["mixture", *words])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err


def epochs(lines):
    return {line.split()[0]: line.split()[-1] for line in lines[1:-1]}


def test_chinchilla_prints_its_table_a1(capsys):
    code, lines, _ = run(capsys, "chinchilla")
    assert code == 0
    assert epochs(lines) == {
        "books": "0.75", "c4": "0.77", "github": "0.13", "massiveweb": "1.24", "news": "0.21",
        "wikipedia": "3.40",
    }  # fmt: skip
    assert lines[-1].split() == [
        "total", "1.0000", "2,350,378,000,000", "1,147,645,510", "683,593,750",
        "1,400,000,000,000", "0.60",
    ]  # fmt: skip


@pytest.mark.parametrize("tokens", ["2.8e11", "280_000_000_000"])
def test_another_budget(capsys, tokens):
    code, lines, _ = run(capsys, "chinchilla", "--tokens", tokens)
    assert (code, epochs(lines)["wikipedia"]) == (0, "0.68")


def test_stages_of_a_preset(capsys):
    weights = ", ".join(f"{name}: {w}" for name, w in [
        ("massiveweb", 0.2), ("books", 0.5), ("c4", 0.1), ("news", 0.1), ("github", 0.08),
        ("wikipedia", 0.02),
    ])  # fmt: skip
    setting = f"mixture.stages=[{{until: 0.9}}, {{weights: {{{weights}}}}}]"
    code, lines, _ = run(capsys, "chinchilla", "--tokens", "1e12", "--set", setting)
    assert code == 0
    assert [line.split()[:2] for line in lines[-2:]] == [["1", "439,453,125"], ["2", "488,281,250"]]


def test_a_paper_that_does_not_tell_its_tokens(capsys):
    code, lines, _ = run(capsys, "palm")
    assert (code, lines[-1]) == (
        0, "the paper does not say how many tokens there were of each subset",
    )  # fmt: skip
    assert lines[1].split() == ["books", "0.1300", "101,400,000,000"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["chinchila"], "did you mean 'chinchilla'?"),
        (["missing.yaml"], "no config at missing.yaml"),
        (["chinchilla", "--tokens", "2e12"], "'wikipedia' would be repeated for 4.86 epochs"),
        (["chinchilla", "--tokens", "many"], "mixture.tokens is 'many'; it must be a whole number"),
        (["chinchilla", "--set", "mixture.construction=gopher"], "does not tell the lengths"),
        (
            ["gopher", "--set", "mixture.weights={books: 0.5, c4: 0.6}"],
            "weights sum to 1.1, not 1; scaled to one: {books: 0.454545, c4: 0.545455}",
        ),
    ],
)
def test_errors(capsys, words, message):
    code, lines, err = run(capsys, *words)
    assert (code, lines) == (2, [])
    assert message in err


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(
        f"output: {tmp_path}/out\nsubsets: {{books: {{input: x}}, news: {{input: y}}}}\n{WEIGHTS}"
    )
    return path


def write_stores(root, sizes):
    """Token stores of documents of these sizes, EOS counted, and their manifest."""
    subsets = {}
    for name, documents in sizes.items():
        path = root / "tokens" / name / "part-00000.tokens"
        path.parent.mkdir(parents=True)
        path.write_bytes(np.full(sum(documents), 5, "<u2").tobytes())
        path.with_suffix(".documents").write_bytes(np.cumsum(documents).astype("<u8").tobytes())
        counts = {"tokens": sum(documents), "documents": len(documents), "text_bytes": 9}
        part = {"path": str(path.relative_to(root)), **counts}
        subsets[name] = {**counts, "parts": [part]}
    manifests = root / "manifests"
    manifests.mkdir()
    tokens = {
        "subsets": subsets, "heldout": {}, "dtype": "uint16", "eos_id": 1, "pad_id": 0,
        "depends": {"documents": "x"}, "key": "k",
    }  # fmt: skip
    (manifests / "tokens.json").write_text(json.dumps(tokens))


def test_a_build_without_tokens_yet(capsys, config):
    code, lines, _ = run(capsys, str(config))
    assert code == 0
    assert [line.split() for line in lines[:4]] == [
        ["subset", "weight", "trained", "on"],
        ["books", "0.7500", "600"],
        ["news", "0.2500", "200"],
        ["total", "1.0000", "800"],
    ]
    assert lines[-1] == f"tokens and epochs are known when massivetext tokenize {config} has run"


def test_a_build_with_tokens(capsys, config, tmp_path, monkeypatch):
    monkeypatch.setattr("massivetext.lineage.stale", lambda manifests: [])
    write_stores(tmp_path / "out", {"books": [4, 96, 100], "news": [10] * 10})
    _, lines, _ = run(capsys, str(config))
    assert lines[1].split() == ["books", "0.7500", "200", "20", "60", "600", "3.00"]
    assert lines[2].split() == ["news", "0.2500", "100", "10", "20", "200", "2.00"]
    _, lines, _ = run(capsys, str(config), "--set", "mixture.construction=gopher")
    # Two crops and a packed sequence of books: 20 draws of each, 3 of all its tokens.
    assert lines[1].split() == ["books", "0.7500", "200", "3", "60", "600", "20.00", "3.00"]
    code, _, err = run(capsys, str(config), "--tokens", "8000")
    assert (code, "'books' would be repeated for 30.00 epochs" in err) == (2, True)


def test_a_subset_without_documents_is_named(capsys, config, tmp_path, monkeypatch):
    monkeypatch.setattr("massivetext.lineage.stale", lambda manifests: [])
    write_stores(tmp_path / "out", {"books": [100], "news": []})
    code, _, err = run(capsys, str(config))
    assert (code, "subset 'news' has weight 0.25 but no tokens" in err) == (2, True)


def test_stores_of_other_subsets_or_of_an_older_build(capsys, config, tmp_path, monkeypatch):
    write_stores(tmp_path / "out", {"books": [100], "forum": [3]})
    code, _, err = run(capsys, str(config))
    assert (code, "were made before an earlier stage changed" in err) == (2, True)
    monkeypatch.setattr("massivetext.lineage.stale", lambda manifests: [])
    code, _, err = run(capsys, str(config))
    assert (code, "there are no tokens of the subset 'news'" in err) == (2, True)
