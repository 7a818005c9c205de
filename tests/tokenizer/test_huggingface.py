"""Export to tokenizer.json: the ids of the package `tokenizers` are the truth."""

import json

import pytest
import sentencepiece
import tokenizers
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from massivetext.errors import ConfigError
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokenizer.huggingface import export, to_json
from massivetext.tokenizer.huggingface_import import convert
from massivetext.tokenizer.merges import join, last_merges
from massivetext.tokenizer.model_file import PieceType, parse, parse_pieces
from massivetext.tokenizer.model_writer import Piece, serialise

from .foreign import (
    ROLES,
    SETTINGS,
    TEXTS,
    UNICODE,
    exported,
    exported_foreign,
    foreign,
    hugging_face,
    ids,
    likelihood,
    plain_bpe,
    spec,
    special,
    trained,
)
from .models import model, texts, tokenizer


class TestExport:
    @pytest.mark.parametrize("preset", ["chinchilla", "palm"])
    @settings(max_examples=150, deadline=None)
    @given(text=st.one_of(UNICODE, TEXTS))
    def test_any_text_has_the_same_ids_and_comes_back(self, preset, text):
        tokens = tokenizer(preset).encode(text).tolist()
        assert ids(exported(preset), text) == tokens
        assert exported(preset).decode(tokens, skip_special_tokens=False) == text

    @settings(max_examples=150, deadline=None)
    @given(text=st.one_of(UNICODE, TEXTS))
    def test_under_nfkc_texts_that_both_normalise_alike_have_the_same_ids(self, text):
        processor = sentencepiece.SentencePieceProcessor(model_proto=model("gopher"))
        parts = [processor.normalize(part).replace("\u2581", " ") for part in text.split("\u2581")]
        normal = exported("gopher").normalizer.normalize_str(text)
        assume("\u2581".join(parts) == normal)
        assert ids(exported("gopher"), text) == tokenizer("gopher").encode(text).tolist()

    @pytest.mark.parametrize("preset", ["chinchilla", "gopher"])
    def test_long_real_texts(self, preset):
        for text in texts():
            tokens = tokenizer(preset).encode(text).tolist()
            assert ids(exported(preset), text) == tokens
            assert exported(preset).decode(tokens) == text

    @settings(max_examples=150, deadline=None)
    @given(text=st.one_of(UNICODE, TEXTS))
    def test_unigram_gives_the_same_ids_or_others_as_likely(self, text):
        assume("<" not in text)
        wanted = tokenizer("chinchilla", "unigram").encode(text).tolist()
        found = ids(exported("chinchilla", "unigram"), text)
        if wanted != found:
            content = model("chinchilla", "unigram")
            assert likelihood(content, wanted) == pytest.approx(
                likelihood(content, found), rel=1e-5
            )
        assert exported("chinchilla", "unigram").decode(found, skip_special_tokens=False) == text

    @pytest.mark.parametrize("name", SETTINGS)
    @settings(max_examples=80, deadline=None)
    @given(text=TEXTS)
    def test_models_with_other_settings(self, name, text):
        wanted = Tokenizer.load_bytes(foreign(name), name).encode(text).tolist()
        found = ids(exported_foreign(name), text)
        if wanted != found:
            assert parse(foreign(name)).model_type == "unigram"
            totals = [likelihood(foreign(name), tokens) for tokens in (wanted, found)]
            assert totals[0] == pytest.approx(totals[1], rel=1e-5)

    def test_text_that_spells_a_special_token_is_one_only_where_tokenizers_is_not_told(self):
        value, notes = to_json(model("chinchilla"), "m")
        assert notes[0].startswith("text that spells a special token (<pad>, </s>, <unk>)")
        text = "a</s>b"
        loaded = tokenizers.Tokenizer.from_str(json.dumps(value))
        assert 1 in loaded.encode(text).ids
        loaded.encode_special_tokens = True
        assert 1 not in loaded.encode(text).ids
        assert ids(loaded, text) == tokenizer("chinchilla").encode(text).tolist()

    def test_the_file(self, tmp_path):
        (tmp_path / "m.model").write_bytes(model("palm"))
        export(tmp_path / "m.model", tmp_path / "tokenizer.json")
        loaded = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        assert loaded.get_vocab_size() == tokenizer("palm").vocab_size
        assert loaded.token_to_id("</s>") == tokenizer("palm").eos_id == 1
        value = json.loads((tmp_path / "tokenizer.json").read_text())
        assert value["normalizer"] is None
        assert [token["content"] for token in value["added_tokens"]] == ["<pad>", "</s>", "<unk>"]
        texts = parse_pieces(model("palm")).texts
        assert value["model"]["vocab"][" the"] == texts.index("▁the".encode())
        assert len(value["model"]["merges"][0]) == 2
        first = (tmp_path / "tokenizer.json").read_bytes()
        export(tmp_path / "m.model", tmp_path / "tokenizer.json")
        assert (tmp_path / "tokenizer.json").read_bytes() == first

    def test_no_words_are_cut_where_a_piece_spans_two(self):
        pieces = [*special(), Piece("▁"), Piece("a"), Piece("a▁", -1.0), Piece("a▁a", -2.0)]
        value, _ = to_json(serialise(pieces, spec(), ROLES), "m")
        assert value["pre_tokenizer"] is None
        assert hugging_face(value).encode("a aa").tokens == ["a a", "a"]

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"model_type": "char", "vocab_size": 40}, "its type is char; bpe and unigram can"),
            (
                {"model_type": "bpe", "treat_whitespace_as_suffix": True},
                "it marks spaces at the end of words",
            ),
            (
                {"model_type": "bpe", "user_defined_symbols": ["<tag>"]},
                "adds a space before the text and has user-defined symbols",
            ),
            (
                {"model_type": "bpe", "user_defined_symbols": ["of the"]},
                "its piece 'of the' holds a space",
            ),
        ],
    )
    def test_what_the_format_cannot_say_is_refused(self, settings, expected):
        with pytest.raises(ConfigError, match=expected):
            to_json(trained(**settings), "m")

    @pytest.mark.parametrize(
        ("pieces", "expected"),
        [
            ([Piece("a"), Piece("aa", -1.0), Piece("aaa", -1.0)], "'aa' and 'aaa' have equal"),
            ([Piece("a"), Piece("ab", -1.0)], "'b' of its piece 'ab' is not a piece"),
            ([Piece("a", type=PieceType.UNUSED)], "marked unused"),
        ],
    )
    def test_pieces_that_the_format_cannot_hold_are_refused(self, pieces, expected):
        with pytest.raises(ConfigError, match=expected):
            to_json(serialise([*special(), *pieces], spec(), ROLES), "m")

    def test_a_model_that_is_missing_or_broken(self, tmp_path):
        with pytest.raises(ConfigError, match=r"no\.model: No such file"):
            export(tmp_path / "no.model", tmp_path / "out.json")
        (tmp_path / "half.model").write_bytes(model("palm")[:5000])
        with pytest.raises(ConfigError, match="not a whole SentencePiece model"):
            export(tmp_path / "half.model", tmp_path / "out.json")
        assert not (tmp_path / "out.json").exists()


