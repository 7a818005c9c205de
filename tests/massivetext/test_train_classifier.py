import gzip
import json
import random
import stat
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import fasttext_train, train_classifier
from massivetext.classifier import LABEL_PREFIX, Classifier
from massivetext.classifier_report import auc, evaluate, histogram_svg, table
from massivetext.classifier_sample import SALT, Sample, draw, find, first_words
from massivetext.config import Format
from massivetext.dataset import sha256_file
from massivetext.document import DOCUMENT
from massivetext.errors import ConfigError, InputError, MassivetextError, StageError
from massivetext.hashing import hash_string
from massivetext.train_classifier import MIN_DOCUMENTS, train, training_line

from . import reference

GOOD = "the novel describes a quiet village where everyone reads long letters by the fire".split()
BAD = "click here to buy cheap shoes online free shipping best price sale login cookies".split()
COMMON = "and of in a it was is that for with on as by".split()


def sentences(words: list[str], count: int, seed: int) -> list[str]:
    """Texts of which half the words are common to both classes."""
    draw_ = random.Random(seed)
    return [
        " ".join(draw_.choices(words, k=20) + draw_.choices(COMMON, k=20)) for _ in range(count)
    ]


def write_jsonl(path: Path, texts: list[str]) -> str:
    content = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content.encode(), mtime=0))
    else:
        path.write_text(content)
    return str(path)


def run(model: Path, good: list[str], raw: list[str], **options) -> dict:
    defaults = {"documents": 1000, "size": 10_000, "seed": 1, "workers": 1, "quiet": True}
    return train(model, good, raw, **{**defaults, **options}).report


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for name, words, seed in (("good", GOOD, 1), ("bad", BAD, 2)):
        texts = sentences(words, 500, seed)
        write_jsonl(folder / f"{name}-a.jsonl.gz", texts[:200])
        write_jsonl(folder / f"{name}-b.jsonl", texts[200:300])
        pq.write_table(pa.table({"text": texts[300:]}), folder / f"{name}-c.parquet")
    return folder


@pytest.fixture(scope="module")
def trained(corpus):
    good, bad = (sorted(map(str, corpus.glob(f"{name}-*"))) for name in ("good", "bad"))
    model = corpus / "out" / "quality.bin"
    return model, run(model, good, bad), good, bad


# Sampling


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        (b"one two three", 13, b"one two three"),
        (b"one two three", 12, b"one two"),
        (b"one two three", 8, b"one two"),
        (b"one two three", 7, b"one two"),
        (b"one two three", 6, b"one"),
        (b"one\n\ttwo\0 \x0bthree\x0c\r", 99, b"one  two   three"),
        (b"   one two", 6, b"one"),
        ("ab日本".encode(), 7, "ab日".encode()),
        ("   ab日本".encode(), 9, "ab日".encode()),
        (b" \n", 9, b""),
        (b"    one", 3, b""),
        (b"", 1, b""),
    ],
)
def test_first_words_are_whole(text, size, expected):
    assert first_words(text, size) == expected


def batch(ids: list[str]) -> pa.RecordBatch:
    rows = [{"id": id_, "text": f"text {id_}", "source": "s"} for id_ in ids]
    return pa.RecordBatch.from_pylist(rows, schema=DOCUMENT)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text(max_size=8), unique=True, max_size=60),
    st.integers(1, 20),
    st.integers(0, 2**64),
    st.lists(st.integers(1, 20), min_size=1, max_size=5),
    st.booleans(),
    st.randoms(),
)
def test_sample_is_the_smallest_hashes_whatever_the_order(ids, keep, seed, sizes, merge, shuffle):
    ids = [id_.replace("\x00", "0") + str(index) for index, id_ in enumerate(ids)]
    expected = [
        f"text {id_}".encode()
        for id_ in sorted(ids, key=lambda id_: hash_string(id_, seed ^ SALT))[:keep]
    ]
    shuffle.shuffle(ids)
    sample = Sample(keep, 1000, seed)
    at = turn = 0
    while at < len(ids):
        step = sizes[turn % len(sizes)]
        if merge:
            part = Sample(keep, 1000, seed, sample.limit)
            part.add(batch(ids[at : at + step]))
            sample.merge(part)
        else:
            sample.add(batch(ids[at : at + step]))
        at, turn = at + step, turn + 1
    assert [first_words(text, 1000) for text in expected] == sample.texts()
    assert sample.records == len(ids)


def test_seed_changes_the_sample():
    drawn = []
    for seed in (1, 1, 2):
        sample = Sample(10, 1000, seed)
        sample.add(batch([str(i) for i in range(100)]))
        drawn.append(sample.texts())
    assert drawn[0] == drawn[1] != drawn[2]


