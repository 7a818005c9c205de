import fasttext
import numpy as np
import pyarrow as pa
import pytest

from massivetext.errors import ConfigError
from massivetext.language import LanguageModel, language_code, warm_up

from . import reference

ENGLISH = "the cat sat on the mat and the dog ran to the house with a ball"
GERMAN = "der Hund lief zum Haus und die Katze saß auf der Matte mit einem Ball"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("language")
    (folder / "train.txt").write_text(
        f"__label__eng_Latn {ENGLISH}\n__label__de {GERMAN}\n" * 50, "utf-8"
    )
    model = fasttext.train_supervised(
        str(folder / "train.txt"), dim=8, epoch=20, lr=0.5, minn=2, maxn=4, bucket=2000, thread=1,
        verbose=0,
    )  # fmt: skip
    model.save_model(str(folder / "model.bin"))
    model.quantize(input=str(folder / "train.txt"), verbose=0, qnorm=True)
    model.save_model(str(folder / "model.ftz"))
    return folder / "model.bin"


def predict(path, texts):
    languages, probabilities = LanguageModel(path).predict(*reference.batch(texts))
    return languages.to_pylist(), probabilities


@pytest.mark.parametrize("suffix", [".bin", ".ftz"])
def test_predicts_a_batch(path, suffix):
    languages, probabilities = predict(path.with_suffix(suffix), [ENGLISH, GERMAN, ENGLISH])
    assert languages == ["en", "de", "en"]
    assert probabilities.dtype == np.float32
    assert ((probabilities > 0.9) & (probabilities <= 1)).all()


def test_reads_past_line_feeds(path):
    # fastText alone would see only the first line.
    languages, _ = predict(path, ["Ball\n" + ENGLISH.replace(" ", "\n"), "\n" + GERMAN])
    assert languages == ["en", "de"]


def test_white_space_is_undetermined(path):
    languages, probabilities = predict(path, ["", " ", "\n\u3000"])
    assert languages == ["und"] * 3
    assert probabilities.tolist() == [0, 0, 0]


def test_batch_does_not_change_a_prediction(path):
    texts = [ENGLISH, "", GERMAN, "mat Haus", "a\0b"]
    _, together = predict(path, texts)
    alone = [predict(path, [text])[1][0] for text in texts]
    assert together.tolist() == alone


def test_the_whole_text_is_classified(path):
    start = (ENGLISH + " ") * 2000
    languages, probabilities = predict(path, [start, start + (GERMAN + " ") * 6000])
    assert languages == ["en", "de"]
    assert probabilities[0] != probabilities[1]


def test_a_slice_of_a_batch(path):
    model = LanguageModel(path)
    data, offsets = reference.batch([ENGLISH, GERMAN, "", ENGLISH])
    languages, _ = model.predict(data, offsets[1:])
    assert languages.to_pylist() == ["de", "und", "en"]


def test_no_documents(path):
    languages, probabilities = predict(path, [])
    assert len(languages) == len(probabilities) == 0


def test_nul_is_not_white_space(path):
    languages, _ = predict(path, ["\0", "\0 "])
    assert languages != ["und", "und"]


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("__label__en", "en"),
        ("__label__eng_Latn", "en"),
        ("zho_Hans", "zh"),
        ("cmn", "zh"),
        ("arb_Arab", "ar"),
        ("deu", "de"),
        ("DE", "de"),
        ("ceb", "ceb"),
        ("war", "war"),
    ],
)
def test_language_code(label, code):
    assert language_code(label) == code


def test_missing_model(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.bin.*correct the path"):
        LanguageModel(tmp_path / "none.bin")
    with pytest.raises(ConfigError, match="correct the path"):
        LanguageModel(tmp_path)


@pytest.mark.parametrize("suffix", [".bin", ".ftz"])
def test_model_cut_short_anywhere(path, suffix, tmp_path):
    content = path.with_suffix(suffix).read_bytes()
    cut = tmp_path / "cut.bin"
    for size in (0, 3, 8, 60, 100, 200, len(content) // 2, len(content) - 1):
        cut.write_bytes(content[:size])
        with pytest.raises(ConfigError, match="download it again"):
            LanguageModel(cut)


def test_not_a_model(tmp_path):
    (tmp_path / "text.bin").write_text("not a model " * 100)
    with pytest.raises(ConfigError, match="no readable fastText model"):
        LanguageModel(tmp_path / "text.bin")


def test_word_vectors_are_no_classifier(tmp_path):
    (tmp_path / "train.txt").write_text("a b c d e f\n" * 50)
    model = fasttext.train_unsupervised(
        str(tmp_path / "train.txt"), dim=4, epoch=1, minCount=1, bucket=100, thread=1, verbose=0
    )
    model.save_model(str(tmp_path / "vectors.bin"))
    with pytest.raises(ConfigError, match=r"vectors|no readable"):
        LanguageModel(tmp_path / "vectors.bin")


def test_returns_arrow_strings(path):
    languages, _ = LanguageModel(path).predict(*reference.batch([ENGLISH]))
    assert languages.type == pa.string()


def test_warm_up():
    warm_up()