class TestMerges:
    """A piece has one last merge, wherever it stands: so scores and ranks say the same."""

    @settings(max_examples=300, deadline=None)
    @given(
        pieces=st.lists(st.text("abc", min_size=2, max_size=6), unique=True, max_size=25),
        texts=st.lists(st.text("abc", max_size=25), max_size=8),
        seed=st.randoms(use_true_random=False),
    )
    def test_scores_become_ranks(self, pieces, texts, seed):
        scores = [-float(i + 1) for i in range(len(pieces))]
        seed.shuffle(scores)
        rows = [*special(), *map(Piece, "abc▁"), *map(Piece, pieces, scores)]
        content = serialise(rows, spec(), ROLES)
        processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        loaded = hugging_face(to_json(content, "m")[0])
        for text in texts:
            assert ids(loaded, text) == processor.encode(text)

    @settings(max_examples=300, deadline=None)
    @given(data=st.data())
    def test_ranks_become_scores(self, data):
        symbols, merges = list("abc"), []
        for _ in range(data.draw(st.integers(0, 20))):
            pair = tuple(data.draw(st.sampled_from(symbols)) for _ in range(2))
            if pair not in merges and len("".join(pair)) <= 12:
                merges.append(pair)
                symbols.append("".join(pair))
        merges = data.draw(st.permutations(merges))
        vocab = ["<unk>", "</s>", " ", *dict.fromkeys(symbols)]
        value = plain_bpe(vocab, merges)
        content = json.dumps(value).encode()
        processor = sentencepiece.SentencePieceProcessor(
            model_proto=convert(content, "t.json").model
        )
        loaded = hugging_face(value)
        for text in data.draw(st.lists(st.text("abc", max_size=25), max_size=8)):
            assert processor.encode(text) == ids(loaded, text)

    def test_joining(self):
        ranks = {("a", "b"): 1, ("b", "c"): 0, ("a", "bc"): 2}
        rank = lambda left, right: ranks.get((left, right))  # noqa: E731
        assert join("abc", rank) == (["abc"], ("a", "bc"))
        assert join("ab", rank) == (["ab"], ("a", "b"))
        assert join("", rank) == ([], None)
        assert last_merges(["abc", "ab", "ca", "a"], rank) == {
            "abc": ("a", "bc"),
            "ab": ("a", "b"),
        }