def test_find_tells_formats_by_ending_in_any_order(tmp_path):
    names = ("a.jsonl", "b.JSONL.zst", "c.warc.gz", "d.warc.wet.gz", "e.xml.bz2", "f.parquet")
    for name in names:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "README.md").write_text("not taken from a folder")
    sources = find([str(tmp_path / name) for name in reversed(names)], "raw")
    assert [source.format for source in sources] == [
        Format.JSONL, Format.JSONL, Format.WARC, Format.WET, Format.MEDIAWIKI, Format.PARQUET,
    ]  # fmt: skip
    assert [source.split.names for source in sources] == [(name,) for name in names]
    folder = {source.split.names[0] for source in find([str(tmp_path)], "raw")}
    assert folder == set(names) - {"b.JSONL.zst"}


def test_find_takes_names_with_magic_characters_as_they_are(tmp_path):
    write_jsonl(tmp_path / "a[1].jsonl", ["one"])
    assert find([str(tmp_path)], "raw")[0].split.names == ("a[1].jsonl",)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a.txt", "the ending does not tell the format; valid: .jsonl, .ndjson, .json, .parquet"),
        ("b.jsonl", "does not exist"),
        ("*.warc.gz", "matches no file"),
        ("empty", "holds no matching file"),
    ],
)
def test_find_refuses(tmp_path, path, message):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="raw") as error:
        find([str(tmp_path / path)], "raw")
    assert message in str(error.value)


def warc(path: Path, pages: list[bytes]) -> str:
    with gzip.open(path, "wb") as out:
        for number, html in enumerate(pages):
            body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + html
            out.write(
                b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.b/%d\r\n"
                b"Content-Length: %d\r\n\r\n%s\r\n\r\n" % (number, len(body), body)
            )
    return str(path)


def test_pages_are_extracted_and_bad_ones_counted_alike_by_any_number_of_workers(tmp_path):
    good = b"<p>a page of twelve words that is long enough to be kept whole</p>"
    too_deep = b"<div>" * 100_000
    paths = [
        warc(tmp_path / "a.warc.gz", [good, b"<title>no text</title>", good]),
        warc(tmp_path / "b.warc.gz", [too_deep, good, b""]),
        str(tmp_path / "c.jsonl"),
    ]
    (tmp_path / "c.jsonl").write_text('{"text": "fine"}\nnot JSON\n{"text": 3}\n{"text": " \\n"}\n')
    seen = []
    for workers in (1, 2):
        read: list[int] = []
        sample = draw(
            find(paths, "raw"),
            "raw",
            documents=100,
            size=1000,
            seed=1,
            workers=workers,
            on_bytes=read.append,
        )
        assert sum(read) == sum(Path(path).stat().st_size for path in paths)
        assert sample.error
        counts = (sample.records, sample.rejected, sample.not_extracted, sample.without_text)
        assert counts == (8, 2, 1, 3)
        seen.append(sample.texts())
    assert seen[0] == seen[1]
    assert sorted(set(seen[0])) == [good[3:-4], b"fine"]


def test_losses_are_counted_below_the_limit_only():
    ids = [str(i) for i in range(4000)]
    rows = [{"id": i, "text": "" if int(i) % 2 else "text", "source": "s"} for i in ids]
    counts = set()
    for order in (rows, rows[::-1]):
        sample = Sample(200, 100, 1)
        for start in range(0, len(order), 50):
            part = pa.RecordBatch.from_pylist(order[start : start + 50], schema=DOCUMENT)
            sample.add(part)
        counts.add(sample.without_text)
    assert len(counts) == 1
    assert 150 < counts.pop() < 250


# Training


def test_same_bytes_whatever_the_order_and_the_workers(trained, tmp_path):
    model, report, good, bad = trained
    other = tmp_path / "other.bin"
    assert run(other, good[::-1], bad[::-1], workers=2) == report
    for suffix in ("", ".json", ".svg"):
        assert other.with_name(other.name + suffix).read_bytes() == (
            model.with_name(model.name + suffix).read_bytes()
        )


def test_seed_changes_the_model(trained, tmp_path):
    model, report, good, bad = trained
    other = run(tmp_path / "other.bin", good, bad, seed=2)
    assert other["model"]["sha256"] != report["model"]["sha256"]


def test_model_tells_the_classes_apart(trained):
    model, report, _, _ = trained
    classifier = Classifier(model)
    assert sorted(classifier.labels) == [LABEL_PREFIX + "raw", LABEL_PREFIX + "reference"]
    unseen = [*sentences(GOOD, 50, 3), *sentences(BAD, 50, 4)]
    scores = classifier.probability(*reference.batch(unseen), LABEL_PREFIX + "reference")
    assert (scores[:50] > 0.5).all()
    assert (scores[50:] < 0.5).all()
    assert report["evaluation"]["auc"] == 1


