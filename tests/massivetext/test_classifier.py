"""The kernels against fastText itself: same labels, same probabilities."""

import random
import struct
from collections import Counter
from types import SimpleNamespace

import fasttext
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import classifier as module
from massivetext.classifier import Classifier, warm_up
from massivetext.errors import ConfigError
from massivetext.fasttext_kernel import Cache
from massivetext.fasttext_model import read_model

from . import reference

WORDS = (
    "the cat sat on mat and dog ran to house with ball der Hund lief zum Haus und die Katze saß "
    "auf Matte mit einem Straße müde дом кошка собака бежала 日本語 猫 ネコ naïve café a I </s> x"
).split()
# Pieces that the tokeniser or the dictionary treats apart.
PIECES = (
    *WORDS, " ", "  ", "\n", "\t", "\r\n", "\v", "\f", "\0", "\u3000", "\u00a0", "<", ">", "<cat>",
    "__label__l1", "__label__new", "__label_", "__label__", "</s>x", "x" * 23, "x" * 24, "x" * 25,
    "é" * 12, "é" * 13, "猫" * 200, "12345678", "1234567 ", "😀", "\x80", "\x1c", "\x85",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=30).map(
    lambda pieces: "".join(piece + " " if i % 3 else piece for i, piece in enumerate(pieces))
)