class TestModels:
    """Any SentencePiece model works as `tokenizer.model`: its tokens are SentencePiece's own."""

    @pytest.mark.parametrize("name", SETTINGS)
    @settings(max_examples=80, deadline=None)
    @given(text=st.one_of(TEXTS, UNICODE))
    def test_ids_are_those_of_sentencepiece(self, name, text):
        loaded = Tokenizer.load_bytes(foreign(name), name)
        processor = sentencepiece.SentencePieceProcessor(model_proto=foreign(name))
        if loaded.lossless:
            text = text.replace("\u2581", "")
        tokens = loaded.encode(text).tolist()
        assert tokens == processor.encode(text)
        if loaded.lossless:
            assert loaded.decode(tokens) == text

    def test_which_are_lossless(self):
        found = {name: Tokenizer.load_bytes(foreign(name), name).lossless for name in SETTINGS}
        assert [name for name, lossless in found.items() if lossless] == [
            "gemma",
            "unigram-symbols",
        ]

    def test_a_written_model_reads_as_it_was_meant(self):
        pieces = [*special(), Piece("▁a", -1.5), Piece("<t>", 0.0, PieceType.USER_DEFINED)]
        content = serialise(pieces, spec(model_type="unigram", normalization="none"), ROLES)
        assert parse(content) == spec(model_type="unigram", normalization="none")
        read = parse_pieces(content)
        assert read.texts == [b"<unk>", b"</s>", "▁a".encode(), b"<t>"]
        assert read.scores.tolist() == [0.0, 0.0, -1.5, 0.0]
        assert read.types.tolist() == [2, 3, 1, 4]
        processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        assert (processor.unk_id(), processor.eos_id()) == (0, 1)
        assert (processor.bos_id(), processor.pad_id()) == (-1, -1)

    def test_a_tokenizer_json_as_the_model_says_what_to_run(self, tmp_path):
        (tmp_path / "t.json").write_text(json.dumps(to_json(model("palm"), "m")[0]))
        with pytest.raises(ConfigError, match="run: massivetext import-tokenizer"):
            Tokenizer.load(tmp_path / "t.json")