def test_report_says_what_was_done(trained):
    model, report, good, _ = trained
    assert json.loads(model.with_name("quality.bin.json").read_text()) == report
    assert report["model"] == {"bytes": model.stat().st_size, "sha256": sha256_file(model)}
    entry = report["classes"]["reference"]
    assert {k: v for k, v in entry.items() if k != "inputs"} == {
        "records": 500, "rejected": 0, "not_extracted": 0, "without_text": 0, "drawn": 500,
    }  # fmt: skip
    assert [(file["name"], file["bytes"]) for file in entry["inputs"]] == [
        (Path(path).name, Path(path).stat().st_size) for path in good
    ]
    assert report["evaluation"]["documents"] == {"reference": 50, "raw": 50}
    training = report["training"]
    assert training["documents_per_class"] == 450
    assert (training["seed"], training["settings"]["seed"]) == (1, 1)
    root = ElementTree.fromstring(model.with_name("quality.bin.svg").read_text())
    assert root.tag.endswith("svg")


def test_classes_get_as_many_documents_as_the_smaller(corpus, tmp_path, monkeypatch):
    lines = []

    def spy(path, model, settings_, quiet):
        folder = stat.S_IMODE(path.parent.stat().st_mode)
        lines.extend([folder, path.parent, *path.read_text().splitlines()])
        raise StageError("stopped here")

    monkeypatch.setattr(fasttext_train, "train", spy)
    model = tmp_path / "m.bin"
    with pytest.raises(StageError, match="stopped here"):
        run(model, [str(corpus / "good-b.jsonl")], [str(corpus / "bad-*")], size=50)
    mode, folder, *text = lines
    assert mode == 0o700
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []
    assert len(text) == 180  # of 100 and 500: 100 each, a tenth held out
    assert [line.split()[0] for line in text] == ["__label__reference", "__label__raw"] * 90
    vocabulary = {*GOOD, *BAD, *COMMON}
    for line in text:
        label, words = line.split(" ", 1)
        assert 40 <= len(words) <= 50
        assert set(words.split()) <= vocabulary


HOSTILE = "__label__reference </s> __label__raw __label__ x__label__ </s>x the".split()


@settings(deadline=None, max_examples=100)
@given(words=st.lists(st.sampled_from([*HOSTILE, *GOOD, *BAD]), max_size=12))
def test_training_sees_what_is_scored(trained, words):
    text = " ".join(words).encode()
    line = training_line("raw", text)
    label, kept = line.decode().removesuffix("\n").split(" ", 1)
    assert label == "__label__raw"
    assert not any(w.startswith("__label__") or w == "</s>" for w in kept.split())
    scores = Classifier(trained[0]).probability(
        *reference.batch([text.decode(), kept]), LABEL_PREFIX + "reference"
    )
    assert scores[0] == scores[1]


def test_documents_cannot_label_themselves(tmp_path):
    good = write_jsonl(tmp_path / "good.jsonl", sentences(GOOD, 50, 1))
    bad = [f"__label__reference {t}\n__label__spam {t}" for t in sentences(BAD, 50, 2)]
    run(tmp_path / "m.bin", [good], [write_jsonl(tmp_path / "bad.jsonl", bad)])
    classifier = Classifier(tmp_path / "m.bin")
    assert sorted(classifier.labels) == [LABEL_PREFIX + "raw", LABEL_PREFIX + "reference"]
    scores = classifier.probability(
        *reference.batch(sentences(BAD, 20, 5)), LABEL_PREFIX + "reference"
    )
    assert (scores < 0.5).all()


# Wrong use


def test_one_file_cannot_be_both(corpus, tmp_path):
    path = str(corpus / "good-b.jsonl")
    with pytest.raises(ConfigError, match=r"good-b.jsonl is given as reference and as raw"):
        run(tmp_path / "m.bin", [path], [str(corpus / "*-b.jsonl")])


@pytest.mark.parametrize("count", [0, MIN_DOCUMENTS - 1])
def test_too_few_documents(corpus, tmp_path, count):
    few = write_jsonl(tmp_path / "few.jsonl", ["a b c"] * count)
    with pytest.raises(InputError, match=f"raw has {count} documents with text; at least 10"):
        run(tmp_path / "m.bin", [str(corpus / "good-b.jsonl")], [few])
    assert not (tmp_path / "m.bin").exists()


def test_enough_documents(corpus, tmp_path):
    few = write_jsonl(tmp_path / "few.jsonl", sentences(BAD, MIN_DOCUMENTS, 1))
    report = run(tmp_path / "m.bin", [str(corpus / "good-b.jsonl")], [few])
    assert report["training"]["documents_per_class"] == 9


