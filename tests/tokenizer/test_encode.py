"""Encoding: nothing is lost, and the fast path gives SentencePiece's own tokens."""

import io
import itertools
import re
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.document import text_buffers
from massivetext.errors import ConfigError, InputError
from massivetext.presets import TOKENIZERS
from massivetext.tokenizer import encode
from massivetext.tokenizer.bpe import merge_long, merge_short
from massivetext.tokenizer.cache import BLOCK, make_cache
from massivetext.tokenizer.compiled import CompiledBpe
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokenizer.model_file import PieceType
from massivetext.tokenizer.train import train_model

from .models import handmade, model, plain, texts, tokenizer

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
    assert encoder._compiled is None
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
    small = CompiledBpe.make(encoder._spec, encoder._pieces, carries_mark=True, cache_bytes=4096)
    column = pa.array([text[:3000] + "\u2581 " + "y" * 90 for text in texts()], pa.large_string())
    for _ in range(2):
        tokens, offsets = small.encode(*text_buffers(column))
        large = encoder.encode_batch(column)
        assert np.array_equal(tokens, large[0])
        assert np.array_equal(offsets, large[1])
    held = small.cache.state[1]
    assert 0 < held <= len(small.cache.slots) // 2


def test_the_cache_never_takes_more_than_it_may():
    for size in (4096, 10_000, 64_000_000):
        cache = make_cache(size)
        assert size - 8 <= cache.slots.nbytes + cache.arena.nbytes <= size


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 64, 65, 200])
def test_segments_about_the_sizes_where_the_code_differs(size):
    encoder = tokenizer("chinchilla")
    rows = [("bacedifogu" * 30)[:size], "\u4e2d" * size, "la" * size + "\u00e9", " " * size]
    tokens, offsets = encoder.encode_batch(pa.array(rows * 2, pa.large_string()))
    expected = [plain(encoder, row) for row in rows * 2]
    assert [tokens[a:b].tolist() for a, b in itertools.pairwise(offsets)] == expected


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_words_that_lie_across_blocks(shift):
    encoder = tokenizer("palm")
    text = ("to be, it is: 37 " * 600)[: BLOCK + 1 + shift] + "\u00e9\u00e9 of the\n" * 400
    for rows in ([text], [text[:-1], "", text]):
        tokens, offsets = encoder.encode_batch(pa.array(rows, pa.large_string()))
        for i, row in enumerate(rows):
            assert tokens[offsets[i] : offsets[i + 1]].tolist() == plain(encoder, row)


def test_a_segment_over_the_limit_is_cut_between_characters():
    encoder = tokenizer("chinchilla")
    fast = CompiledBpe.make(encoder._spec, encoder._pieces, carries_mark=True)
    text = "   " * 40 + "\u00e9" * 100
    buffers = text_buffers(pa.array([text], pa.large_string()))
    assert fast.encode(*buffers, limit=120)[0].tolist() == plain(encoder, text)
    cut = fast.encode(*buffers, limit=101)[0].tolist()
    assert cut == plain(encoder, text[:101]) + plain(encoder, text[101:])


