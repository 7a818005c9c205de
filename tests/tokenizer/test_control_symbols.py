"""Models with the sentinels of fill-in-the-middle: no text gives them, every format keeps them."""

from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.config import FillInTheMiddle
from massivetext.errors import ConfigError
from massivetext.fill_in_the_middle import PLAIN, PSM, SENTINELS, join, split
from massivetext.presets import TOKENIZERS
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokenizer.huggingface import to_json
from massivetext.tokenizer.huggingface_check import convert_checked
from massivetext.tokenizer.model_file import PieceType, parse_pieces
from massivetext.tokenizer.train import train_model

from .foreign import foreign, hugging_face, ids
from .models import VOCAB_SIZE, model, plain, texts, tokenizer

SPELLED = "".join(SENTINELS)
PIECES = ["a", " the", "\n", "é\u0301", "\u2581", "日", *SENTINELS, "<fim_", "prefix>", "</s>"]
MIXED = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)
TYPES = ("bpe", "unigram")


@cache
def trained(model_type: str = "bpe", spelled: bool = False) -> bytes:
    samples = [*texts(), f"{SPELLED} " * 300] if spelled else texts()
    preset = TOKENIZERS["chinchilla"]
    return train_model(samples, preset, VOCAB_SIZE, model_type, control_symbols=SENTINELS)[0]


@cache
def encoder(model_type: str = "bpe") -> Tokenizer:
    return Tokenizer.load_bytes(trained(model_type), "fim.model")


@pytest.mark.parametrize("model_type", TYPES)
def test_sentinels_are_control_pieces_that_the_vocabulary_counts(model_type):
    tokens = encoder(model_type)
    assert tokens.vocab_size == VOCAB_SIZE
    assert [tokens.control_id(name) for name in SENTINELS] == [3, 4, 5]
    pieces = parse_pieces(trained(model_type))
    assert [text.decode() for text in pieces.texts[3:6]] == list(SENTINELS)
    assert set(pieces.types[3:6].tolist()) == {PieceType.CONTROL}
    assert tokens.lossless
    assert tokens.keeps_spaces
    assert (tokens._compiled is not None) == (model_type == "bpe")


def test_a_model_without_them_says_so():
    without = tokenizer("chinchilla")
    assert [without.control_id(name) for name in SENTINELS] == [None] * 3
    assert without.control_id("</s>") == 1
    assert without.control_id("<unk>") is None  # a piece, but no control piece
    assert without.control_id("a") is None
    assert train_model(texts(), TOKENIZERS["chinchilla"], VOCAB_SIZE)[0] == model("chinchilla")


@pytest.mark.parametrize("model_type", TYPES)
@settings(deadline=None, max_examples=100)
@given(text=MIXED)
def test_text_that_spells_a_sentinel_is_text(model_type, text):
    tokens = encoder(model_type).encode(text)
    assert tokens.tolist() == plain(encoder(model_type), text)
    assert not np.isin(tokens, [3, 4, 5]).any()
    assert encoder(model_type).decode(tokens) == text


@pytest.mark.parametrize("model_type", TYPES)
def test_training_text_that_spells_them_teaches_no_such_piece(model_type):
    spelled = Tokenizer.load_bytes(trained(model_type, spelled=True), "spelled.model")
    found = [text.decode() for text in parse_pieces(trained(model_type, spelled=True)).texts]
    assert [name for name in found if "fim_" in name] == list(SENTINELS)
    tokens = spelled.encode(SPELLED)
    assert not np.isin(tokens, [3, 4, 5]).any()
    assert spelled.decode(tokens) == SPELLED


def test_sentinels_decode_to_nothing():
    assert encoder().decode(np.array([3, 5, 4, 1])) == ""
    around = np.concatenate([[3], encoder().encode("some "), [4], encoder().encode("text"), [1]])
    assert encoder().decode(around) == "some text"


@pytest.mark.parametrize("model_type", TYPES)
def test_hugging_face_and_back_keep_them_special(model_type, tmp_path):
    value, notes = to_json(trained(model_type), "fim.model")
    special = {token["content"]: token for token in value["added_tokens"]}
    for place, name in enumerate(SENTINELS, 3):
        assert (special[name]["id"], special[name]["special"]) == (place, True)
    assert all(name in notes[0] for name in SENTINELS)
    loaded = hugging_face(value)
    text = f"some {SPELLED} text"
    if model_type == "bpe":
        assert ids(loaded, text) == encoder().encode(text).tolist()
    loaded.encode_special_tokens = False
    assert [i for i in ids(loaded, text) if i in (3, 4, 5)] == [3, 4, 5]
    assert loaded.decode([3, 4, 5]) == ""
    source, back = tmp_path / "tokenizer.json", tmp_path / "back.model"
    hugging_face(value).save(str(source))
    convert_checked(source, back)
    again = Tokenizer.load(back)
    assert [again.control_id(name) for name in SENTINELS] == [3, 4, 5]
    assert again.encode(text).tolist() == encoder(model_type).encode(text).tolist()
    assert (again._compiled is not None) == (model_type == "bpe")


@pytest.mark.parametrize("model_type", TYPES)
@settings(deadline=None, max_examples=100)
@given(
    documents=st.lists(st.one_of(MIXED, st.text(max_size=50)), max_size=6),
    rate=st.sampled_from([0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_the_parts_of_any_document_join_to_its_text(model_type, documents, rate, seed):
    tokens = encoder(model_type)
    column = pa.array(documents, pa.large_string())
    names = pa.array([str(i) for i in range(len(documents))], pa.string())
    parts, orders = split(column, names, FillInTheMiddle(rate=rate), seed)
    flat, ends = join(*tokens.encode_batch(parts), orders, (3, 4, 5), tokens.eos_id)
    assert flat.dtype == tokens.dtype
    start = 0
    for text, order, end in zip(documents, orders, ends, strict=True):
        stored = flat[start:end].tolist()
        assert stored.count(1) == 1
        assert stored.pop() == 1
        if order == PLAIN:
            assert stored == tokens.encode(text).tolist()
        else:
            assert stored[0] == 3
            suffix, middle = stored.index(5), stored.index(4)
            assert (suffix == 1) or order == PSM
            pieces = [stored[1:suffix], stored[middle + 1 :], stored[suffix + 1 : middle]]
            assert "".join(tokens.decode(np.array(p, int)) for p in pieces) == text
        start = end
    assert start == len(flat)


def test_spaces_that_a_model_does_not_keep():
    assert not Tokenizer.load_bytes(foreign("llama"), "llama").keeps_spaces


def test_a_vocabulary_too_small_for_them_as_well():
    preset = TOKENIZERS["chinchilla"]
    with pytest.raises(ConfigError, match="vocab_size 260 is too small"):
        train_model(["some text"], preset, 260, control_symbols=SENTINELS)
