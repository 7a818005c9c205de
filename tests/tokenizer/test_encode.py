"""Encoding: nothing is lost, and the fast path gives SentencePiece's own tokens."""

import io
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.document import text_buffers
from massivetext.errors import ConfigError, InputError
from massivetext.tokenizer import encode
from massivetext.tokenizer.cache import WordCache
from massivetext.tokenizer.encode import Tokenizer

from .models import model, plain, texts, tokenizer

HARD = [
    "",
    " ",
    "\n",
    "\r\n\t\0",
    "  two  spaces  \n\n   three ",
    " " * 5000,
    "\u2581",
    "a\u2581b \u2581\u2581 c\u2581",
    "\u2585 \u2581\u2585",
    "<unk><pad></s><0x41>",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \ufeff\ufffd\uffff\U0010ffff",
    "x" * 3000,
    "中文没有空格" * 50,
    "1234567890 3.14159",
]
TROUBLE = st.sampled_from(
    (
        "  ",
        "\u2581",
        "\u2585",
        "\0",
        "\r\n",
        "e\u0301",
        "\u0308",
        "\u00a0",
        "\u3000",
        "\ufb01",
        "\ufdfa",
        "\u00a8",
        "\u1100\u1161",
        "self.",
        "    ",
        "):\n",
        "</s>",
        "\u2028",
        " the",
    )
)
TEXT = st.lists(st.one_of(TROUBLE, st.text(max_size=6), st.sampled_from(" abc.\n1"))).map("".join)


def normal(encoder: Tokenizer, text: str) -> str:
    """NFKC as SentencePiece has it, which U+2581 passes unchanged."""
    parts = text.split("\u2581")
    return "\u2581".join(encoder._processor.normalize(p).replace("\u2581", " ") for p in parts)


@pytest.mark.parametrize("text", HARD)
@pytest.mark.parametrize("preset", ["chinchilla", "palm"])
def test_hard_text_comes_back_under_identity(preset, text):
    encoder = tokenizer(preset)
    ids = encoder.encode(text)
    assert ids.dtype == np.uint16
    assert encoder.decode(ids) == text
    assert ids.tolist() == plain(encoder, text)


@pytest.mark.parametrize("preset", ["chinchilla", "palm"])
@settings(max_examples=300, deadline=None)
@given(text=TEXT)
def test_any_text_comes_back_with_sentencepieces_own_tokens(preset, text):
    encoder = tokenizer(preset)
    ids = encoder.encode(text)
    assert encoder.decode(ids) == text
    assert ids.tolist() == plain(encoder, text)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_gopher_keeps_the_normal_form(text):
    encoder = tokenizer("gopher")
    ids = encoder.encode(text)
    assert encoder.decode(ids) == normal(encoder, text)
    assert ids.tolist() == plain(encoder, text)


def test_gopher_normalises_as_unicode_does():
    text = "ﬁne ① ½\u00a0e\u0301 \uff21 \u3000x"
    encoder = tokenizer("gopher")
    assert encoder.decode(encoder.encode(text)) == unicodedata.normalize("NFKC", text)
    assert encoder.lossless
    assert encoder.decode(encoder.encode("a\u2581b")) == "a\u2581b"


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_unigram_is_lossless_too(text):
    encoder = tokenizer("chinchilla", "unigram")
    assert encoder._cache is None
    assert encoder.decode(encoder.encode(text)) == text
    assert encoder.encode(text).tolist() == plain(encoder, text)


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXT, max_size=8), st.integers(0, 3))
def test_batches_are_rows_one_by_one(rows, skip):
    encoder = tokenizer("chinchilla")
    column = pa.array(rows, pa.large_string()).slice(skip)
    tokens, offsets = encoder.encode_batch(column)
    assert tokens.dtype == np.uint16
    assert offsets.dtype == np.int64
    assert len(offsets) == len(column) + 1
    for i, row in enumerate(rows[skip:]):
        assert tokens[offsets[i] : offsets[i + 1]].tolist() == plain(encoder, row)


