"""Import of a tokenizer.json: the ids of the package `tokenizers` are the truth."""

import importlib.util
import json
import math
import random
from copy import deepcopy
from functools import cache

import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings

from massivetext.errors import ConfigError
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokenizer.huggingface import to_json
from massivetext.tokenizer.huggingface_check import Comparison, compare, convert_checked
from massivetext.tokenizer.huggingface_import import convert
from massivetext.tokenizer.model_file import parse, parse_pieces

from .foreign import (
    FLAGS,
    TEXTS,
    UNICODE,
    foreign,
    hugging_face,
    ids,
    llama,
    plain_bpe,
    t5,
)
from .models import model, texts, tokenizer


def both(value: dict) -> tuple[tokenizers.Tokenizer, sentencepiece.SentencePieceProcessor]:
    content = json.dumps(value).encode()
    converted = convert(content, "t.json")
    assert compare(content, converted, "t.json").texts > 200
    return hugging_face(value), sentencepiece.SentencePieceProcessor(model_proto=converted.model)


@cache
def imported(name: str) -> tuple[tokenizers.Tokenizer, sentencepiece.SentencePieceProcessor]:
    values = {
        "llama": lambda: llama(model("chinchilla")),
        "gemma": lambda: llama(model("palm"), prefix=False),
        "t5": t5,
        "t5-older": lambda: t5(older=True),
        "own": lambda: to_json(model("chinchilla"), "m")[0],
        "own-nfkc": lambda: to_json(model("gopher"), "m")[0],
        "symbols": lambda: to_json(foreign("gemma"), "m")[0],
    }
    return both(values[name]())