def test_unusable_records_are_named(corpus, tmp_path):
    (tmp_path / "bad.jsonl").write_text("nonsense\n" * 3)
    with pytest.raises(InputError, match=r"3 records are unusable, such as bad.jsonl:1: invalid"):
        run(tmp_path / "m.bin", [str(corpus / "good-b.jsonl")], [str(tmp_path / "bad.jsonl")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"documents": MIN_DOCUMENTS - 1}, "documents is 9; it must be at least 10"),
        ({"size": 0}, "bytes per document is 0"),
    ],
)
def test_impossible_sizes(corpus, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path / "m.bin", [str(corpus / "good-*")], [str(corpus / "bad-*")], **options)


def test_model_cannot_be_a_folder(corpus, tmp_path):
    with pytest.raises(ConfigError, match="is a folder; name the file"):
        run(tmp_path, [str(corpus / "good-*")], [str(corpus / "bad-*")])
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        run(tmp_path / "file" / "m.bin", [str(corpus / "good-*")], [str(corpus / "bad-*")])


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"fasttext": "0.9.3"}, r"\(found: fasttext 0.9.3\)"),
        ({"fasttext-community": "0.11.8"}, r"\(found: fasttext-community 0.11.8\)"),
        (
            {"fasttext-community": "0.11.9", "fasttext-predict": "0.9.2"},
            "pip uninstall -y fasttext-community fasttext-predict && pip install -U",
        ),
        ({}, r"\(found: none\).*Run: pip install -U fasttext-community"),
    ],
)
def test_other_distributions_of_fasttext_are_refused(monkeypatch, found, message):
    monkeypatch.setattr(fasttext_train, "packages_distributions", lambda: {"fasttext": [*found]})
    monkeypatch.setattr(fasttext_train, "version", found.__getitem__)
    with pytest.raises(MassivetextError, match=message):
        fasttext_train.check_installed()


@pytest.mark.parametrize("number", ["0.11.9", "0.11.10", "0.12.0rc1", "1.0"])
def test_newer_fasttext_is_taken(monkeypatch, number):
    monkeypatch.setattr(
        fasttext_train, "packages_distributions", lambda: {"fasttext": ["fasttext-community"] * 2}
    )
    monkeypatch.setattr(fasttext_train, "version", lambda name: number)
    assert fasttext_train.check_installed() == number


def test_failed_training_says_why(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(train_classifier.SETTINGS, "bucket", -1)
    with pytest.raises(StageError, match="fastText failed: "):
        run(tmp_path / "m.bin", [str(corpus / "good-*")], [str(corpus / "bad-*")])
    assert list(tmp_path.iterdir()) == []


def test_full_disk_names_the_folder(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StageError, match=r"missing.*TMPDIR"):
        run(tmp_path / "m.bin", [str(corpus / "good-*")], [str(corpus / "bad-*")])


# Evaluation

scores = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=30)


@given(scores, scores)
def test_auc_is_the_share_of_pairs_in_order(good, bad):
    pairs = [1.0 if g > b else 0.5 if g == b else 0.0 for g in good for b in bad]
    assert auc(np.float32(good), np.float32(bad)) == pytest.approx(sum(pairs) / len(pairs))


def test_evaluation_is_exact():
    good = np.float32([0.95, 0.9, 0.5, 0.2])
    bad = np.float32([0.6, 0.499, 0.1, 0.0])
    result = evaluate(good, bad)
    kept = {row["min_probability"]: (row["reference"], row["raw"]) for row in result["kept"]}
    assert kept[0.5] == (3 / 4, 1 / 4)
    assert kept[0.6] == (2 / 4, 1 / 4)
    assert kept[0.9] == (2 / 4, 0)
    assert kept[0.95] == (1 / 4, 0)
    assert kept[0.1] == (1, 3 / 4)
    assert (result["precision"], result["recall"]) == (3 / 4, 3 / 4)
    assert result["auc"] == (4 + 4 + 3 + 2) / 16
    assert result["pareto"]["raw"] == pytest.approx(
        (1.4**-9 + 1.501**-9 + 1.9**-9 + 2.0**-9) / 4, rel=1e-5
    )
    assert "AUC 0.8125; at 0.5 precision 0.750, recall 0.750" in table(result)
    assert "0.5                       75.0%     25.0%" in table(result)


def test_nothing_above_a_half_has_no_precision():
    assert evaluate(np.float32([0.1]), np.float32([0.2]))["precision"] == 0


def test_histogram_holds_every_document():
    svg = histogram_svg(np.float32([0, 1, 1, 1]), np.float32([0.5, 0.5]))
    bars = [e for e in ElementTree.fromstring(svg) if e.get("fill") in ("#1f5fa8", "#c8642c")]
    heights = [float(e.get("height")) for e in bars if e.get("height")]
    full = max(heights)
    assert len(heights) == 40
    assert sorted(h / full for h in heights if h) == pytest.approx([0.25, 0.75, 1], abs=1e-3)