def test_a_full_cache_starts_afresh_with_the_same_tokens():
    encoder = tokenizer("chinchilla")
    # Room for eight words: blocks of eight, refilled thousands of times.
    encoder_small = WordCache(encoder._encode_words, False, encoder.dtype, max_words=8)
    column = pa.array([text[:3000] + "\u2581 " + "y" * 90 for text in texts()], pa.large_string())
    for _ in range(2):
        small = encoder_small.encode(*text_buffers(column))
        large = encoder.encode_batch(column)
        assert all(np.array_equal(a, b) for a, b in zip(small, large, strict=True))


@pytest.mark.parametrize("preset", ["chinchilla", "gopher"])
def test_text_without_white_space_is_cut_where_no_piece_spans(preset, monkeypatch):
    encoder = tokenizer(preset)
    text = "".join(texts()).replace(" ", "")[:20_000] + "中é\u00a0" * 2000
    whole = plain(encoder, text)
    monkeypatch.setattr(encode, "MAX_CHUNK_CHARACTERS", 100)
    fresh = Tokenizer.load_bytes(model(preset), "tiny")
    assert fresh.encode(text).tolist() == whole


def test_ten_megabytes_of_one_letter_are_cut_and_come_back():
    encoder = tokenizer("chinchilla")
    text = "x" * 10_000_000
    ids = encoder.encode(text)
    assert encoder.decode(ids) == text


def test_uint32_above_65536_pieces():
    encoder = tokenizer("chinchilla")
    processor = encoder._processor

    class Larger:
        def __init__(self, size):
            self.size = size

        def get_piece_size(self):
            return self.size

        def __getattr__(self, name):
            return getattr(processor, name)

    for size, dtype in ((1 << 16, "<u2"), ((1 << 16) + 1, "<u4")):
        loaded = encode._Loaded(Larger(size), encoder._spec, [], "")
        assert Tokenizer(loaded).dtype == np.dtype(dtype)


def test_errors_say_what_to_do(tmp_path):
    encoder = tokenizer("chinchilla")
    with pytest.raises(InputError, match="lone surrogate at character 1"):
        encoder.encode("a\ud800")
    with pytest.raises(InputError, match="outside the vocabulary of 700"):
        encoder.decode(np.array([700]))
    broken = pa.Array.from_buffers(
        pa.large_string(),
        1,
        [None, pa.py_buffer(np.array([0, 2], np.int64)), pa.py_buffer(b"\xff\xfe")],
    )
    with pytest.raises(InputError, match="not valid UTF-8"):
        encoder.encode_batch(broken)
    with pytest.raises(ConfigError, match="nothing\\.model: No such file"):
        Tokenizer.load(tmp_path / "nothing.model")
    for content in (b"", b"garbage", model("chinchilla")[:-50], model("chinchilla")[:5000]):
        path = tmp_path / "broken.model"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"broken\.model is not a"):
            Tokenizer.load(path)


def foreign(tmp_path, **options):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text[:2000] for text in texts()),
        model_writer=out,
        vocab_size=450,
        model_type="bpe",
        minloglevel=2,
        **options,
    )
    path = tmp_path / "foreign.model"
    path.write_bytes(out.getvalue())
    return Tokenizer.load(path)


def test_a_foreign_model_is_used_as_it_is_with_a_warning(tmp_path):
    encoder = foreign(tmp_path)  # SentencePiece's defaults: <unk>, <s>, </s>, no padding
    assert not encoder.lossless
    assert len(encoder.warnings) == 3
    assert "byte fallback" in encoder.warnings[0]
    assert (encoder.eos_id, encoder.pad_id, encoder.unk_id) == (2, 2, 0)
    text = " A test\u2581\u4e2d "
    assert encoder.encode(text).tolist() == encoder._processor.encode(text)


def test_a_foreign_model_whose_pieces_span_words_takes_the_slow_exact_path(tmp_path):
    encoder = foreign(
        tmp_path,
        split_by_whitespace=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
    )
    assert encoder.lossless
    assert encoder._cache is None
    text = texts()[0] + "\u2581"
    assert encoder.encode(text).tolist() == plain(encoder, text)
    assert encoder.decode(encoder.encode(text)) == text


def test_a_model_without_eos_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no end-of-sentence piece"):
        foreign(tmp_path, eos_id=-1)
