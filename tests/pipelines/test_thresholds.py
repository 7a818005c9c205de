"""`massivetext thresholds` against what a build with those thresholds drops."""

from pathlib import Path

import pytest

from massivetext.cli.main import main
from massivetext.config_file import parse
from massivetext.dataset import read_json
from massivetext.errors import ConfigError
from massivetext.pipelines.build import build
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.rules import Rule
from massivetext.thresholds import compare

from . import corpus


def clean(text: str, *overrides: str) -> tuple[Path, dict]:
    config = parse(text, "test.yaml", overrides).config
    root = Path(config.output)
    return root, build(Context(root, Engine(workers=1), quiet=True), config, "clean")["clean"]


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    root = tmp_path_factory.mktemp("thresholds")
    text = corpus.make(root)
    out, manifest = clean(text)
    return text, out, manifest


def test_answer_is_what_a_build_would_do(cleaned):
    text, out, manifest = cleaned
    override = "quality.min_words=200"
    before = manifest["subsets"]["massiveweb"]
    answer = compare(out, [override])["massiveweb"]
    _, after = clean(text, override, f"output={out}-other")
    expected = after["subsets"]["massiveweb"]
    assert expected["documents"] < before["documents"]
    assert (answer.before.documents, answer.before.text_bytes) == (
        before["documents"],
        before["text_bytes"],
    )
    assert (answer.after.documents, answer.after.text_bytes) == (
        expected["documents"],
        expected["text_bytes"],
    )
    lost = before["documents"] - expected["documents"]
    assert answer.lost.rules == {Rule.MIN_WORDS: lost}
    assert answer.lost.documents == lost
    assert len(answer.lost.examples) == min(3, lost)
    assert answer.won.documents == 0


def test_without_overrides_nothing_changes(cleaned):
    _, out, manifest = cleaned
    for name, change in compare(out, []).items():
        assert change.before == change.after
        assert change.lost.documents == change.won.documents == 0
        dropped = sum(n for key, n in manifest["subsets"][name].items() if key.startswith("rule/"))
        assert change.documents - change.before.documents == dropped
        assert all(change.alone[rule] <= change.any[rule] for rule in Rule)


def test_looser_threshold_brings_documents_back(cleaned):
    text, out, manifest = cleaned
    strict, after = clean(text, "quality.min_words=200", f"output={out}-strict")
    change = compare(strict, ["quality.min_words=50"])["massiveweb"]
    assert change.after.documents == manifest["subsets"]["massiveweb"]["documents"]
    won = change.after.documents - after["subsets"]["massiveweb"]["documents"]
    assert change.won.rules == {Rule.MIN_WORDS: won}
    assert change.lost.documents == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=2", "seed is more than a threshold"),
        ("repetition.compat=datatrove", "repetition is more than a threshold"),
        ("c4.min_line_words=3", "c4 is more than a threshold"),
        ("subsets.books.format=parquet", "subsets is more than a threshold"),
        ("subsets.books.rules=fineweb", "fineweb_punctuated_lines was not measured"),
        ("quality.min_word=1", "did you mean 'min_words'"),
    ],
)
def test_what_is_no_threshold(cleaned, override, message):
    with pytest.raises(ConfigError, match=message):
        compare(cleaned[1], [override])


def test_command(cleaned, capsys, tmp_path):
    assert main(["thresholds", str(cleaned[1]), "--set", "quality.min_words=200"]) == 0
    printed = capsys.readouterr().out
    assert "would go" in printed
    assert "min_words" in printed
    assert main(["thresholds", str(tmp_path)]) == 2
    assert "run massivetext clean first" in capsys.readouterr().err


def test_clean_decides_again_without_measuring(cleaned):
    text, out, _ = cleaned
    before = read_json(out / "manifests" / "measure.json")
    clean(text, "quality.min_words=200")
    assert read_json(out / "manifests" / "measure.json") == before
    clean(text)
