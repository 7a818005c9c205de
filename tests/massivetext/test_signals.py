import fasttext
import numpy as np
import pyarrow as pa
import pytest

from massivetext.config import Config, Mask, Subset
from massivetext.config_rules import C4, Classifier, Language, RuleGroup, Safety, Url
from massivetext.errors import ConfigError
from massivetext.rules import RULES, SIGNALS, Rule, decide, signal_columns
from massivetext.signals import Measurer, warm_up

KERNELS = (RuleGroup.QUALITY, RuleGroup.REPETITION)
ALL = tuple(RuleGroup)


def config(**sections) -> Config:
    return Config(output="out", subsets={"massiveweb": Subset(input=("in",))}, **sections)


def documents(*texts: str, **columns: list[str | None]) -> pa.RecordBatch:
    arrays = [pa.array(texts, pa.large_string()), *(pa.array(c) for c in columns.values())]
    return pa.RecordBatch.from_arrays(arrays, ["text", *columns])


def test_signals_are_appended():
    batch = documents("a b", id=["1"])
    measured = Measurer.load(config(), (RuleGroup.QUALITY,)).measure(batch)
    assert measured.schema.names == ["text", "id", *SIGNALS.names]
    assert [measured.schema.field(f.name).type for f in SIGNALS] == [f.type for f in SIGNALS]
    assert measured.column("quality_words").to_pylist() == [2]
    for name in SIGNALS.names:
        assert measured.column(name).null_count == (0 if name.startswith("quality_") else 1)
    measured.validate(full=True)


def test_empty_batch():
    batch = documents(id=[], url=[]).cast(
        pa.schema([("text", pa.large_string()), ("id", pa.string()), ("url", pa.string())])
    )
    groups = (*KERNELS, RuleGroup.C4, RuleGroup.FINEWEB)
    measured = Measurer.load(config(), groups, tuple(Mask)).measure(batch)
    assert measured.num_rows == 0
    assert len(decide(signal_columns(measured), groups, config()).first) == 0


def test_slice_measures_the_same():
    groups = (*KERNELS, RuleGroup.C4, RuleGroup.FINEWEB)
    measurer = Measurer.load(config(), groups, tuple(Mask))
    batch = documents("a b", "the the the. me@here.org", "c\nc\nd")
    assert measurer.measure(batch.slice(1)).equals(measurer.measure(batch).slice(1))


def test_edited_text_is_what_is_measured_and_kept():
    text = "A line that ends as it should, from me@example.net.\na menu entry here now\n"
    groups = (RuleGroup.QUALITY, RuleGroup.C4)
    measured = Measurer.load(config(), groups, (Mask.EMAIL,)).measure(documents(text))
    kept = measured.column("text")[0].as_py()
    assert kept.strip() == "A line that ends as it should, from email@example.com."
    assert measured.column("quality_words").to_pylist() == [9]
    assert measured.column("c4_removed_lines").to_pylist() == [1]
    assert measured.column("masked_emails").to_pylist() == [1]


def test_all_groups_with_models(tmp_path):
    (tmp_path / "train.txt").write_text("__label__en the cat\n__label__de die Katze\n" * 50)
    model = fasttext.train_supervised(
        str(tmp_path / "train.txt"), dim=4, epoch=20, lr=0.5, thread=1, verbose=0
    )
    path = str(tmp_path / "model.bin")
    model.save_model(path)
    words = str(tmp_path / "words.txt")
    (tmp_path / "words.txt").write_text("bad\n")
    (tmp_path / "domains.txt").write_text("example.org\n")
    whole = config(
        url=Url(domains=(str(tmp_path / "domains.txt"),), words=(words,)),
        language=Language(model=path),
        safety=Safety(model=path, label="de", words=words),
        classifier=Classifier(model=path, label="en"),
        c4=C4(terminal_punctuation=False, min_line_words=0),
    )
    warm_up(whole)
    batch = documents(
        "the cat",
        "die Katze",
        "the bad cat",
        "the cat",
        id=["1", "2", "3", "4"],
        url=[None, "http://x.org/", "http://x.org/", "https://www.example.org/bad"],
    )
    measured = Measurer.load(whole, ALL, tuple(Mask)).measure(batch)
    lists = ("safety_word", "url_domain", "url_word")
    assert all(measured.column(n).null_count == 0 for n in SIGNALS.names if n not in lists)
    decision = decide(signal_columns(measured), ALL, whole)
    assert [RULES[i] for i in decision.first] == [
        Rule.MIN_WORDS,
        Rule.LANGUAGE,
        Rule.UNSAFE_WORD,
        Rule.URL_DOMAIN,
    ]
    assert decision.detail.to_pylist() == [None, "de", "bad", "example.org"]
    assert np.isfinite(measured.column("classifier_draw").to_numpy()).all()


def test_group_without_its_section():
    for group in (RuleGroup.URL, RuleGroup.LANGUAGE, RuleGroup.SAFETY, RuleGroup.CLASSIFIER):
        with pytest.raises(ConfigError, match=f"no section {group}"):
            Measurer.load(config(), (group,))
