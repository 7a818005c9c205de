import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.errors import ConfigError
from massivetext.safety import MAX_UNITS, LabelModel, WordList

from . import reference


def find(phrases: list[str], texts: list[str]) -> list[str | None]:
    found = WordList(phrases).first_match(pa.array(texts, pa.large_string()))
    assert found.type == pa.string()
    return found.to_pylist()


@pytest.mark.parametrize(
    ("phrase", "text", "matches"),
    [
        ("bad", "a bad word", True),
        ("bad", "BAD", True),
        ("Bad", "so bad.", True),
        ("bad", "badly", False),
        ("bad", "not-bad!", True),
        ("bad", "bad_word", True),
        ("bad", "ba d", False),
        ("bad word", "a bad\n\tword", True),
        ("bad word", "a badword", False),
        ("bad word", "a bad-word", False),
        ("bad word", "bad bad word", True),
        ("bad word", "bad words", False),
        ("s&m", "S&M.", True),
        ("s&m", "s & m", False),
        ("🖕", "x🖕y", True),
        ("ÉTÉ", "un été", True),
        ("плохо", "Очень ПЛОХО", True),
        ("bad", "", False),
        ("bad", "\0bad\0", False),
        ("bad", "\u3000bad\u2028", True),
    ],
)
def test_word_boundaries(phrase, text, matches):
    assert find([phrase], [text]) == [phrase if matches else None]


def test_first_then_longest():
    phrases = ["b c", "b", "A B", "a b c d"]
    texts = ["a b c", "b c", "x a b c d", "b b c", "c d"]
    assert find(phrases, texts) == ["A B", "b c", "a b c d", "b", None]


def test_rows_and_slices_are_apart():
    texts = pa.array(["a bad", "word", "bad word", "fine"], pa.large_string())
    words = WordList(["bad word", "fine"])
    assert words.first_match(texts).to_pylist() == [None, None, "bad word", "fine"]
    assert words.first_match(texts.slice(2)).to_pylist() == ["bad word", "fine"]
    assert words.first_match(texts.slice(4)).to_pylist() == []


_PARTS = st.sampled_from(("a", "b", "ab", " ", "\n", "-", "&", "é", "É", "_", "🖕", "1"))


@given(
    st.lists(_PARTS, max_size=30).map("".join),
    st.lists(
        st.lists(
            st.sampled_from(("a", "b", "ab", " ", "-", "é", "🖕", "1")), min_size=1, max_size=5
        )
        .map("".join)
        .map(str.strip)
        .filter(bool),
        min_size=1,
        max_size=4,
        unique=True,
    ),
)
@settings(max_examples=500, deadline=None)
def test_agrees_with_regular_expressions(text, phrases):
    (found,) = find(phrases, [text])
    expected = reference.matched_phrase(text, phrases)
    assert (found and " ".join(found.split())) == (expected and " ".join(expected.split()))


def test_long_texts():
    assert find(["needle"], ["hay " * 1_000_000 + "needle", "x" * 10_000_000]) == ["needle", None]


def test_worst_case_is_bounded():
    phrase = "a " * (MAX_UNITS - 1) + "b"
    assert find([phrase], ["a " * 200_000]) == [None]


def test_read(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffbad\r\n\r\n  worse word \n".encode())
    assert WordList.read(path).phrases == ["bad", "worse word"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n \n", "empty"), (b"\xff\xfe", "read"), (b"a " * (MAX_UNITS + 1), "33 units")],
)
def test_unusable_list(tmp_path, content, message):
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"words\.txt.*{message}"):
        WordList.read(path)


def test_missing_list(tmp_path):
    with pytest.raises(ConfigError, match="none"):
        WordList.read(tmp_path / "none")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("safety")
    lines = ["__label__unsafe buy pills casino now", "__label__safe the history of the old town"]
    (folder / "train.txt").write_text("\n".join(lines * 50) + "\n")
    trained = fasttext.train_supervised(
        str(folder / "train.txt"), dim=8, epoch=20, lr=0.5, thread=1, verbose=0
    )
    trained.save_model(str(folder / "model.bin"))
    return str(folder / "model.bin")


def test_probability_of_the_label(model):
    texts = ["casino pills now", "the history of\nthe town", ""]
    unsafe = LabelModel(model, "unsafe").predict(*reference.batch(texts))
    safe = LabelModel(model, "__label__safe").predict(*reference.batch(texts))
    assert unsafe.dtype == np.float32
    assert unsafe[0] > 0.9 > 0.1 > unsafe[1]
    assert (unsafe + safe)[:2] == pytest.approx(1, abs=1e-3)


def test_unknown_label(model):
    with pytest.raises(ConfigError, match="did you mean 'unsafe'"):
        LabelModel(model, "unsave")