# name: training options, options of quantize or None, labels
MODELS: dict[str, tuple[dict, dict | None, int]] = {
    "softmax": ({"loss": "softmax", "minn": 2, "maxn": 4, "dim": 8, "bucket": 500}, None, 5),
    "hierarchical": ({"loss": "hs", "minn": 1, "maxn": 3, "dim": 10, "bucket": 100}, None, 13),
    "one-vs-all": ({"loss": "ova", "dim": 3, "wordNgrams": 2, "bucket": 64}, None, 6),
    "negative-sampling": ({"loss": "ns", "dim": 17, "minn": 3, "maxn": 3, "bucket": 7}, None, 9),
    "words": ({"loss": "softmax", "dim": 4}, None, 4),
    "trigrams": ({"loss": "hs", "dim": 5, "wordNgrams": 3, "minn": 2, "maxn": 3, "bucket": 300},
                 None, 2),
    "one-bucket": ({"loss": "softmax", "dim": 4, "minn": 1, "maxn": 1, "bucket": 1}, None, 3),
    "one-label": ({"loss": "hs", "dim": 4, "minn": 1, "maxn": 2, "bucket": 50}, None, 1),
    "quantised": ({"loss": "hs", "dim": 8, "minn": 2, "maxn": 4, "bucket": 400}, {}, 6),
    "quantised-norms": ({"loss": "softmax", "dim": 7, "minn": 2, "maxn": 3, "bucket": 400},
                        {"qnorm": True, "dsub": 3}, 6),
    "pruned": ({"loss": "softmax", "dim": 6, "minn": 1, "maxn": 4, "wordNgrams": 3, "bucket": 2000},
               {"cutoff": 300, "qnorm": True}, 8),
    "quantised-output": ({"loss": "softmax", "dim": 5, "minn": 2, "maxn": 3, "bucket": 400},
                         {"qout": True, "qnorm": True}, 270),
    "untrained": ({"loss": "softmax", "dim": 4, "lr": 0.0}, None, 11),
    "untrained-tree": ({"loss": "hs", "dim": 4, "lr": 0.0}, None, 11),
    "untrained-one-vs-all": ({"loss": "ova", "dim": 4, "lr": 0.0}, None, 12),
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a function from a name in MODELS to the model's path and fastText's own model."""
    folder = tmp_path_factory.mktemp("models")
    made = {}

    def model(name):
        if name not in made:
            made[name] = train(folder, name, *MODELS[name])
        return made[name]

    return model


def train(folder, name, options, quantise, n_labels):
    draw = random.Random(name)
    lines = [
        f"__label__l{i % n_labels} "
        + " ".join(draw.choices(WORDS[i % n_labels % 20 :: 3] or WORDS, k=draw.randint(1, 12)))
        for i in range(max(300, 2 * n_labels))
    ]
    text = folder / f"{name}.txt"
    text.write_text("\n".join(lines) + "\n", "utf-8")
    ours = fasttext.train_supervised(
        str(text), **{"epoch": 5, "lr": 0.3, "thread": 1, "verbose": 0, **options}
    )
    if quantise is not None:
        ours.quantize(input=str(text), verbose=0, **quantise)
    path = folder / f"{name}.model"
    ours.save_model(str(path))
    return SimpleNamespace(path=path, theirs=fasttext.load_model(str(path)))


def expect(model, texts, k):
    """Return fastText's own predictions, as `Classifier.predict` returns them."""
    names = {label: i for i, label in enumerate(Classifier(model.path).labels)}
    lines = [text.replace("\n", " ") + "\n" for text in texts]
    found, values = model.theirs.f.multilinePredict(lines, k, 0.0, "strict")
    labels = np.full((len(texts), k), -1, np.int32)
    probabilities = np.zeros((len(texts), k), np.float32)
    for row, (line, value) in enumerate(zip(found, values, strict=True)):
        labels[row, : len(line)] = [names[label] for label in line]
        probabilities[row, : len(line)] = value
    return labels, probabilities


def by_label(labels, probabilities, n):
    """Return the probability of each of n labels, 0 for those not named: [rows, n]."""
    out = np.zeros((len(labels), n + 1), np.float32)
    np.put_along_axis(out, labels.astype(np.int64), probabilities, 1)
    return out[:, :n]


def check(model, texts):
    ours = Classifier(model.path)
    n = len(ours.labels)
    # fastText's sigmoid is a table: where sums differ in the last digit, the next step may be read.
    steps = model.theirs.f.getArgs().loss.name in ("ova", "ns")
    # What the tree gives 0.00001 may be named, or not.
    tree = model.theirs.f.getArgs().loss.name == "hs"
    tolerance = 0.009 if steps else 2.1e-5 if tree else 1e-5
    all_labels, all_probabilities = expect(model, texts, n)
    full = by_label(all_labels, all_probabilities, n)
    for k in (1, min(3, n), n):
        labels, probabilities = ours.predict(*reference.batch(texts), k)
        their_labels, their_probabilities = expect(model, texts, k)
        np.testing.assert_allclose(probabilities, their_probabilities, rtol=0, atol=tolerance)
        assert ((labels < 0) == (probabilities == 0)).all()
        for row, rank in np.argwhere(labels != their_labels):
            # Only a tie within rounding may come out otherwise.
            mine = full[row, labels[row, rank]] if labels[row, rank] >= 0 else 0
            assert abs(mine - their_probabilities[row, rank]) <= tolerance
    np.testing.assert_allclose(
        by_label(*ours.predict(*reference.batch(texts), n), n), full, rtol=0, atol=tolerance
    )


FIXED = [
    "", " ", "\n", "\0", "the cat sat", "der Hund\nlief", "zzz unseen", "__label__l1 the",
    "__label__l1", "a </s> der Hund lief", "</s>", "</s></s>", "cat\0dog", "x" * 30, "é" * 20,
    "猫" * 3000, "the " * 3000, " ".join(WORDS), *WORDS,
]  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_predicts_as_fasttext(models, name):
    check(models(name), FIXED)


@pytest.mark.parametrize("name", [name for name in MODELS if "untrained" not in name])
def test_predicts_as_fasttext_on_any_text(models, name):
    model = models(name)

    @given(st.lists(TEXTS, min_size=1, max_size=20))
    @settings(max_examples=50, deadline=None)
    def run(texts):
        check(model, texts)

    run()


@pytest.mark.parametrize("name", ["untrained", "untrained-tree", "untrained-one-vs-all"])
def test_equal_labels_come_in_the_order_of_fasttext(models, name):
    # The output matrix of a model that learnt nothing is zero: every label ties.
    model = models(name)
    n = len(Classifier(model.path).labels)
    for k in range(1, n + 1):
        labels, _ = Classifier(model.path).predict(*reference.batch(["the cat"]), k)
        assert labels.tolist() == expect(model, ["the cat"], k)[0].tolist()


def test_labels_are_exactly_those_of_fasttext(models):
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 40))) for _ in range(2000)]
    for name in ("softmax", "hierarchical", "pruned", "quantised", "trigrams"):
        labels, probabilities = Classifier(models(name).path).predict(*reference.batch(texts))
        theirs, their_probabilities = expect(models(name), texts, 1)
        assert (labels == theirs).all()
        np.testing.assert_allclose(probabilities, their_probabilities, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_probability_of_one_label(models, name):
    ours = Classifier(models(name).path)
    batch = reference.batch(FIXED)
    n = len(ours.labels)
    full = by_label(*ours.predict(*batch, n), n)
    for i in {0, n // 2, n - 1}:
        assert ours.probability(*batch, ours.labels[i]).tolist() == full[:, i].tolist()
    with pytest.raises(ValueError, match="no label '__label__unknown'"):
        ours.probability(*batch, "__label__unknown")


@pytest.mark.parametrize("name", ["hierarchical", "trigrams", "pruned", "quantised-norms"])
def test_nothing_but_the_text_changes_a_bit(models, name, monkeypatch):
    draw = random.Random(1)
    texts = [" ".join(draw.choices((*WORDS, *PIECES), k=draw.randint(0, 40))) for _ in range(200)]
    model = models(name)
    expected = [Classifier(model.path).predict(*reference.batch([text]), 2)[1] for text in texts]
    expected = np.concatenate(expected).tolist()
    ours = Classifier(model.path)
    data, offsets = reference.batch(texts)
    assert ours.predict(data, offsets, 2)[1].tolist() == expected
    assert ours.predict(data, offsets, 2)[1].tolist() == expected  # with a full cache
    assert ours.predict(data, offsets[50:], 2)[1].tolist() == expected[50:]
    backwards = ours.predict(*reference.batch(texts[::-1]), 2)[1]
    assert backwards[::-1].tolist() == expected
    monkeypatch.setattr(module, "_BLOCK", 30)  # few documents at a time
    monkeypatch.setattr(module, "new_cache", lambda dim: Cache(
        np.zeros((2, 4), np.uint64), np.zeros((2, dim), np.float32)))  # fmt: skip
    assert Classifier(model.path).predict(data, offsets, 2)[1].tolist() == expected


def test_quantised_rows_are_the_same_unpacked_or_not(models, monkeypatch):
    for name in ("quantised", "quantised-norms", "pruned"):
        expected = Classifier(models(name).path).predict(*reference.batch(FIXED), 3)
        monkeypatch.setattr("massivetext.fasttext_model._UNPACKED_BYTES", 0)
        assert len(read_model(models(name).path).input.matrix.codes)
        found = Classifier(models(name).path).predict(*reference.batch(FIXED), 3)
        monkeypatch.undo()
        assert (found[0] == expected[0]).all()
        np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-6)


def test_long_texts_and_words_are_summed_exactly(models):
    # fastText adds in float32, row by row, and is 0.0007 off on the second text.
    texts = ["猫cat" * 50_000, "the cat " * 200_000, "x" * 100_000]
    model = models("softmax")
    rows, output = (m.astype(float) for m in (
        model.theirs.get_input_matrix(), model.theirs.get_output_matrix()))  # fmt: skip
    expected = []
    for text in texts:
        ids = [model.theirs.get_word_id("</s>")]
        counts = Counter(text.split())
        hidden = rows[ids[0]].copy()
        total = 1
        for word, count in counts.items():
            ids = model.theirs.get_subwords(word)[1].astype(np.int64)
            hidden += count * rows[ids].sum(0)
            total += count * len(ids)
        scores = np.exp(output @ hidden / total)
        expected.append(scores / scores.sum())
    found = by_label(*Classifier(model.path).predict(*reference.batch(texts), 5), 5)
    np.testing.assert_allclose(found, np.array(expected) + 1e-5, rtol=0, atol=1e-6)


def test_shapes_and_k(models):
    ours = Classifier(models("softmax").path)
    assert ours.labels == tuple(models("softmax").theirs.get_labels())
    labels, probabilities = ours.predict(np.zeros(0, np.uint8), np.zeros(1, np.int64), 2)
    assert (labels.shape, labels.dtype) == ((0, 2), np.int32)
    assert (probabilities.shape, probabilities.dtype) == ((0, 2), np.float32)
    labels, probabilities = ours.predict(*reference.batch(["cat"]), 7)
    assert sorted(labels[0].tolist()) == [-1, -1, 0, 1, 2, 3, 4]
    assert probabilities[0, 5:].tolist() == [0, 0]
    with pytest.raises(ValueError, match="k is 0"):
        ours.predict(*reference.batch(["cat"]), 0)


def test_warm_up():
    warm_up()


def test_a_model_of_version_11_has_no_character_ngrams(models, tmp_path):
    content = bytearray(models("softmax").path.read_bytes())
    content[4:8] = struct.pack("<i", 11)
    (tmp_path / "old.bin").write_bytes(content)
    old = SimpleNamespace(path=tmp_path / "old.bin")
    old.theirs = fasttext.load_model(str(old.path))
    check(old, FIXED)


def damaged(path, content):
    """Whether a damaged model is refused; if it is not, it must still predict."""
    path.write_bytes(content)
    try:
        Classifier(path).predict(*reference.batch(FIXED), 2)
    except ConfigError:
        return True
    return False


@pytest.mark.parametrize("name", ["words", "pruned", "quantised-output"])
def test_cut_short_anywhere(models, name, tmp_path):
    content = models(name).path.read_bytes()
    for size in sorted({*range(0, 200, 3), *range(0, len(content), 97), len(content) - 1}):
        assert damaged(tmp_path / "cut", content[:size]), size


@pytest.mark.parametrize("name", ["softmax", "hierarchical", "pruned"])
def test_damaged_header(models, name, tmp_path):
    content = models(name).path.read_bytes()
    for at in range(0, 92, 4):
        for value in (-1, 0, 1, 65, 1 << 20, (1 << 31) - 1, -(1 << 31)):
            changed = bytearray(content)
            changed[at : at + 4] = struct.pack("<i", value)
            refused = damaged(tmp_path / "changed", changed)
            if value < 0 and at // 4 in (0, 2, 7, 8, 9, 10, 11, 12, 16, 17, 18):
                assert refused, (at, value)


@pytest.mark.parametrize("name", ["softmax", "hierarchical", "trigrams", "pruned", "quantised"])
def test_damaged_anywhere(models, name, tmp_path):
    content = models(name).path.read_bytes()
    draw = random.Random(name)
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(draw.choice((1, 1, 4))):
            changed[draw.randrange(len(changed))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
        damaged(tmp_path / "changed", changed)


def test_weights_that_are_not_numbers(models, tmp_path):
    content = bytearray(models("words").path.read_bytes())
    n = len(Classifier(models("words").path).labels)
    content[-4:] = struct.pack("<f", np.nan)
    with_nan = tmp_path / "nan.bin"
    with_nan.write_bytes(content)
    with pytest.raises(ConfigError, match="not a finite number"):
        Classifier(with_nan)
    content = bytearray(models("words").path.read_bytes())
    end = len(content) - 4 * 4 * n - 17  # of the input matrix, D = 4
    content[end - 16 * 30 : end] = struct.pack("<f", np.inf) * 120
    with_nan.write_bytes(content)
    with pytest.raises(ConfigError, match=r"nan\.bin holds weights that are not finite"):
        Classifier(with_nan).predict(*reference.batch([" ".join(WORDS)]))


def test_labels_of_another_prefix_are_refused(tmp_path):
    (tmp_path / "train.txt").write_text("#en the cat\n#de der Hund\n" * 20)
    model = fasttext.train_supervised(
        str(tmp_path / "train.txt"), label="#", dim=4, epoch=1, thread=1, verbose=0
    )
    model.save_model(str(tmp_path / "model.bin"))
    with pytest.raises(ConfigError, match="does not begin with __label__"):
        Classifier(tmp_path / "model.bin")