def test_ten_megabytes_without_white_space():
    encoder = tokenizer("chinchilla")
    text = "x" * 10_000_000
    assert encoder.decode(encoder.encode(text)) == text
    words = "".join("".join(text.split()) for text in texts())
    text = (words * (10_000_000 // len(words) + 1))[:10_000_000]
    assert encoder.decode(encoder.encode(text)) == text


def test_threads_share_an_encoder():
    encoder = Tokenizer.load_bytes(model("chinchilla"), "tiny")
    columns = [pa.array([text], pa.large_string()) for text in texts()]
    expected = [plain(encoder, text) for text in texts()]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = pool.map(encoder.encode_batch, columns)
            assert [tokens.tolist() for tokens, _ in found] == expected


CHARACTERS = "ab\u00e9\u4e2d \U0001f600"
SCORES = st.one_of(st.integers(-3, 3), st.floats(-100, 100, width=32))
VOCABULARIES = st.dictionaries(st.text(CHARACTERS, min_size=2, max_size=5), SCORES, max_size=30)


@settings(max_examples=150, deadline=None)
@given(VOCABULARIES, st.lists(st.text(CHARACTERS + "x", max_size=90), max_size=6))
def test_any_pieces_and_scores_merge_as_in_sentencepiece(vocabulary, rows):
    # Scores at random, equal ones among them: what is made by a merge may well come next.
    pieces = {character: 0.0 for character in CHARACTERS} | vocabulary
    encoder = handmade((text.replace(" ", "\u2581"), score) for text, score in pieces.items())
    assert encoder._compiled is not None
    tokens, offsets = encoder.encode_batch(pa.array(rows, pa.large_string()))
    for i, row in enumerate(rows):
        assert tokens[offsets[i] : offsets[i + 1]].tolist() == plain(encoder, row)


@pytest.mark.parametrize(("first", "second"), [(0.0, -0.0), (-0.0, 0.0), (0.0, 0.0), (-1.0, -1.0)])
def test_equal_scores_merge_from_the_left_and_a_negative_zero_is_less(first, second):
    encoder = handmade(zip(("\u2581", "a", "b", "aa", "ba"), (0, 0, 0, first, second), strict=True))
    for text in ("baa", "aabaa", "abaab" * 20):
        assert encoder.encode(text).tolist() == plain(encoder, text)


@settings(max_examples=60, deadline=None)
@given(VOCABULARIES, st.text("ab\u4e2dx", min_size=65, max_size=400))
def test_a_long_segment_merges_as_a_short_one(vocabulary, text):
    pieces = {character: 0.0 for character in CHARACTERS} | vocabulary
    encoder = handmade((text.replace(" ", "\u2581"), score) for text, score in pieces.items())
    tables = encoder._compiled.tables
    data = np.frombuffer(text.encode(), np.uint8)
    long, short = np.zeros(len(data), np.uint32), np.zeros(len(data), np.uint32)
    end = merge_long(data, 0, len(data), tables, long, 0)
    room = np.zeros(len(data), np.int64), np.zeros(len(data), np.uint64)
    assert merge_short(data, 0, len(data), tables, *room, short, 0) == end
    assert long[:end].tolist() == short[:end].tolist() == plain(encoder, text)


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(300, 420), st.sampled_from(list(TOKENIZERS)))
def test_random_trained_models_give_sentencepieces_tokens(rng, vocab_size, preset):
    alphabet = "abcdefgh ,.\n\u00e9\u4e2d\u0430\u03011\uff21"
    rows = ["".join(rng.choices(alphabet, k=rng.randint(0, 300))) for _ in range(20)]
    try:
        encoder = Tokenizer.load_bytes(train_model(rows, TOKENIZERS[preset], vocab_size)[0], "tiny")
    except ConfigError:
        return  # too few characters for so many pieces
    assert encoder._compiled is not None
    tokens, offsets = encoder.encode_batch(pa.array(rows, pa.large_string()))
    for i, row in enumerate(rows):
        assert tokens[offsets[i] : offsets[i + 1]].tolist() == plain(encoder, row)


def test_models_that_compiled_code_cannot_express_are_left_to_sentencepiece():
    pieces = [("\u2581", 0.0), ("a", 0.0), ("b", 0.0), ("ab", -1.0)]
    assert handmade(pieces)._compiled is not None
    text = "ab abx special4ab"
    for odd in (
        handmade(pieces, [PieceType.USER_DEFINED]),
        handmade(pieces, [PieceType.UNUSED]),
        handmade([*pieces, ("abc", -2.0)]),  # c is no piece
    ):
        assert odd.lossless
        assert odd._compiled is None
        assert odd.encode(text).tolist() == plain(odd, text)
    spaceless = handmade(pieces[1:])
    assert "no piece for a space" in spaceless.warnings[0]
    assert spaceless.encode("a b").tolist() == spaceless._processor.encode("a b")


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
        loaded = encode._Loaded(Larger(size), encoder._spec, encoder._pieces, "")
        assert Tokenizer(loaded).dtype == np.dtype(dtype)


def test_ids_above_65535():
    letters = [chr(0x3B1 + i) for i in range(25)] + [chr(0x430 + i) for i in range(20)]
    words = ["".join(word) for k in (2, 3) for word in itertools.product(letters, repeat=k)]
    pieces = ["\u2581", *letters, *words]
    encoder = handmade((text, -float(i)) for i, text in enumerate(pieces))
    assert encoder.vocab_size > 93_000
    text = "".join(words[-50:]) + " x " + "".join(words[:70])
    ids = encoder.encode(text)
    assert ids.dtype == np.dtype("<u4")
    assert ids.max() > 65_535
    assert ids.tolist() == plain(encoder, text)
    assert encoder.decode(ids) == text


def test_lone_surrogates_are_replaced_and_counted():
    encoder = Tokenizer.load_bytes(model("chinchilla"), "tiny")
    text = "a\ud800b\udc00\udc00 \ud83d\ude00 c\ud800"
    assert encoder.decode(encoder.encode(text)) == "a\ufffdb\ufffd\ufffd \U0001f600 c\ufffd"
    assert encoder.replaced_surrogates == 4
    encoder.encode("\U0001f600")
    assert encoder.replaced_surrogates == 4


def test_errors_say_what_to_do(tmp_path):
    encoder = tokenizer("chinchilla")
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
    assert re.match(r"it has no byte fallback: .* <unk> \(it knows \d\d\)", encoder.warnings[0])
    assert (encoder.eos_id, encoder.pad_id, encoder.unk_id) == (2, 2, 0)
    text = " A test\u2581\u4e2d "
    assert encoder.encode(text).tolist() == encoder._processor.encode(text)


def test_a_foreign_model_whose_pieces_span_words(tmp_path):
    encoder = foreign(
        tmp_path,
        split_by_whitespace=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
    )
    assert encoder.lossless
    assert encoder._compiled is not None
    pieces = [encoder._processor.id_to_piece(i) for i in range(450)]
    assert any("\u2581" in piece.strip("\u2581") for piece in pieces)
    text = texts()[0] + "\u2581"
    assert encoder.encode(text).tolist() == plain(encoder, text)
    assert encoder.decode(encoder.encode(text)) == text


PREFIXED = {"byte_fallback": True, "remove_extra_whitespaces": False}


@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc", "nfkc_cf"])
def test_models_that_put_a_space_first_are_compiled_too(tmp_path, rule):
    # As Llama's: not lossless, so U+2581 is a space, as SentencePiece takes it.
    encoder = foreign(tmp_path, normalization_rule_name=rule, **PREFIXED)
    assert encoder._compiled is not None
    rows = [*HARD, *texts(), "\u200b", "\x01 A\uff21\u00ad", "e\u0301\u2581 \u2581x"]
    tokens, offsets = encoder.encode_batch(pa.array(rows, pa.large_string()))
    for i, row in enumerate(rows):
        assert tokens[offsets[i] : offsets[i + 1]].tolist() == encoder._processor.encode(row)


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXT, max_size=4))
def test_any_text_after_a_space_of_the_models_own(rows):
    encoder = prefixed()
    tokens, offsets = encoder.encode_batch(pa.array(rows, pa.large_string()))
    for i, row in enumerate(rows):
        assert tokens[offsets[i] : offsets[i + 1]].tolist() == encoder._processor.encode(row)


@cache
def prefixed():
    with TemporaryDirectory() as folder:
        return foreign(Path(folder), normalization_rule_name="nmt_nfkc", **PREFIXED)


def test_a_model_without_eos_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no end-of-sentence piece"):
        foreign(tmp_path, eos_id=-1)