class TestImport:
    @pytest.mark.parametrize(
        "name", ["llama", "gemma", "t5", "t5-older", "own", "own-nfkc", "symbols"]
    )
    @settings(max_examples=100, deadline=None)
    @given(text=TEXTS)
    def test_the_model_gives_the_ids_of_the_file(self, name, text):
        loaded, processor = imported(name)
        text = text.replace("\u2581", "")
        wanted, found = ids(loaded, text), processor.encode(text)
        if not name.startswith("t5"):
            assert wanted == found
        elif wanted != found:
            scores = [processor.get_score(i) for i in range(processor.get_piece_size())]
            totals = [math.fsum(scores[i] for i in tokens) for tokens in (wanted, found)]
            assert totals[0] == pytest.approx(totals[1], rel=1e-5)

    @pytest.mark.parametrize("name", ["llama", "gemma", "own"])
    @settings(max_examples=100, deadline=None)
    @given(text=UNICODE)
    def test_any_unicode(self, name, text):
        loaded, processor = imported(name)
        text = text.replace("\u2581", "")
        assert ids(loaded, text) == processor.encode(text)

    @pytest.mark.parametrize("preset", ["chinchilla", "gopher", "palm"])
    @pytest.mark.parametrize("model_type", ["bpe", "unigram"])
    def test_there_and_back_again(self, preset, model_type):
        content = model(preset, model_type)
        value = json.dumps(to_json(content, "m")[0]).encode()
        back = convert(value, "t.json").model
        assert parse(back).charsmap == parse(content).charsmap
        assert parse_pieces(back).texts == parse_pieces(content).texts
        assert parse_pieces(back).types.tolist() == parse_pieces(content).types.tolist()
        assert Tokenizer.load_bytes(back, "b").lossless
        for text in texts():
            wanted = tokenizer(preset, model_type).encode(text).tolist()
            assert Tokenizer.load_bytes(back, "b").encode(text).tolist() == wanted

    def test_the_imported_model_is_a_tokenizer(self, tmp_path):
        (tmp_path / "t.json").write_text(json.dumps(llama(model("chinchilla"), prefix=False)))
        converted, comparison = convert_checked(tmp_path / "t.json", tmp_path / "own.model")
        assert comparison == Comparison(213, f"tokenizers {tokenizers.__version__}")
        assert converted.roles == {"unk": "<unk>", "eos": "</s>", "pad": "<pad>"}
        loaded = Tokenizer.load(tmp_path / "own.model")
        assert (loaded.lossless, loaded.pad_id, loaded.eos_id, loaded.unk_id) == (True, 0, 1, 2)
        text = "of the \u2581 é\u0301 日"
        assert loaded.encode(text).tolist() == tokenizer("chinchilla").encode(text).tolist()
        assert loaded.decode(loaded.encode(text)) == text

    def test_a_prefix_is_said_to_be_lossy(self):
        content = convert(json.dumps(llama(model("chinchilla"))).encode(), "t.json").model
        assert Tokenizer.load_bytes(content, "m").warnings == ("it adds, removes or merges spaces",)

    def test_a_piece_without_merges_is_never_found_by_its_text(self):
        value = plain_bpe(["<unk>", "</s>", "a", "b", "ab", "abb"], [("a", "b")])
        converted = convert(json.dumps(value).encode(), "t.json")
        assert converted.unreachable == 1
        processor = sentencepiece.SentencePieceProcessor(model_proto=converted.model)
        assert processor.encode("abb") == hugging_face(value).encode("abb").ids == [4, 3]

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"pre_tokenizer": {"type": "ByteLevel"}}, r"its pre-tokenizer \{'type': 'ByteLevel'"),
            ({"normalizer": {"type": "Lowercase"}}, "its normalizer .*Lowercase.*it can: Prepend"),
            ({"decoder": {"type": "ByteLevel"}}, "its decoder .*ByteLevel"),
            ({"model.type": "WordPiece"}, "the model WordPiece"),
            ({"model.dropout": 0.1}, "dropout 0.1"),
            ({"model.ignore_merges": True}, "ignore_merges True"),
            ({"model.end_of_word_suffix": "</w>"}, "end_of_word_suffix '</w>'"),
            ({"model.unk_token": None}, "without an unknown token"),
            ({"model.fuse_unk": False}, "an unknown token for each character"),
            ({"model.byte_fallback": True}, "byte fallback without <0x00>"),
            ({"model.vocab": {"<unk>": 0, "</s>": 1, "a": 3}}, "without the id 2"),
            ({"model.vocab": {"<unk>": 0, "</s>": 1, "▁": 2}}, "the piece '▁' of a tokenizer"),
            ({"model": None}, "not a tokenizer.json"),
            ({"model.vocab": None}, "not a whole tokenizer.json"),
            (
                {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁"}},
                "adds a space only to a text that does not begin with one",
            ),
            (
                {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}},
                "removes some of them",
            ),
            (
                {"added_tokens": [], "model.vocab": {"<unk>": 0, "a": 1}},
                "does not say which special token closes .*--eos of import",
            ),
        ],
    )
    def test_what_sentencepiece_cannot_express_is_refused_by_name(self, change, expected):
        value = plain_bpe(["<unk>", "</s>", "a"], [])
        for key, new in change.items():
            *path, last = key.split(".")
            target = value[path[0]] if path else value
            target[last] = new
        with pytest.raises(ConfigError, match=expected):
            convert(json.dumps(value).encode(), "t.json")

    @pytest.mark.parametrize(
        ("token", "prefix", "expected"),
        [
            ({"lstrip": True}, False, "lstrip of the added token '<tag>'"),
            ({}, True, "a space before the text together with the added token '<tag>'"),
        ],
    )
    def test_added_tokens_that_sentencepiece_cannot_find_are_refused(self, token, prefix, expected):
        value = plain_bpe(["<unk>", "</s>", "a", "<tag>"], [])
        added = {"id": 3, "content": "<tag>", "special": False, **FLAGS, **token}
        value["added_tokens"].append(added)
        value["normalizer"] = {"type": "Prepend", "prepend": " "} if prefix else None
        with pytest.raises(ConfigError, match=expected):
            convert(json.dumps(value).encode(), "t.json")

    def test_a_closing_token_can_be_named(self):
        value = plain_bpe(["<unk>", "<stop>", "a"], [])
        with pytest.raises(ConfigError, match="one of: <stop>"):
            convert(json.dumps(value).encode(), "t.json")
        content = convert(json.dumps(value).encode(), "t.json", eos="<stop>").model
        assert Tokenizer.load_bytes(content, "m").eos_id == 1
        with pytest.raises(ConfigError, match="no special token '<sop>'; did you mean '<stop>'"):
            convert(json.dumps(value).encode(), "t.json", eos="<sop>")

    @pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\x00", b"{}"])
    def test_what_is_no_tokenizer_json(self, content):
        with pytest.raises(ConfigError, match=r"x\.json is not a tokenizer.json"):
            convert(content, "x.json")


class TestCheck:
    def test_without_the_package_bpe_is_compared_by_its_merges(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        for value in (llama(model("chinchilla")), to_json(model("palm"), "m")[0]):
            content = json.dumps(value).encode()
            comparison = compare(content, convert(content, "t.json"), "t.json")
            assert comparison == Comparison(213, "its merges")
        content = json.dumps(t5()).encode()
        assert compare(content, convert(content, "t.json"), "t.json") == Comparison(0, "")

    @pytest.mark.parametrize("package", [True, False])
    def test_a_difference_is_an_error_that_shows_it(self, monkeypatch, package):
        value = llama(model("chinchilla"), prefix=False)
        converted = convert(json.dumps(value).encode(), "t.json")
        other = deepcopy(value)
        rng = random.Random(1)
        rng.shuffle(other["model"]["merges"])
        content = json.dumps(other).encode()
        if not package:
            monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
            wrong = {pair: -rank for pair, rank in converted.merges.items()}
            object.__setattr__(converted, "merges", wrong)
        with pytest.raises(ConfigError, match=r"t.json could not be converted: its tokens of"):
            compare(content, converted, "t.json")
